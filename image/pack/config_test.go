package main

import (
	"strconv"
	"strings"
	"testing"

	"phonebackupbox/hal/rpi"
)

// Pins 29 and 31 have a pull-up until somebody says otherwise, by which a light would glow: no light's pin is left so until boxd has it.
// BCM2711 ARM peripherals, 5.3: GPIO 0 to 8 are pulled up at reset, the others of the header that are used here are pulled down.
func TestLightsAreDarkBeforeBoxd(t *testing.T) {
	const lastPulledUp = 8
	var want []string
	for _, line := range rpi.Default.Lights {
		if line <= lastPulledUp {
			want = append(want, strconv.Itoa(line))
		}
	}
	if line := "gpio=" + strings.Join(want, ",") + "=ip,pd\n"; !strings.Contains(string(configTxt), "\n"+line) {
		t.Errorf("config.txt lacks %q", line)
	}
}
