package vm

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// plugged makes a disk of some sectors and gives it power.
func plugged(t *testing.T, sectors int64) *Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, make([]byte, sectors*sector), 0o600); err != nil {
		t.Fatal(err)
	}
	d := NewDisk(path, "", 1)
	if err := d.serve(); err != nil {
		t.Fatal(err)
	}
	return d
}

func ones(sectors int) []byte { return bytes.Repeat([]byte{1}, sectors*sector) }

func kept(t *testing.T, d *Disk) int {
	t.Helper()
	p, err := os.ReadFile(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(p, ones(1))
}

func TestPowerCut(t *testing.T) {
	d := plugged(t, 300)
	if err := d.writeAt(ones(100), 0); err != nil {
		t.Fatal(err)
	}
	if n := kept(t, d); n != 0 {
		t.Errorf("%d sectors are kept before the flush", n)
	}
	if err := d.flush(); err != nil || kept(t, d) != 100 || d.Flushes() != 1 {
		t.Errorf("flush: %v, %d sectors kept", err, kept(t, d))
	}
	if err := d.writeAt(ones(200), 100*sector); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 300*sector)
	if err := d.readAt(p, 0); err != nil || !bytes.Equal(p, ones(300)) {
		t.Errorf("what lies in the cache is not read: %v", err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if n := kept(t, d); n != 300-d.Lost() || d.Lost() < 50 || d.Lost() > 150 {
		t.Errorf("%d of 200 sectors that were not flushed are lost, %d of 300 kept", d.Lost(), n)
	}
}

func TestFakeWrapsAround(t *testing.T) {
	d := plugged(t, 100)
	d.Real = 60 * sector
	if err := d.writeAt(ones(10), 70*sector); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10*sector)
	if err := d.readAt(p, 10*sector); err != nil || !bytes.Equal(p, ones(10)) {
		t.Errorf("sector 70 is not sector 10: %v", err)
	}
	if err := d.writeAt(ones(1), 100*sector); err == nil {
		t.Error("a write past the end is taken")
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestFuse(t *testing.T) {
	var f Fuse
	for range 3 {
		if !f.holds() {
			t.Fatal("blows without being armed")
		}
	}
	blown := f.Arm(2)
	if !f.holds() {
		t.Error("blows too early")
	}
	select {
	case <-blown:
		t.Error("says so too early")
	default:
	}
	for range 2 {
		if f.holds() {
			t.Error("does not blow, or mends itself")
		}
	}
	<-blown
	if f.Mend(); !f.holds() || f.Count() != 7 {
		t.Errorf("mended, it does not hold; %d operations", f.Count())
	}
}
