//go:build !rescue

package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
	"phonebackupbox/usbhost/mtp"
)

// udevRules lets whoever sits at this computer open phones; systemd and its kin read it.
//
//go:embed 70-boxd.rules
var udevRules string

// udevRule is the rule in udevRules.
func udevRule() string {
	lines := strings.Split(strings.TrimSpace(udevRules), "\n")
	return lines[len(lines)-1]
}

// openUSB opens the phone that name, such as mtp:SERIAL or any, stands for, as the settings in a state folder say.
func openUSB(ctx context.Context, name, state string) (usbhost.Phone, error) {
	var settings config
	if state != "" {
		var err error
		if settings, err = readConfig(state); err != nil {
			return nil, err
		}
	}
	devices, err := pluggedIn()
	if err != nil {
		return nil, err
	}
	devices, err = choosePhone(devices, name)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		phone, err := openDevice(ctx, d, mtp.Options{Probe: settings.PhoneClock.probes(time.Local)})
		if err != nil {
			return nil, adviseUSB(err)
		}
		if d.Interface.Serial != "" || len(devices) == 1 && name == "any" {
			return phone, nil
		}
		// What tells no serial number over USB may tell one over MTP.
		info, err := phone.Info(ctx)
		if err == nil && (string(info.ID) == name || name == "any") {
			return phone, nil
		}
		if err := phone.Close(); err != nil {
			return nil, err
		}
	}
	return nil, noPhone(name)
}

func noPhone(name string) error {
	if name == "any" {
		return hintError{errors.New("no phone is attached"), "no-phone", "plug one in, unlock it, and choose file transfer on its screen"}
	}
	return hintError{fmt.Errorf("%s is not attached", printable(name)), "no-phone", "boxd phones lists what is"}
}

// pluggedIn lists the devices on USB that are phones.
func pluggedIn() ([]libusb.Device, error) {
	if !libusb.Built {
		return nil, hintError{libusb.ErrNoUSB, "no-usb", "make build-usb builds boxd with it; folder:PATH works in every build"}
	}
	devices, err := libusb.Attached()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no USB at all
	}
	return devices, err
}

// choosePhone finds what name may stand for: one device with that serial number, or all that have none.
func choosePhone(devices []libusb.Device, name string) ([]libusb.Device, error) {
	var open, named, nameless, charging []libusb.Device
	for _, d := range devices {
		switch {
		case d.Use == libusb.ChargeOnly:
			charging = append(charging, d)
			continue
		case d.Interface.Class == 0:
			continue // an iPhone that shows no photos
		}
		open = append(open, d)
		if deviceID(d) == name {
			named = append(named, d)
		}
		if d.Interface.Serial == "" {
			nameless = append(nameless, d)
		}
	}
	switch {
	case name == "any" && len(open) > 1:
		var ids []string
		for _, d := range open {
			ids = append(ids, deviceID(d))
		}
		return nil, usageError{"which phone? " + strings.Join(ids, ", ") + " are attached", "name one of them instead of any"}
	case name == "any" && len(open) == 1:
		return open, nil
	case len(named) > 0:
		return named[:1], nil
	}
	if at := slices.IndexFunc(charging, func(d libusb.Device) bool { return name == "any" || deviceID(d) == name }); at >= 0 && (name != "any" || len(open) == 0) {
		return nil, hintError{fmt.Errorf("%s is only being charged", printable(charging[at].Name())), "charge-only", chooseTransfer}
	}
	if name != "any" && len(nameless) > 0 {
		return nameless, nil
	}
	return nil, noPhone(name)
}

const chooseTransfer = "unlock it, tap the message about USB on its screen, and choose file transfer"

func deviceID(d libusb.Device) string {
	return string(usbhost.NewID("mtp", cmp.Or(d.Interface.Serial, d.Interface.Place())))
}

// openDevice opens a phone, if need be after asking the desktop's own file manager to let go of it.
func openDevice(ctx context.Context, d libusb.Device, o mtp.Options) (usbhost.Phone, error) {
	i, err := d.Claim(ctx)
	var busy *libusb.BusyError
	if errors.As(err, &busy) && letGo(ctx, busy) {
		i, err = d.Claim(ctx)
	}
	if err != nil {
		return nil, err
	}
	return mtp.Open(ctx, i, o)
}

// desktops are the programs by which GNOME and its kin show phones as folders, and what each unmounts.
var desktops = map[string]string{"gvfsd-mtp": "mtp", "gvfsd-gphoto2": "gphoto2"}

// letGo has the desktop unmount phones that it has mounted, as its user could with a click. It reports whether it was asked to.
func letGo(ctx context.Context, busy *libusb.BusyError) bool {
	asked := false
	for _, h := range busy.Holders {
		scheme := desktops[h.Name]
		if scheme == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := exec.CommandContext(ctx, "gio", "mount", "--unmount-scheme="+scheme).Run()
		cancel()
		asked = asked || err == nil
	}
	return asked
}

// adviseUSB says what to do about a phone that cannot be opened.
func adviseUSB(err error) error {
	var busy *libusb.BusyError
	switch {
	case errors.As(err, &busy):
		hint := "end that program, and give the same command again"
		if slices.ContainsFunc(busy.Holders, func(h libusb.Holder) bool { return desktops[h.Name] != "" }) {
			hint = "eject the phone in the file manager, and give the same command again"
		}
		return hintError{err, "busy", hint}
	case errors.Is(err, fs.ErrPermission):
		return hintError{err, "permission", "do it as root, or let yourself in once: echo '" + udevRule() +
			"' | sudo tee /etc/udev/rules.d/70-boxd.rules, then sudo udevadm control --reload, and plug the phone in again"}
	case errors.Is(err, usbhost.ErrUnplugged):
		return hintError{err, "unplugged", "plug the phone in again"}
	}
	return err
}
