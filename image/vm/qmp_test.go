package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A device comes and goes while the machine is on. Its processors stand still (-S): no kernel is needed to see it.
func TestPlugAndUnplug(t *testing.T) {
	if _, err := exec.LookPath(Program); err != nil {
		t.Skipf("%v (Debian: qemu-system-arm)", err)
	}
	dir := t.TempDir()
	nothing := filepath.Join(dir, "nothing")
	if err := os.WriteFile(nothing, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Boot(t.Context(), Config{Kernel: nothing, Initramfs: nothing, Memory: 64, Extra: []string{"-S"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.CutPower(); err != nil {
			t.Error(err)
		}
	}()
	devices := func() string {
		t.Helper()
		var all []struct{ Name string }
		if err := m.Command(t.Context(), "qom-list", map[string]any{"path": "/machine/peripheral"}, &all); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range all {
			names = append(names, d.Name)
		}
		return strings.Join(names, " ")
	}
	phone := map[string]any{"driver": "usb-mtp", "id": "phone", "bus": "usb.0", "rootdir": dir}
	for range 2 {
		if err := m.Plug(t.Context(), phone); err != nil {
			t.Fatal(err)
		}
		if got := devices(); !strings.Contains(got, "phone") {
			t.Errorf("plugged in, yet there are only: %s", got)
		}
		if err := m.Unplug(t.Context(), "phone"); err != nil {
			t.Fatal(err)
		}
		if got := devices(); strings.Contains(got, "phone") {
			t.Errorf("pulled out, yet there are: %s", got)
		}
	}
	if err := m.Unplug(t.Context(), "phone"); err == nil || !strings.Contains(err.Error(), "phone") {
		t.Errorf("pulling out what is not there: %v", err)
	}
	if err := m.Plug(t.Context(), map[string]any{"driver": "usb-mtp", "rootdir": "/nowhere"}); err == nil {
		t.Error("a phone without a folder was plugged in")
	}
}
