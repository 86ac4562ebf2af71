package rpi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"periph.io/x/conn/v3/physic"

	"phonebackupbox/hal"
)

// Supply reads how the board fares from sysfs, which is /sys.
type Supply struct{ sysfs string }

var _ hal.Supply = Supply{}

// NewSupply reads below that folder.
func NewSupply(sysfs string) Supply { return Supply{sysfs} }

// hot is from where on a Pi slows itself down (Raspberry Pi documentation, "Frequency management and thermal control").
const hot = physic.ZeroCelsius + 80*physic.Kelvin

// Read reads both. What a board does not tell is well.
func (s Supply) Read() (powerLow, tooHot bool, err error) {
	powerLow, err = s.powerLow()
	degrees, terr := s.number("class/thermal/thermal_zone0/temp") // 1/1000 °C (Linux, Documentation/driver-api/thermal/sysfs-api.rst)
	return powerLow, physic.ZeroCelsius+physic.Temperature(degrees)*physic.MilliKelvin >= hot, errors.Join(err, terr)
}

// powerLow reads the alarm of the Pi's supply: 1 while the voltage is below 4.63 V, or was since the driver looked last, which it
// does every 2 s (Linux, drivers/hwmon/raspberrypi-hwmon.c).
func (s Supply) powerLow() (bool, error) {
	names, err := filepath.Glob(filepath.Join(s.sysfs, "class/hwmon/hwmon*/name"))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(b)) != "rpi_volt" {
			continue
		}
		rel, err := filepath.Rel(s.sysfs, filepath.Join(filepath.Dir(name), "in0_lcrit_alarm"))
		if err != nil {
			return false, err
		}
		n, err := s.number(rel)
		return n != 0, err
	}
	return false, nil
}

// number reads a file that holds one; 0 where there is none.
func (s Supply) number(name string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(s.sysfs, name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("rpi: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("rpi: %s: %w", name, err)
	}
	return n, nil
}
