// Package hal names what the firmware needs of a board: a strip of lights, a button, its supply, and a watchdog. It holds no driver: a real
// board (rpi) and a simulated one (vboard) are the packages below.
package hal

import (
	"context"
	"time"
)

// Level is the brightness of one light as the eye sees it, from 0 (dark) to 255 (as bright as the board allows). It is
// linear in perceived lightness; a driver of PWM lights turns it into a duty cycle (CIE 1931 lightness).
type Level uint8

// Percent is the Level of p percent, 0 to 100. Any p above 0 is at least Level 1: dim is not dark.
func Percent(p float64) Level {
	switch {
	case !(p > 0):
		return 0
	case p >= 100:
		return 255
	}
	return max(Level(p*255/100+0.5), 1)
}

// Lights of a Frame: five white ones in a row, called light 1 to 5 in all that people read, and an amber one.
const (
	Bars   = 5
	Amber  = 5 // index of the amber light
	Lights = 6
)

// Frame is what the lights show at one instant: the five white lights from left to right, then the amber one.
type Frame [Lights]Level

// Strip is the lights.
type Strip interface {
	// Show sets all lights at once and returns when they are set, within 10 ms. An error means that the lights cannot be
	// trusted; the next Show may work again.
	Show(f Frame) error
}

// Edge is one change of the button's contact, bounces included.
type Edge struct {
	Down bool      // the contact closed
	At   time.Time // when, to the millisecond or better
}

// Button is the one button.
type Button interface {
	// Edge waits for the next change. Changes are queued while nobody waits, at least 16 of them. An error other than
	// ctx's means that the button is dead.
	Edge(ctx context.Context) (Edge, error)
}

// Board is a box's hardware as far as people see and touch it.
type Board struct {
	Strip  Strip
	Button Button
}

// Supply tells how the board fares.
type Supply interface {
	// Read tells whether the board's voltage is too low, or was within the last seconds, and whether it is so hot that it slows
	// itself down.
	Read() (powerLow, tooHot bool, err error)
}

// Watchdog is hardware that resets the machine when it is not fed. It counts from the moment on when it is opened.
type Watchdog interface {
	// Feed puts the reset off until Timeout from now.
	Feed() error
	// Timeout is how long after a Feed the machine is reset.
	Timeout() time.Duration
	// Close lets go of it. It goes on counting, so that somebody else must open it within Timeout, unless stop asks for it to
	// end; hardware that cannot be stopped counts on.
	Close(stop bool) error
}
