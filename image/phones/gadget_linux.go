package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// load puts modules into the kernel, in order.
func load(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Where Linux keeps what a machine is on the bus as a device (Documentation/usb/gadget_configfs.rst).
const (
	configfs = "/sys/kernel/config"
	function = "/dev/ffs-mtp"
)

// gadget makes the machine a phone to itself, on a bus that the kernel imitates (dummy_hcd). PROGRAM is what answers on the
// endpoints that it finds in /dev/ffs-mtp; the phone is plugged in when it has made them.
func gadget(args []string) error {
	if len(args) != 1 {
		return errors.New("gadget PROGRAM")
	}
	if err := unix.Mount("none", configfs, "configfs", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", configfs, err)
	}
	g := configfs + "/usb_gadget/phone"
	for _, dir := range []string{g, g + "/strings/0x409", g + "/configs/c.1", g + "/functions/ffs.mtp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"idVendor": "0x1d6b", "idProduct": "0x0100", "strings/0x409/serialnumber": "UMTP0001",
		"strings/0x409/manufacturer": "Viveris", "strings/0x409/product": "uMTP responder"} {
		if err := os.WriteFile(filepath.Join(g, name), []byte(text), 0); err != nil {
			return err
		}
	}
	if err := os.Symlink(g+"/functions/ffs.mtp", g+"/configs/c.1/ffs.mtp"); err != nil {
		return err
	}
	if err := os.MkdirAll(function, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("mtp", function, "functionfs", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", function, err)
	}
	cmd := exec.Command(args[0])
	cmd.Stderr = os.Stderr // what it says goes to the console, its chatter nowhere
	if err := cmd.Start(); err != nil {
		return err
	}
	for from := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(function + "/ep3"); err == nil {
			break
		}
		if time.Since(from) > found {
			return fmt.Errorf("%s makes no endpoints", args[0])
		}
	}
	return os.WriteFile(g+"/UDC", []byte("dummy_udc.0"), 0)
}

// age gives all files below a folder a time of their own.
func age(args []string) error {
	if len(args) != 1 {
		return errors.New("age DIR")
	}
	when := time.Date(2024, 2, 29, 11, 59, 59, 0, time.UTC)
	return filepath.WalkDir(args[0], func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		when = when.Add(25*time.Hour + time.Minute)
		return os.Chtimes(path, when, when)
	})
}

func empty(args []string) error {
	if len(args) != 1 {
		return errors.New("empty DIR")
	}
	in, err := os.ReadDir(args[0])
	for _, e := range in {
		err = errors.Join(err, os.RemoveAll(filepath.Join(args[0], e.Name())))
	}
	return err
}
