//go:build !rescue

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRestoreOfAHome restores what stock restic backed up and phones do not have: links are links again, nobody else may read
// what was private, and what does not come back is said.
func TestRestoreOfAHome(t *testing.T) {
	s := newSite(t, 2, 1)
	home, repo := filepath.Join(s.dir, "home"), filepath.Join(s.dir, "repo")
	at := func(name string) string { return filepath.Join(home, name) }
	if err := errors.Join(os.MkdirAll(at("private"), 0o700), os.WriteFile(at("private/secret"), []byte("s"), 0o600),
		os.WriteFile(at("script"), []byte("#!/bin/sh\n"), 0o755), os.Symlink("private/secret", at("link")), os.Symlink("/no\xffwhere", at("dangling"))); err != nil {
		t.Fatal(err)
	}
	restic := stockRepository(t, repo, cherry)
	restic("init")
	take := func(code int) (to, out string) {
		t.Helper()
		restic("backup", home, "--host", "laptop")
		must(t, exitOK, s.with("vault", "import", repo, "--password-file", repo+".password")...)
		to = filepath.Join(t.TempDir(), "restored")
		out, _ = must(t, code, s.with("restore", "latest:restic:laptop", "--to", to)...)
		must(t, code, s.with("restore", "latest:restic:laptop", "--to", to, "--into-existing")...) // again is nothing
		return filepath.Join(to, strings.TrimPrefix(home, "/")), out
	}
	to, _ := take(exitOK)
	for name, want := range map[string]string{"link": "private/secret", "dangling": "/no\xffwhere"} {
		if got, err := os.Readlink(filepath.Join(to, name)); err != nil || got != want {
			t.Errorf("%s leads to %q, want %q (%v)", name, got, want, err)
		}
	}
	for name, want := range map[string]os.FileMode{"private": 0o700 | os.ModeDir, "private/secret": 0o600, "script": 0o755} {
		if info, err := os.Stat(filepath.Join(to, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	if err := errors.Join(os.Link(at("script"), at("same script")), unix.Setxattr(at("private/secret"), "user.comment", []byte("c"), 0)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, at("new"), []byte("n"), time.Unix(1_700_000_000, 0))
	to, out := take(exitIncomplete)
	if !strings.Contains(out, "extended attributes are left out, with 1 of") || !strings.Contains(out, "hard links to each other are left out, with 2 of") {
		t.Error(out)
	}
	if a, b := readFile(t, filepath.Join(to, "script")), readFile(t, filepath.Join(to, "same script")); a != b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
}
