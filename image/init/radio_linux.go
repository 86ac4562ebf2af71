package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"phonebackupbox/image/wifi"
)

// radioModules are the kernel's driver of the boards' radios, in the order in which its parts need each other.
var radioModules = []string{"brcmutil.ko", "brcmfmac.ko", "brcmfmac-wcc.ko", "brcmfmac-cyw.ko"}

const (
	wanted    = "/perm/box/" + wifi.File       // what boxd took over from the owner
	entrusted = "/run/" + wifi.File            // its copy for the network's process, which may not read /perm
	strikes   = "/perm/box/.starts-with-radio" // a byte for each start with the radio that has not lasted yet
	lasts     = time.Minute                    // a start that lasts so long was none that the radio's driver ended
	atMost    = 3                              // so many in a row that did not last, and the next start is without the radio
)

// loadRadio loads the radio's driver from dir, if the owner wants Wi-Fi. Without that, nothing of it is ever in the kernel. The driver is
// given its device by the side, so that nothing waits for it.
func loadRadio(dir string) {
	b, err := os.ReadFile(wanted)
	if err != nil {
		return
	}
	if !counted(strikes) {
		say("wifi: the last %d starts with the radio did not last a minute, so this one is without", atMost)
		time.AfterFunc(lasts, forget)
		return
	}
	time.AfterFunc(lasts, forget)
	withoutCable()
	if err := entrust(entrusted, b, networkUser); err != nil {
		say("wifi: %v", err)
		return
	}
	const bus = "/sys/bus/sdio"
	// No device is looked for until all of the driver is there: its parts would ask for each other, and nobody here answers that.
	if err := os.WriteFile(bus+"/drivers_autoprobe", []byte("0"), 0); err != nil {
		say("wifi: %v", err)
		return
	}
	for _, name := range radioModules {
		if err := load(filepath.Join(dir, name)); err != nil {
			say("module %s: %v", name, err)
			return
		}
	}
	go func() {
		if err := offer(bus); err != nil {
			say("wifi: %v", err)
		}
	}()
}

// entrust writes a file that one user can read, and nobody else.
func entrust(path string, b []byte, user int) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Chown(user, user), f.Close())
}

// withoutCable has the kernel take no route by a cable that is out. Each adapter has a setting of its own, those to come the default.
func withoutCable() {
	settings, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/ignore_routes_with_linkdown")
	for _, s := range settings {
		err = errors.Join(err, os.WriteFile(s, []byte("1"), 0))
	}
	if err != nil {
		say("wifi: %v", err)
	}
}

// offer has the kernel look for drivers of a bus's devices, those that are there and those that come.
func offer(bus string) error {
	devices, err := os.ReadDir(filepath.Join(bus, "devices"))
	err = errors.Join(err, os.WriteFile(filepath.Join(bus, "drivers_autoprobe"), []byte("1"), 0))
	for _, d := range devices {
		err = errors.Join(err, os.WriteFile(filepath.Join(bus, "drivers_probe"), []byte(d.Name()), 0))
	}
	return err
}

// counted notes one more start with the radio, durably, and reports whether it may be: a driver that ends the kernel would end every
// start. What cannot be noted may not be.
func counted(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(b) >= atMost {
		return false
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_SYNC, 0o600)
	if err != nil {
		return false
	}
	_, err = f.Write([]byte{'x'})
	dir, derr := os.Open(filepath.Dir(path))
	if err = errors.Join(err, f.Close(), derr); err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	return err == nil
}

func forget() {
	if err := os.Remove(strikes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		say("wifi: that this start lasts is not noted: %v", err)
	}
}
