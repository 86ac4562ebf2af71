package rpi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"phonebackupbox/hal"
)

// longest is what the Pi's watchdog can be set to: 20 bits of 1/65536 s (Linux, drivers/watchdog/bcm2835_wdt.c). Others are set to
// it too, so that a hang lasts equally long everywhere.
const longest = 15 * time.Second

// ErrNoWatchdog: this machine has none.
var ErrNoWatchdog = errors.New("this machine has no watchdog")

// Watchdog is a watchdog behind Linux's interface (Linux, Documentation/watchdog/watchdog-api.rst).
type Watchdog struct {
	f       *os.File
	timeout time.Duration
}

var _ hal.Watchdog = (*Watchdog)(nil)

// OpenWatchdog opens the watchdog behind path, such as /dev/watchdog, which begins to count. Only one process can have it open:
// another gets EBUSY.
func OpenWatchdog(path string) (*Watchdog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, ErrNoWatchdog
	}
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	w := &Watchdog{f: f, timeout: longest}
	fd := int(f.Fd())
	// A driver may take another timeout than asked for, or have but one. What it has then is what counts.
	seterr := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, int(longest/time.Second))
	if s, err := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT); err == nil && s > 0 {
		w.timeout = time.Duration(s) * time.Second
	} else if seterr != nil {
		return nil, errors.Join(fmt.Errorf("watchdog: its timeout is not known: %w", seterr), w.Close(true))
	}
	return w, nil
}

// Feed puts the reset off.
func (w *Watchdog) Feed() error {
	if _, err := w.f.Write([]byte{0}); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}

// Timeout is how long after a Feed the machine is reset.
func (w *Watchdog) Timeout() time.Duration { return w.timeout }

// Close lets go of it. If stop, it writes the letter V first, upon which a driver stops counting that can.
func (w *Watchdog) Close(stop bool) error {
	var err error
	if stop {
		_, err = w.f.Write([]byte{'V'})
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}
