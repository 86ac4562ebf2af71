//go:build !rescue

package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"phonebackupbox/usbhost/libusb"
)

// refusals hears from the USB ports why a phone that is plugged in cannot be opened.
type refusals struct{ heard chan error }

var _ libusb.Witness = refusals{}

func newRefusals() refusals { return refusals{make(chan error, 16)} }

// Refused passes an error on, unless many are waiting: it comes again with the next try.
func (r refusals) Refused(err error) {
	select {
	case r.heard <- err:
	default:
	}
}

// maxRefusals bounds how many refusals are remembered as told.
const maxRefusals = 32

// settle asks desktops to let go of phones, and tells of the other refusals, each once, until ctx ends. The ports try again by
// themselves.
func (r refusals) settle(ctx context.Context, s *screen) error {
	var told []string
	for {
		var err error
		select {
		case err = <-r.heard:
		case <-ctx.Done():
			return nil
		}
		var busy *libusb.BusyError
		if errors.As(err, &busy) && letGo(ctx, busy) {
			s.say("    the file manager lets go of the %s", printable(busy.Name))
			continue
		}
		line := printable(oneLine(err))
		if slices.Contains(told, line) {
			continue
		}
		if told = append(told, line); len(told) > maxRefusals {
			told = told[1:]
		}
		s.say("  ! %s", line)
		switch {
		case busy != nil:
			s.say("    end that program, or eject the phone in the file manager: the box tries again by itself")
		case errors.Is(err, fs.ErrPermission):
			s.say("    make udev lets whoever sits at this computer open phones, once and for all (it asks for sudo). It installs the rule")
			s.say("    %s", udevRule())
			s.say("    as /etc/udev/rules.d/70-boxd.rules; then plug the phone in again")
		}
	}
}
