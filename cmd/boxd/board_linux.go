//go:build !rescue

package main

import (
	"cmp"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"phonebackupbox/hal"
	"phonebackupbox/hal/rpi"
)

// openWatchdog opens the board's watchdog; it is nil where there is none.
func openWatchdog() (hal.Watchdog, error) {
	w, err := rpi.OpenWatchdog("/dev/watchdog")
	if errors.Is(err, rpi.ErrNoWatchdog) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// openBoard opens the lights and the button, as they are wired.
func openBoard(w wiring) (board, error) {
	c := rpi.Default
	c.Chip = cmp.Or(w.Chip, c.Chip)
	if len(w.Lights) > 0 {
		c.Lights = [hal.Lights]int(w.Lights)
	}
	if w.Button != nil {
		c.Button = *w.Button
	}
	c.LightsActiveLow, c.ButtonActiveHigh = w.LightsActiveLow, w.ButtonActiveHigh
	b, err := rpi.Open(c)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// supply is the board's own.
func supply() hal.Supply { return rpi.NewSupply("/sys") }

// ofInit reports whether process 1 started this process, and starts it again when it ends.
func ofInit() bool { return os.Getppid() == 1 }

// switchOff asks process 1 to switch the machine off (image/init).
func switchOff() error { return unix.Kill(1, unix.SIGUSR2) }
