package rpi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"phonebackupbox/hal"
)

// Board is the lights and the button of a real box. Run drives the lights.
type Board struct {
	lights *dimmer
	lamps  *os.File
	button *Button
}

// Open opens the lines of the lights, which are dark, and of the button, as they are wired. Nobody else may use them until Close.
func Open(c Config) (*Board, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	chip, err := openChip("/dev", c.Chip)
	if err != nil {
		return nil, err
	}
	b, err := open(chip, c)
	return b, errors.Join(err, chip.f.Close())
}

func open(chip *chip, c Config) (*Board, error) {
	flags := uint64(lineOutput)
	if c.LightsActiveLow {
		flags |= lineActiveLow
	}
	lamps, err := chip.request("lights", c.Lights[:], flags, 0)
	if err != nil {
		return nil, err
	}
	// The resistor is the chip's own, where it has one; where not, one must be soldered.
	flags = lineInput | lineRising | lineFalling | lineActiveLow | linePullUp
	if c.ButtonActiveHigh {
		flags = lineInput | lineRising | lineFalling | linePullDown
	}
	f, err := chip.request("button", []int{c.Button}, flags, queued)
	if err != nil {
		return nil, errors.Join(err, lamps.Close())
	}
	down, err := values(f, 1)
	if err != nil {
		return nil, errors.Join(err, f.Close(), lamps.Close())
	}
	return &Board{newDimmer(lamp{lamps}, waitUntil), lamps, newButton(f, down != 0)}, nil
}

// HAL is the board as the firmware sees it.
func (b *Board) HAL() hal.Board { return hal.Board{Strip: b, Button: b.button} }

// Show sets the lights; only while Run runs.
func (b *Board) Show(f hal.Frame) error { return b.lights.show(f) }

// Run drives the lights until ctx ends, and leaves them dark.
func (b *Board) Run(ctx context.Context) error {
	runtime.LockOSThread() // for good: the thread, which is not like others any more, ends with this goroutine
	prompt()
	return b.lights.run(ctx)
}

// Close lets go of the lines, when Run has ended.
func (b *Board) Close() error { return errors.Join(b.lamps.Close(), b.button.f.Close()) }

// lamp is the lines of the lights.
type lamp struct{ f *os.File }

func (l lamp) set(bits uint64) error {
	v := lineValues{bits, 1<<hal.Lights - 1}
	if err := ioctl(l.f, unix.GPIO_V2_LINE_SET_VALUES_IOCTL, unsafe.Pointer(&v)); err != nil {
		return fmt.Errorf("rpi: lights: %w", err)
	}
	return nil
}

// prompt has this thread woken in time, as far as the kernel allows. Without, lights are as bright but less steady.
func prompt() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // ns; 50 µs is usual
	const fifo = 1
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: fifo, Priority: 1}, 0)
}

// waitUntil returns at that time, or some 50 µs later if it slept.
func waitUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		if left > spins {
			d := unix.NsecToTimespec(left.Nanoseconds())
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &d, nil) // a signal may end it early
		}
	}
}
