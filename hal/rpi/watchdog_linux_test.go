package rpi

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a real watchdog does is shown by go test ./image/init -vm.
func TestThereMayBeNoWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	if _, err := OpenWatchdog(path); !errors.Is(err, ErrNoWatchdog) {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWatchdog(path); err == nil || errors.Is(err, ErrNoWatchdog) {
		t.Errorf("a file that is no watchdog: %v", err)
	}
}
