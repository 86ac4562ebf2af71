package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fakeSys makes a sysfs of links, and of empty folders where they lead to nothing.
func fakeSys(t *testing.T, links map[string]string, folders ...string) string {
	t.Helper()
	sys := t.TempDir()
	for _, name := range folders {
		if err := os.MkdirAll(filepath.Join(sys, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(sys, name)), 0o755), os.Symlink(filepath.Join(sys, to), filepath.Join(sys, name))); err != nil {
			t.Fatal(err)
		}
	}
	return sys
}

// pi3 is a Pi 3B+ with its own network socket on USB, a drive, a keyboard, and an adapter that pretends to be the board's.
func pi3(t *testing.T) string {
	const usb, onBoard, drive, keyboard, liar = "bus/usb/devices/", "devices/soc/usb1/1-1/1-1.1/1-1.1.1", "devices/soc/usb1/1-1/1-1.2", "devices/soc/usb1/1-1/1-1.3", "devices/soc/usb1/1-1/1-1.1/1-1.1.2"
	return fakeSys(t, map[string]string{
		usb + "1-1.1.1:1.0": onBoard + "/1-1.1.1:1.0", onBoard + "/1-1.1.1:1.0/driver": "drivers/lan78xx", onBoard + "/1-1.1.1:1.0/subsystem": "bus/usb", onBoard + "/of_node": "firmware",
		usb + "1-1.2:1.0": drive + "/1-1.2:1.0", drive + "/1-1.2:1.0/driver": "drivers/uas",
		usb + "1-1.3:1.0": keyboard + "/1-1.3:1.0", keyboard + "/1-1.3:1.0/driver": "drivers/usbhid",
		usb + "1-1.3:1.1":   keyboard + "/1-1.3:1.1", // nobody has it
		usb + "1-1.1.2:1.0": liar + "/1-1.1.2:1.0", liar + "/1-1.1.2:1.0/driver": "drivers/lan78xx", liar + "/1-1.1.2:1.0/subsystem": "bus/usb",
		"class/net/eth0/device": liar + "/1-1.1.2:1.0", "class/net/eth1/device": onBoard + "/1-1.1.1:1.0",
	}, onBoard+"/1-1.1.1:1.0", drive+"/1-1.2:1.0", keyboard+"/1-1.3:1.0", keyboard+"/1-1.3:1.1", liar+"/1-1.1.2:1.0", "class/net/lo", "firmware")
}

func TestUnwelcome(t *testing.T) {
	want := []binding{{"1-1.1.2:1.0", "lan78xx"}, {"1-1.3:1.0", "usbhid"}}
	if got := unwelcome(pi3(t)); !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestWired(t *testing.T) {
	if name, err := wired(pi3(t)); name != "eth1" || err != nil {
		t.Errorf("a Pi 3B+: %q, %v", name, err)
	}
	pi4 := fakeSys(t, map[string]string{"class/net/eth0/device": "devices/genet", "devices/genet/subsystem": "bus/platform",
		"class/net/eno0/device": "devices/usb1/1-1/1-1:1.0", "devices/usb1/1-1/1-1:1.0/subsystem": "bus/usb"}, "bus")
	if name, err := wired(pi4); name != "eth0" || err != nil {
		t.Errorf("a Pi 4: %q, %v", name, err)
	}
	zero := fakeSys(t, map[string]string{"class/net/wlan0/device": "devices/mmc1", "class/net/wlan0/phy80211": "devices/mmc1"}, "devices/mmc1")
	if name, err := wired(zero); !errors.Is(err, errNoSocket) {
		t.Errorf("a Pi Zero 2 W: %q, %v", name, err)
	}
}
