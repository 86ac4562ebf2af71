package rpi

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSupply(t *testing.T) {
	for name, tt := range map[string]struct {
		files          map[string]string
		low, hot, fail bool
	}{
		"a board that tells nothing": {},
		"all well": {files: map[string]string{"class/hwmon/hwmon0/name": "cpu_thermal\n", "class/hwmon/hwmon1/name": "rpi_volt\n",
			"class/hwmon/hwmon1/in0_lcrit_alarm": "0\n", "class/thermal/thermal_zone0/temp": "79900\n"}},
		"too little power": {files: map[string]string{"class/hwmon/hwmon0/name": "rpi_volt\n", "class/hwmon/hwmon0/in0_lcrit_alarm": "1\n"}, low: true},
		"another's alarm":  {files: map[string]string{"class/hwmon/hwmon0/name": "nvme\n", "class/hwmon/hwmon0/in0_lcrit_alarm": "1\n"}},
		"too hot":          {files: map[string]string{"class/thermal/thermal_zone0/temp": "80001\n"}, hot: true},
		"frost":            {files: map[string]string{"class/thermal/thermal_zone0/temp": "-4000\n"}},
		"nonsense":         {files: map[string]string{"class/thermal/thermal_zone0/temp": "warm\n"}, fail: true},
	} {
		dir := t.TempDir()
		for file, text := range tt.files {
			path := filepath.Join(dir, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		low, hot, err := NewSupply(dir).Read()
		if low != tt.low || hot != tt.hot || (err != nil) != tt.fail {
			t.Errorf("%s: low %v, hot %v, %v", name, low, hot, err)
		}
	}
}
