//go:build !rescue

package main

import (
	"errors"
	"strings"
	"testing"
)

func TestTheSerialLineGetsPlainLines(t *testing.T) {
	var b strings.Builder
	var f face = &serial{out: &b}
	err := errors.Join(f.Println("\x1b[2Ja line"), f.Status("idle", "a bar"), f.Status("idle", "another bar"), f.Status(), f.Status("anna: done"), f.Close())
	if want := "\\x1b[2Ja line\n* idle\n* anna: done\n"; err != nil || b.String() != want {
		t.Errorf("%q, %v; want %q", b.String(), err, want)
	}
}
