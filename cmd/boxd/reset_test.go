//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/update"
)

// filled is a state folder with a key, and with things in it that random chooses.
func filled(t *testing.T, random *rand.Rand, key string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "box")
	names := []string{configName, enrolledName, homeName, "claim.json", "journal/1", "pairings/a/b", "cache/index", lifeName, lastCrash, "upkeep.json", "new thing"}
	for _, name := range names {
		if random.IntN(3) == 0 {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, fmt.Append(nil, random.Uint64()), time.Now())
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, cardKeyName), []byte(key), time.Now())
	writeFile(t, filepath.Join(dir, boxLog), []byte("log\n"), time.Now())
	return dir
}

// everything is all files below a folder, with their content.
func everything(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, path+" "+string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var errResetCut = errors.New("power cut")

// cutAfter removes n paths as os.RemoveAll does, and only half of the next.
func cutAfter(n int) func(string) error {
	return func(path string) error {
		if n--; n >= 0 {
			return os.RemoveAll(path)
		}
		if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
			_ = os.RemoveAll(filepath.Join(path, entries[0].Name())) // half a folder
		}
		return errResetCut
	}
}

// A reset never loses the only key, never touches a drive or the record of updates, and leaves no settings, whatever lay in the folder
// and whenever the power is cut.
func TestResetKeepsItsPromises(t *testing.T) {
	s := newSite(t, 2, 1)
	key := readFile(t, s.key)
	for _, out := range []bool{false, true} {
		if out {
			must(t, exitOK, s.with("key", "stick", t.TempDir())...)
		}
		before := everything(t, s.dir)
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, 49))
			state := filled(t, random, key)
			record := update.Folder(filepath.Join(filepath.Dir(state), "update"))
			if err := record.Write(update.Record{Floor: 9}); err != nil {
				t.Fatal(err)
			}
			was := everything(t, state)
			b := &bays{password: strings.TrimSpace(key)}
			if random.IntN(4) > 0 {
				for _, dir := range s.drives {
					b.plug(dir)
				}
			}
			err := resetter{state, b}.Reset(t.Context())
			if eerr := b.Eject(t.Context()); eerr != nil {
				t.Fatal(eerr)
			}
			if may := out && len(b.slots) > 0; may != (err == nil) {
				t.Fatalf("seed %d, words out: %v, drives: %d: %v", seed, out, len(b.slots), err)
			}
			if err != nil {
				if got := everything(t, state); !slices.Equal(got, was) {
					t.Fatalf("refused, and changed:\n%q\nnow\n%q", was, got)
				}
				if err := finishReset(state, nil); err != nil || !slices.Equal(everything(t, state), was) {
					t.Fatal("refused, and emptied at the next start", err)
				}
				continue
			}
			for n := random.IntN(12); ; n = 99 { // cut once, then not
				err := emptyState(state, cutAfter(n))
				if err == nil {
					break
				}
				if _, serr := os.Lstat(filepath.Join(state, resetName)); !errors.Is(err, errResetCut) || serr != nil {
					t.Fatal(err, serr)
				}
			}
			if got := everything(t, state); !slices.Equal(got, []string{filepath.Join(state, boxLog) + " log\n"}) {
				t.Fatalf("left: %q", got)
			}
			if r, err := record.Read(); err != nil || r.Floor != 9 {
				t.Fatal(r, err)
			}
		}
		if after := everything(t, s.dir); !slices.Equal(before, after) {
			t.Error("a drive has changed")
		}
	}
}

func TestResetOfOtherKeys(t *testing.T) {
	s := newSite(t, 1, 0)
	must(t, exitOK, s.with("key", "stick", t.TempDir())...)
	other := newSite(t, 1, 0)
	b := &bays{password: strings.TrimSpace(readFile(t, s.key))}
	b.plug(s.drives[0])
	defer func() {
		if err := b.Eject(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	random := rand.New(rand.NewPCG(1, 1))
	if err := (resetter{filled(t, random, readFile(t, other.key)), b}).Reset(t.Context()); err == nil {
		t.Error("a key is erased that another vault may need")
	}
	state := filled(t, random, "x")
	if err := os.Remove(filepath.Join(state, cardKeyName)); err != nil {
		t.Fatal(err)
	}
	if err := (resetter{state, &bays{}}).Reset(t.Context()); err != nil {
		t.Error(err)
	}
	if err := finishReset(state, nil, filepath.Join(state, "mnt")); err == nil {
		t.Error("a folder of drives within the settings is emptied")
	}
	if err := finishReset(state, nil, filepath.Join(filepath.Dir(state), "mnt")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(state, resetName)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What the owner wrote on the card goes with the settings, or it would be taken over again: names, wishes and passwords, in place.
// The wiring stays, and so does the reset until all of that is done.
func TestAResetErasesTheOwnersFileOnTheCard(t *testing.T) {
	state, fat, boot := cardOf(t, "survive = 2\r\n# Svetlanas alte Box\r\n[retention]\r\nlast = 9\r\n[board]\r\nlights = [0, 1, 2, 4, 5, 6]\r\nbutton = 7\r\n")
	if err := errors.Join(boot.takeOver(state), os.WriteFile(filepath.Join(fat, statusName), []byte("Svetlana: everything was backed up"), 0o600),
		putStateFile(state, resetName, nil)); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(filepath.Join(fat, configName)) // the sectors that it had
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	full := &bootPart{use: func(bool, func(string) error) error { return errors.New("worn out") }}
	if err := finishReset(state, full); err == nil || read(t, state, configName) == "" {
		t.Errorf("a card that cannot be written: %v", err)
	}
	for range 2 { // the second is a power cut before the mark was gone
		if err := errors.Join(putStateFile(state, resetName, nil), finishReset(state, boot)); err != nil {
			t.Fatal(err)
		}
		if err := boot.takeOver(state); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(state)
		if err != nil || c.Survive != nil || c.Retention.Last == 9 || len(c.Board.Lights) != 6 || c.Board.Button == nil || *c.Board.Button != 7 {
			t.Errorf("settings afterwards: %+v, %v", c, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(state, resetName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reset is not over: %v", err)
	}
	old, err := io.ReadAll(before)
	if err != nil || len(old) == 0 || strings.ContainsAny(string(old), "Ss9") {
		t.Errorf("in the old sectors: %q, %v", old, err)
	}
	if text := read(t, fat, configName) + read(t, fat, statusName); strings.Contains(text, "Svetlana") || strings.Contains(text, "9") {
		t.Errorf("on the card: %q", text)
	}
}
