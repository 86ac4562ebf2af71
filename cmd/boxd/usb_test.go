//go:build !rescue

package main

import (
	"errors"
	"strings"
	"testing"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
)

func TestABuildWithoutUSBSaysSo(t *testing.T) {
	if libusb.Built {
		t.Skip("this build has USB")
	}
	for _, args := range [][]string{{"phones"}, {"backup", "any", "--drive", t.TempDir()}, {"backup", "mtp:X", "--drive", t.TempDir()}} {
		_, errs := must(t, exitFailed, args...)
		if !strings.Contains(errs, "this build has no USB") || strings.Count(errs, "\n") != 2 {
			t.Errorf("%v: %s", args, errs)
		}
	}
	out, _ := must(t, exitFailed, "phones", "--json")
	if got := decode[struct{ Error struct{ Code string } }](t, out); got.Error.Code != "no-usb" {
		t.Error(out)
	}
	must(t, exitUsage, "phones", "enrol")
	must(t, exitUsage, "backup", "mtp:", "--drive", t.TempDir())
}

func TestWhichPhoneIsMeant(t *testing.T) {
	device := func(serial, port string, use libusb.Use) libusb.Device {
		d := libusb.Device{Use: use, Interface: usbhost.Interface{Vendor: 0x18d1, Product: 0x4ee1, Serial: serial, Port: port, Class: 6}}
		if use == libusb.ChargeOnly {
			d.Interface.Class = 0
		}
		return d
	}
	var (
		anna     = device("A 1", "1-1", libusb.Files)
		bela     = device("B", "1-2", libusb.Files)
		nameless = device("", "1-3", libusb.Files)
		charging = device("C", "1-4", libusb.ChargeOnly)
	)
	iphone := device("D", "1-5", libusb.Apple)
	iphone.Interface.Class = 0
	for _, c := range []struct {
		name    string
		devices []libusb.Device
		want    string // ports
		err     string // or the hint's or error's words
	}{
		{"any", []libusb.Device{anna, charging}, "1-1", ""},
		{"any", []libusb.Device{nameless}, "1-3", ""},
		{"any", []libusb.Device{anna, bela}, "", "mtp:A_1, mtp:B are attached"},
		{"any", []libusb.Device{charging}, "", "only being charged"},
		{"any", []libusb.Device{iphone}, "", "no phone is attached"},
		{"any", nil, "", "no phone is attached"},
		{"mtp:B", []libusb.Device{anna, bela}, "1-2", ""},
		{"mtp:A_1", []libusb.Device{anna, bela}, "1-1", ""},
		{"mtp:C", []libusb.Device{anna, charging}, "", "only being charged"},
		{"mtp:X", []libusb.Device{anna, nameless}, "1-3", ""}, // it may tell its number over MTP
		{"mtp:X", []libusb.Device{anna}, "", "mtp:X is not attached"},
		{"mtp:18d1:4ee1@1-3", []libusb.Device{anna, nameless}, "1-3", ""},
	} {
		got, err := choosePhone(c.devices, c.name)
		var ports []string
		for _, d := range got {
			ports = append(ports, d.Interface.Port)
		}
		if strings.Join(ports, " ") != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s among %d: %v, %v", c.name, len(c.devices), ports, err)
		}
	}
}

func TestWhatIsSaidOfPhones(t *testing.T) {
	for _, c := range []struct {
		phone phoneJSON
		want  string
	}{
		{phoneJSON{ID: "mtp:A", Name: "Google Pixel 9", State: "ready", Speed: 480, Best: 5000, Free: 20e9, Total: 128e9},
			"mtp:A  Google Pixel 9: ready, 20 GB of 128 GB free\n  at 480 Mbit/s, yet it can do 5 Gbit/s: try another cable, or another port\n"},
		{phoneJSON{ID: "mtp:A", Name: "Pixel\x1b[2J", State: "locked", Hint: "unlock it", Speed: 5000, Best: 5000, Free: -1, Total: -1},
			"mtp:A  Pixel\\x1b[2J: locked\n  unlock it\n  at 5 Gbit/s\n"},
		{phoneJSON{ID: "mtp:A", Name: "Pixel", State: "charge-only", Hint: chooseTransfer, Free: -1, Total: -1},
			"mtp:A  Pixel: only being charged\n  " + chooseTransfer + "\n"},
		{phoneJSON{ID: "mtp:A", Name: "Pixel", State: "unusable", Problem: "gvfsd-mtp (process 41) uses the Pixel", Hint: "eject it", Free: 9, Total: 1},
			"mtp:A  Pixel: cannot be read\n  gvfsd-mtp (process 41) uses the Pixel\n  eject it\n"},
	} {
		var b strings.Builder
		if c.phone.text(&b); b.String() != c.want {
			t.Errorf("got\n%swant\n%s", b.String(), c.want)
		}
	}
}

func TestAdviceAboutUSB(t *testing.T) {
	for _, c := range []struct {
		err  error
		hint string
	}{
		{&libusb.BusyError{Name: "Pixel", Holders: []libusb.Holder{{PID: 4, Name: "gvfsd-mtp"}}}, "eject the phone in the file manager"},
		{&libusb.BusyError{Name: "Pixel"}, "end that program"},
		{usbhost.ErrUnplugged, "plug the phone in again"},
	} {
		var hint hintError
		if !errors.As(adviseUSB(c.err), &hint) || !strings.Contains(hint.hint, c.hint) {
			t.Errorf("%v: %v", c.err, hint.hint)
		}
	}
}
