//go:build !rescue

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Drives get the programs when the vault is made or repaired, status names those that have none, and a program that was
// changed on a drive is put right.
func TestDrivesCarryTheRescuePrograms(t *testing.T) {
	s := newSite(t, 2, 1)
	out, _ := must(t, 0, s.with("vault", "status", "--json")...)
	bare := decode[statusResult](t, out)
	if len(bare.Bare) != 2 {
		t.Errorf("status names %q as drives without rescue programs, want both", bare.Bare)
	}
	programs := t.TempDir()
	writeFile(t, filepath.Join(programs, "rescue-linux"), []byte("a program"), time.Now())
	must(t, 0, s.with("vault", "repair", "--rescue-dir", programs)...)
	on := filepath.Join(s.drives[1], rescueFolder, "rescue-linux")
	writeFile(t, on, []byte("a pr0gram"), time.Now())
	must(t, 0, s.with("vault", "repair", "--rescue-dir", programs)...)
	if got := readFile(t, on); got != "a program" {
		t.Errorf("the drive carries %q, want the program as built", got)
	}
	if info, err := os.Stat(on); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the program on the drive cannot be run: %v, %v", info, err)
	}
	out, _ = must(t, 0, s.with("vault", "status", "--json")...)
	carried := decode[statusResult](t, out)
	if len(carried.Bare) != 0 {
		t.Errorf("status names %q as drives without rescue programs, want none", carried.Bare)
	}
	_, note := must(t, 0, s.with("vault", "repair", "--rescue-dir", t.TempDir())...)
	if !strings.Contains(note, "make rescue") {
		t.Errorf("with no programs to carry it says %q, want how to build them", note)
	}
}
