//go:build !rescue

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPruneFreesRoom takes four nights of a phone of which all files change, and prunes to one: what the drives hold
// shrinks, the newest night restores, stock restic finds nothing to complain about, and the files that the phone lost
// bring up the guard.
func TestPruneFreesRoom(t *testing.T) {
	s := newSite(t, 3, 1)
	phone := filepath.Join(s.dir, "phone")
	rnd := rand.NewChaCha8([32]byte{3})
	night := func(n, files int) {
		if err := os.RemoveAll(phone); err != nil {
			t.Fatal(err)
		}
		for i := range files {
			b := make([]byte, 30_000)
			if _, err := rnd.Read(b); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(phone, 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(phone, fmt.Sprintf("%d-%d.jpg", n, i)), b, time.Unix(1_700_000_000+int64(n), 0))
		}
		must(t, exitOK, s.with("backup", "folder:"+phone)...)
	}
	for n := range 4 {
		night(n, 30)
	}
	type status struct {
		Health struct{ Bytes int64 }
	}
	out, _ := must(t, exitOK, s.with("vault", "status", "--json")...)
	before := decode[status](t, out).Health.Bytes
	flags := []string{"vault", "prune", "--keep-last", "1", "--keep-daily", "1", "--keep-weekly", "0", "--keep-monthly", "0", "--keep-yearly", "0"}
	if out, _ := must(t, exitOK, s.with(append(flags, "--dry-run")...)...); !strings.Contains(out, "3 snapshots would go") || !strings.Contains(out, phone+": 4 snapshots, 3 of them would go\n") {
		t.Error(out)
	}
	out, _ = must(t, exitOK, s.with(append(flags, "--json")...)...)
	r := decode[struct {
		Removed, Kept []struct{ Generation int }
		Freed         int64 `json:"bytes_freed"`
	}](t, out)
	if len(r.Removed) != 3 || len(r.Kept) != 1 || r.Kept[0].Generation != 4 || r.Freed < 3*30*30_000 {
		t.Error(out)
	}
	out, _ = must(t, exitOK, s.with("vault", "status", "--json")...)
	if after := decode[status](t, out).Health.Bytes; after > before/3 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	restored := filepath.Join(s.dir, "restored")
	must(t, exitOK, s.without(1, "restore", "latest", "--to", restored)...)
	same(t, contents(t, phone), contents(t, restored))
	must(t, exitOK, s.with("vault", "verify")...)
	repo := filepath.Join(s.dir, "repo")
	must(t, exitOK, s.with("vault", "export", "--format", "restic", "--to", repo)...)
	sh(t, findRestic(t), "-r", repo, "--password-file", s.key, "--no-cache", "check", "--read-data")

	night(5, 3)
	if out, _ := must(t, exitOK, s.with(flags...)...); !strings.Contains(out, "--accept-shrunk") {
		t.Error(out)
	}
	if out, _ := must(t, exitOK, s.with(append(flags, "--accept-shrunk", "folder:"+phone)...)...); !strings.Contains(out, "1 snapshot removed") {
		t.Error(out)
	}
	must(t, exitUsage, s.with("vault", "prune", "--keep-last=-1")...)

	// box.toml in the state folder says what stays where no flag does.
	state := filepath.Join(s.dir, "state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(state, configName), []byte("[retention]\nlast = 1\ndaily = 0\nweekly = 0\nmonthly = 0\nyearly = 0\n"), time.Now())
	night(6, 3)
	if out, _ := must(t, exitOK, s.with("vault", "prune", "--state", state)...); !strings.Contains(out, "1 snapshot removed") {
		t.Error(out)
	}
	night(7, 3)
	if out, _ := must(t, exitOK, s.with("vault", "prune", "--state", state, "--keep-last", "9")...); !strings.Contains(out, "all of them stay") {
		t.Error(out)
	}
}
