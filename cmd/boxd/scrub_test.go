//go:build !rescue

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
)

// haltingStore ends a scrub when each of its drives is at its nth read of data, so that none is through and none ahead.
type haltingStore struct {
	storage.Store
	left atomic.Int64
	all  *sync.WaitGroup // the drives that are not there yet
}

func (s *haltingStore) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if len(p) >= 64<<10 {
		switch n := s.left.Add(-1); {
		case n == 0:
			s.all.Done()
			fallthrough
		case n < 0:
			<-ctx.Done()
		}
	}
	return s.Store.Get(ctx, name, off, p)
}

// interruptScrub scrubs a site with a state folder, as SIGINT in the middle of every drive would end it.
func interruptScrub(t *testing.T, s site, state string, nth int64) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drives, err := openDrives(s.drives, reading)
	if err != nil {
		t.Fatal(err)
	}
	ms := members(drives)
	all := &sync.WaitGroup{}
	for i := range ms {
		all.Add(1)
		h := &haltingStore{Store: ms[i].Store, all: all}
		h.left.Store(nth)
		ms[i].Store = h
	}
	go func() { all.Wait(); cancel() }()
	a, err := array.Open(ctx, ms, array.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{drives: drives, array: a}
	c := &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}, state: state}
	_, err = r.scrubOn(ctx, c)
	if cerr := r.close(); cerr != nil {
		t.Fatal(cerr)
	}
	return err
}

// TestScrubGoesOn interrupts a scrub: with a state folder the next one goes on, says so, and knows what the first found;
// after one that came to its end the next begins anew.
func TestScrubGoesOn(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	whole, _ := must(t, exitOK, s.with("vault", "scrub", "--json")...)
	state := filepath.Join(s.dir, "state")
	err := interruptScrub(t, s, state, 3)
	var hint hintError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &hint) || !strings.Contains(hint.hint, "goes on") {
		t.Fatalf("interrupted: %v", err)
	}
	damaged := firstFile(t, filepath.Join(s.drives[2], "shards")) // which was not read to its end
	if err := os.Remove(damaged); err != nil {
		t.Fatal(err)
	}
	out, _ := must(t, exitIncomplete, s.with("vault", "scrub", "--state", state)...)
	if n := strings.Count(out, "went on where it stopped on "); n != 3 {
		t.Errorf("%d drives went on:\n%s", n, out)
	}
	if _, err := os.Stat(filepath.Join(state, scrubName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a scrub that is over leaves its place: %v", err)
	}
	must(t, exitOK, s.with("vault", "repair")...)
	for range 2 {
		if err := interruptScrub(t, s, state, 3); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	out, _ = must(t, exitOK, s.with("vault", "scrub", "--json", "--state", state)...)
	got, want := decode[scrubResult](t, out), decode[scrubResult](t, whole)
	for i, d := range got.Drives {
		if w := want.Drives[i]; d.Files < w.Files || d.Bad+d.Missing > 0 || d.Label != w.Label {
			t.Errorf("in parts %+v, in one %+v", d, w)
		}
	}
	if len(got.WentOn) != 3 || time.Since(got.WentOn[0].Stopped) > time.Hour {
		t.Errorf("%+v", got.WentOn)
	}
	if err := os.WriteFile(filepath.Join(state, scrubName), []byte(`{"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = must(t, exitOK, s.with("vault", "scrub", "--state", state)...)
	if strings.Contains(out, "went on") {
		t.Errorf("after a damaged note:\n%s", out)
	}
}

// firstFile is the first file below a folder.
func firstFile(t *testing.T, dir string) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && found == "" && d.Type().IsRegular() {
			found = p
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no file in %s: %v", dir, err)
	}
	return found
}

// TestRepairSurvive: a vault that outlives one drive outlives two after vault repair --survive 2, and says when it cannot.
func TestRepairSurvive(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	must(t, exitUsage, s.with("vault", "repair", "--survive", "4")...)
	must(t, exitOK, s.with("vault", "repair", "--survive", "2")...)
	for _, d := range s.drives {
		to := filepath.Join(t.TempDir(), "restored")
		must(t, exitOK, "restore", "latest", "--to", to, "--drive", d, "--key-file", s.key)
		same(t, contents(t, phone), contents(t, to))
	}
	must(t, exitIncomplete, s.with("vault", "repair", "--survive", "3")...)
}
