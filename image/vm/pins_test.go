package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What is put on a line from outside is read back: lines are inputs until a kernel says otherwise.
func TestPins(t *testing.T) {
	if _, err := exec.LookPath(Program); err != nil {
		t.Skipf("%v (Debian: qemu-system-arm)", err)
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
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
	before, err := m.Pins()
	if err != nil {
		t.Fatal(err)
	}
	const line = 7
	for _, high := range []bool{true, false} {
		if err := m.SetPin(t.Context(), line, high); err != nil {
			t.Fatal(err)
		}
		want := before &^ (1 << line)
		if high {
			want |= 1 << line
		}
		if now, err := m.Pins(); err != nil || now != want {
			t.Errorf("line %d set to %v: %08b, %v, want %08b", line, high, now, err, want)
		}
	}
}
