//go:build !rescue

package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPagesFollowTheDrives: each drive's README.html says how many drives are needed, is right after a drive came or went,
// and is not written by backups that change nothing of that.
func TestPagesFollowTheDrives(t *testing.T) {
	s, phone := newSite(t, 2, 1), t.TempDir()
	makePhone(t, phone)
	page := func(i int) (string, time.Time) {
		t.Helper()
		name := filepath.Join(s.drives[i], "README.html")
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(readFile(t, name)), " "), info.ModTime()
	}
	says := func(want string) {
		t.Helper()
		for i := range s.drives {
			if p, _ := page(i); !strings.Contains(p, want) {
				t.Errorf("the page on drive %d does not say %q:\n%s", i, want, p)
			}
			if p, _ := page(i); strings.Contains(p, "folder:") || strings.Contains(p, "big.mp4") {
				t.Errorf("the page on drive %d tells of phones", i)
			}
		}
	}
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	says("This drive is enough to get everything back")
	_, before := page(0)
	writeFile(t, filepath.Join(phone, "new.jpg"), make([]byte, 1<<20), time.Unix(1_700_000_000, 0))
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	must(t, exitOK, s.with("vault", "repair")...)
	if _, after := page(0); !after.Equal(before) {
		t.Error("a backup wrote the page anew that says the same")
	}
	third := filepath.Join(s.dir, "drive2")
	must(t, exitOK, s.with("drive", "add", third)...)
	s.drives = append(s.drives, third)
	must(t, exitOK, s.with("vault", "repair")...)
	film := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{9}).Read(film)
	writeFile(t, filepath.Join(phone, "more.mp4"), film, time.Unix(1_700_000_001, 0))
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	says("Any 2 of them are enough")
	must(t, exitOK, s.with("drive", "remove", "drive2")...)
	s.drives = s.drives[:2]
	must(t, exitOK, s.with("vault", "repair")...)
	says("This drive is enough to get everything back")
}
