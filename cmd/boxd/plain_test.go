//go:build !rescue

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A plain drive shows a phone's newest state as ordinary files: all of them, then what changed, and nothing a second time.
func TestPlainDrive(t *testing.T) {
	s := newSite(t, 2, 1)
	phone := filepath.Join(s.dir, "phone")
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	dir := filepath.Join(s.dir, "plain")
	code, _, stderr := boxd(t, s.with("drive", "refresh", s.dir)...)
	if code != exitFailed || !strings.Contains(stderr, "--role plain") {
		t.Errorf("a folder that is no plain drive: exit %d, %q", code, stderr)
	}
	must(t, exitOK, "drive", "add", dir, "--role", "plain", "--drive", s.drives[0], "--drive", s.drives[1])
	out, _ := must(t, exitOK, s.with("drive", "refresh", dir, "--json")...)
	res := decode[[]refreshJSON](t, out)
	if len(res) != 1 || res[0].Written == 0 || !res[0].Complete {
		t.Fatalf("drive refresh --json: %+v", res)
	}
	// Names that FAT or Windows refuse are others there; the rest is the same.
	onDrive, onPhone := contents(t, filepath.Join(dir, res[0].Folder)), contents(t, phone)
	for name, want := range onPhone {
		if got, ok := onDrive[name]; ok && got != want && want != "folder" {
			t.Errorf("%q is not on the plain drive as on the phone", name)
		}
	}
	if got, want := slices.Sorted(maps.Values(onDrive)), slices.Sorted(maps.Values(onPhone)); !slices.Equal(got, want) {
		t.Errorf("%d files and folders on the plain drive, %d on the phone, or not of the same content and date", len(got), len(want))
	}
	out, _ = must(t, exitOK, s.with("drive", "refresh", dir, "--json")...)
	if again := decode[[]refreshJSON](t, out); again[0].Written != 0 || again[0].Kept != res[0].Written {
		t.Errorf("a second time: %+v, want nothing written", again[0])
	}
	code, _, stderr = boxd(t, "drive", "add", s.drives[0], "--role", "plain", "--drive", s.drives[1])
	if code != exitFailed || !strings.Contains(stderr, "drive of a vault") {
		t.Errorf("a drive of the vault as a plain one: exit %d, %q", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(s.drives[0], "phone-backup-plain.json")); err == nil {
		t.Error("a drive of the vault became a plain one")
	}
}
