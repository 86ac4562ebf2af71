//go:build !rescue

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// travels is a site whose last drive travels, with a phone that is backed up.
func travels(t *testing.T, n, m int) (s site, phone string, last int) {
	s, phone, last = newSite(t, n, m), t.TempDir(), n-1
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	must(t, exitOK, s.with("drive", "travels", s.drives[last])...)
	return s, phone, last
}

func status(t *testing.T, code int, args ...string) statusResult {
	t.Helper()
	out, _ := must(t, code, append(args, "--json")...)
	return decode[statusResult](t, out)
}

// restores restores the newest snapshot and compares it with the phone.
func restores(t *testing.T, phone string, args ...string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "restored")
	must(t, exitOK, append([]string{"restore", "latest", "--to", to}, args...)...)
	same(t, contents(t, phone), contents(t, to))
}

// A drive at a relative's is no fault; what stays protects everything; it comes back, catches up, and alone has everything.
func TestDriveAtARelatives(t *testing.T) {
	for _, n := range []int{3, 4} {
		s, phone, last := travels(t, n, 1)
		here := func(args ...string) []string { return s.without(last, args...) }
		if res := status(t, exitOK, here("vault", "status")...); res.Survives != 1 || res.Verdict != "healthy" {
			t.Errorf("%+v", res)
		}
		writeFile(t, filepath.Join(phone, "later"), []byte("said later"), time.Unix(1_700_000_000, 0))
		must(t, exitOK, here("backup", "folder:"+phone)...)
		out, _ := must(t, exitOK, here("vault", "status")...)
		for _, want := range []string{"1 drive may die now, 1 asked for; travelling: drive", "travels, lacks"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		for missing := range last { // one of those that stay dies while it is away
			args := []string{"--key-file", s.key}
			for i, dir := range s.drives[:last] {
				if i != missing {
					args = append(args, "--drive", dir)
				}
			}
			restores(t, phone, args...)
		}
		must(t, exitOK, s.with("vault", "repair")...)
		out, _ = must(t, exitOK, s.with("vault", "status")...)
		if !strings.Contains(out, "opens with stock restic, travels, may leave") {
			t.Errorf("%s", out)
		}
		restores(t, phone, "--key-file", s.key, "--drive", s.drives[last])
		writeFile(t, filepath.Join(phone, "last"), []byte("the night before it leaves"), time.Unix(1_700_000_001, 0))
		must(t, exitOK, s.with("backup", "folder:"+phone)...) // it catches up at once
		restores(t, phone, "--key-file", s.key, "--drive", s.drives[last])
		must(t, exitIncomplete, here("drive", "travels", filepath.Base(s.drives[last]), "--no")...)
		status(t, exitIncomplete, here("vault", "status")...)
	}
}

// Drives are taken out and replaced whether they are there, gone, or there and failing; what cannot be done is said and
// harms nothing.
func TestDrivesComeAndGo(t *testing.T) {
	s, phone := newSite(t, 4, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	fresh := func(name string) string { return filepath.Join(s.dir, name) }

	fails(t, exitFailed, []string{"no drive"}, s.with("drive", "replace", "drive9", fresh("five"))...)
	if isDrive(fresh("five")) {
		t.Error("a drive was made for a replacement that did not happen")
	}
	for i, hurt := range []func(dir string) error{
		func(string) error { return nil },
		os.RemoveAll,
		func(dir string) error { // nothing can be read or written below
			return os.WriteFile(filepath.Join(dir, "shards"), nil, 0o600)
		},
	} {
		old := s.drives[i]
		if i == 2 {
			if err := os.RemoveAll(filepath.Join(old, "shards")); err != nil {
				t.Fatal(err)
			}
		}
		if err := hurt(old); err != nil {
			t.Fatal(err)
		}
		dir := fresh("new" + string(rune('0'+i)))
		args := s.with("drive", "replace", filepath.Base(old), dir)
		if i == 1 {
			args = s.without(i, "drive", "replace", filepath.Base(old), dir)
		}
		must(t, exitOK, args...)
		s.drives[i] = dir
		must(t, exitOK, s.with("vault", "verify")...)
		for missing := range s.drives {
			restores(t, phone, s.flags(missing)...)
		}
	}
	must(t, exitOK, s.with("drive", "remove", s.drives[3])...)
	s.drives = s.drives[:3]
	must(t, exitOK, s.with("vault", "verify")...)
	// Both others are said to be gone: the second is needed. The first turns out not to be.
	alone := func(args ...string) []string { return append(args, "--key-file", s.key, "--drive", s.drives[0]) }
	must(t, exitIncomplete, alone("drive", "remove", filepath.Base(s.drives[1]))...)
	fails(t, exitFailed, []string{"cannot be brought back", "--lost"}, alone("drive", "remove", filepath.Base(s.drives[2]))...)
	must(t, exitOK, s.without(1, "drive", "add", s.drives[1])...)
	must(t, exitOK, s.with("vault", "verify")...)
	must(t, exitOK, s.without(2, "drive", "remove", filepath.Base(s.drives[2]))...)
	s.drives = s.drives[:2]
	must(t, exitOK, s.with("vault", "status")...)
	_, errs := must(t, exitIncomplete, s.with("drive", "remove", s.drives[1])...)
	if !strings.Contains(errs, "0 drives may die now, 1 asked for") {
		t.Errorf("%s", errs)
	}
	restores(t, phone, "--key-file", s.key, "--drive", s.drives[0])
}
