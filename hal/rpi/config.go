package rpi

import (
	"fmt"

	"phonebackupbox/hal"
)

// Auto as Config.Chip is the chip with the Pi's 40 pins.
const Auto = "auto"

// Config is how the lights and the button are wired.
type Config struct {
	Chip             string          // the label of the GPIO chip, as gpiodetect shows it, or Auto
	Lights           [hal.Lights]int // their lines on it
	LightsActiveLow  bool            // a light is lit by a low line: it is between the line and 3.3 V
	Button           int             // its line
	ButtonActiveHigh bool            // the button, when down, connects its line with 3.3 V and not with ground
}

// Default is the wiring of docs/HARDWARE.md: the last pins of the header. On a Pi, a line is what others call its GPIO number.
var Default = Config{Chip: Auto, Lights: [hal.Lights]int{5, 6, 13, 19, 26, 21}, Button: 16}

// Check refuses a wiring that cannot be.
func (c Config) Check() error {
	used := map[int]string{}
	for i, line := range append(c.Lights[:len(c.Lights):len(c.Lights)], c.Button) {
		what := fmt.Sprintf("light %d", i+1)
		switch i {
		case hal.Amber:
			what = "the amber light"
		case hal.Lights:
			what = "the button"
		}
		if line < 0 {
			return fmt.Errorf("%s is at line %d: lines are counted from 0", what, line)
		}
		if other := used[line]; other != "" {
			return fmt.Errorf("%s and %s are both at line %d", other, what, line)
		}
		used[line] = what
	}
	return nil
}
