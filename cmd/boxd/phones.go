//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
	"phonebackupbox/usbhost/mtp"
)

// phoneJSON is a phone that is plugged in.
type phoneJSON struct {
	ID      string   `json:"id"` // what PHONE takes
	Name    string   `json:"name"`
	State   string   `json:"state"`             // "ready", "locked", "charge-only", "unusable"
	Gives   []string `json:"gives"`             // now: "files"; "adb" is recognised only
	ByPort  bool     `json:"by_port,omitempty"` // it tells no serial number of its own, so ID is its kind and its port
	Speed   int      `json:"speed"`             // of its link, in Mbit/s; 0 unknown
	Best    int      `json:"best"`              // what it says it can
	Free    int64    `json:"free"`              // bytes; -1 unknown
	Total   int64    `json:"total"`             // bytes; -1 unknown
	Problem string   `json:"problem,omitempty"` // why it gives nothing
	Hint    string   `json:"hint,omitempty"`    // what to do about it
}

func phonesCommand(*pflag.FlagSet) action {
	return func(ctx context.Context, c *call, args []string) error {
		switch {
		case len(args) == 2 && (args[0] == "enrol" || args[0] == "forget"):
			return changeRoster(ctx, c, args[0], args[1])
		case len(args) > 0:
			return usageError{"what about which phone?", "boxd phones lists what is plugged in; boxd phones enrol PHONE and boxd phones forget PHONE change what boxd run backs up"}
		}
		devices, err := pluggedIn()
		if err != nil {
			return err
		}
		phones := []phoneJSON{}
		for _, d := range devices {
			phones = append(phones, lookAt(ctx, d))
		}
		return c.print(phones, func(w io.Writer) {
			if len(phones) == 0 {
				fmt.Fprintln(w, "no phone is plugged in")
			}
			for _, p := range phones {
				p.text(w)
			}
		})
	}
}

// lookAt asks a phone what it is and what it gives now.
func lookAt(ctx context.Context, d libusb.Device) phoneJSON {
	p := phoneJSON{ID: deviceID(d), Name: d.Name(), State: "unusable", Gives: []string{}, Free: -1, Total: -1}
	link := d.Interface.Link
	if d.ADB {
		p.Gives = append(p.Gives, "adb")
	}
	switch {
	case d.Use == libusb.ChargeOnly:
		p.State, p.Hint = "charge-only", chooseTransfer
	case d.Interface.Class == 0:
		p.Problem, p.Hint = "shows no photos", "unlock it, and tap Trust"
	default:
		info, err := identify(ctx, d)
		if err != nil {
			var advice hintError
			p.Problem = oneLine(err)
			if errors.As(adviseUSB(err), &advice) {
				p.Hint = advice.hint
			}
			break
		}
		p.ByPort = info.ByPort
		p.ID, p.Name, p.Free, p.Total, link = string(info.ID), info.Name, info.Free, info.Total, info.Link
		if p.State = "ready"; info.Locked {
			p.State, p.Hint = "locked", "unlock it, and allow file transfer if it asks"
		} else {
			p.Gives = append([]string{"files"}, p.Gives...)
		}
	}
	p.Speed, p.Best = link.Speed, link.Best
	return p
}

func identify(ctx context.Context, d libusb.Device) (info usbhost.Info, err error) {
	phone, err := openDevice(ctx, d, mtp.Options{})
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, phone.Close()) }()
	return phone.Info(ctx)
}

func (p phoneJSON) text(w io.Writer) {
	state := map[string]string{"ready": "ready", "locked": "locked", "charge-only": "only being charged", "unusable": "cannot be read"}[p.State]
	if 0 <= p.Free && p.Free <= p.Total { // some responders, QEMU's among them, have more free than there is
		state += fmt.Sprintf(", %s of %s free", size(p.Free), size(p.Total))
	}
	fmt.Fprintf(w, "%s  %s: %s\n", printable(p.ID), printable(p.Name), state)
	if p.Problem != "" {
		fmt.Fprintf(w, "  %s\n", printable(p.Problem))
	}
	if p.Hint != "" {
		fmt.Fprintf(w, "  %s\n", printable(p.Hint))
	}
	if p.ByPort {
		fmt.Fprintln(w, "  tells no serial number of its own: it is known by its port; use that one for it, and for no other phone of its kind")
	}
	if link := (usbhost.Link{Speed: p.Speed, Best: p.Best}); link.Slow() {
		fmt.Fprintf(w, "  at %s, yet it can do %s: try another cable, or another port\n", bits(p.Speed), bits(p.Best))
	} else if p.Speed > 0 {
		fmt.Fprintf(w, "  at %s\n", bits(p.Speed))
	}
}

// bits writes a link's speed, given in Mbit/s.
func bits(speed int) string {
	if speed >= 1000 && speed%1000 == 0 {
		return fmt.Sprintf("%d Gbit/s", speed/1000)
	}
	return fmt.Sprintf("%d Mbit/s", speed)
}
