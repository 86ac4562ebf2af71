//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

const cherry = "Kirschbaum auf dem Dach 1987"

type keysJSON struct{ Keys []vault.Key }

// keyOf is the ID of the key that a key file opens.
func (s site) keyOf(t *testing.T, file string) string { return s.keyOfOn(t, file, 0) }

// keyOfOn is keyOf, asked of one drive.
func (s site) keyOfOn(t *testing.T, file string, i int) string {
	t.Helper()
	out, _ := must(t, exitOK, "key", "check", "--json", "--key-file", file, "--drive", s.drives[i])
	for _, k := range decode[keysJSON](t, out).Keys {
		if k.InUse {
			return k.ID
		}
	}
	t.Fatal("no key is in use")
	return ""
}

// addPassphrase adds cherry and returns the file that holds it.
func (s site) addPassphrase(t *testing.T) string {
	t.Helper()
	file := filepath.Join(s.dir, "passphrase")
	writeFile(t, file, []byte(cherry+"\n"), time.Now())
	must(t, exitOK, s.with("key", "add", "--passphrase-file", file)...)
	return file
}

func TestKeyAddRemove(t *testing.T) {
	s := newSite(t, 2, 1)
	file := s.addPassphrase(t)
	more := filepath.Join(s.dir, "more")
	out, _ := must(t, exitOK, s.with("key", "add", "--new-key-file", more)...)
	if words := strings.Fields(readFile(t, more)); len(words) != 24 || !strings.Contains(out, words[23]) {
		t.Errorf("the new words are not shown:\n%s", out)
	}
	if info, err := os.Stat(more); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new key file: %v %v", info.Mode(), err)
	}
	text, _ := must(t, exitOK, s.with("key", "check")...)
	if strings.Count(text, "24 words") != 2 || strings.Count(text, "passphrase") != 1 || strings.Count(text, "(this one)") != 1 {
		t.Errorf("the list of keys:\n%s", text)
	}
	id := s.keyOf(t, file)
	_, errs := must(t, exitFailed, append([]string{"key", "remove", id, "--key-file", file}, s.flags(-1)[2:]...)...)
	if !strings.Contains(errs, "open the vault with another") {
		t.Error(errs)
	}
	out, _ = must(t, exitOK, s.with("key", "remove", id[:8])...)
	if !strings.Contains(out, "boxd vault rekey") || !strings.Contains(out, "stops future use") {
		t.Errorf("it does not say what removing does not do:\n%s", out)
	}
	must(t, exitFailed, append([]string{"key", "check", "--key-file", file}, s.flags(-1)[2:]...)...)
	must(t, exitFailed, s.with("key", "remove", id)...)
	must(t, exitFailed, s.with("key", "add", "--new-key-file", more)...) // is there already
	must(t, exitUsage, s.with("key", "add")...)                          // no terminal to ask on
	weak := filepath.Join(s.dir, "weak")
	writeFile(t, weak, []byte("sommer"), time.Now())
	_, errs = must(t, exitFailed, s.with("key", "add", "--passphrase-file", weak)...)
	if !strings.Contains(errs, "at least 12") || strings.Contains(errs, "sommer") {
		t.Error(errs)
	}
}

func TestKeyRotate(t *testing.T) {
	s := newSite(t, 2, 1)
	old := readFile(t, s.key)
	out, _ := must(t, exitOK, s.with("key", "rotate", "--json")...)
	res := decode[keyResult](t, out)
	if res.KeyFile != s.key+".new" || readFile(t, res.KeyFile) != res.Words+"\n" || readFile(t, s.key) != old {
		t.Errorf("rotated: %+v", res)
	}
	if _, errs := must(t, exitFailed, s.with("key", "check")...); !strings.Contains(errs, s.key+".opens-nothing.txt tells where it is") {
		t.Errorf("with the old key file it says %s", errs)
	}
	if note := readFile(t, s.key+".opens-nothing.txt"); !strings.Contains(note, "boxd key rotate") || !strings.Contains(note, res.KeyFile) {
		t.Errorf("the note says %s", note)
	}
	must(t, exitOK, s.with("key", "rotate")...) // again: nothing is left to do
	rotated := s
	rotated.key = res.KeyFile
	must(t, exitOK, rotated.with("key", "check")...)
	if wordsSafe(t, rotated) {
		t.Error("the new words are called safe")
	}
	// A file in the way is not overwritten, whatever it holds.
	for _, text := range []string{old, "something", readFile(t, rotated.key)} {
		writeFile(t, rotated.key+".new", []byte(text), time.Now())
		must(t, exitFailed, rotated.with("key", "rotate")...)
		if readFile(t, rotated.key+".new") != text {
			t.Errorf("%q was overwritten", text)
		}
	}
}

// TestKeysStayOffDrives refuses to put a key file onto a backup drive, or onto what is about to become one.
func TestKeysStayOffDrives(t *testing.T) {
	s := newSite(t, 1, 0)
	below := filepath.Join(s.drives[0], "mine")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{s.drives[0], below} {
		key := filepath.Join(dir, "key")
		for _, args := range [][]string{{"key", "add"}, {"key", "rotate"}, {"vault", "rekey"}} {
			if _, errs := must(t, exitFailed, s.with(append(args, "--new-key-file", key)...)...); !strings.Contains(errs, "keep the key elsewhere") {
				t.Errorf("%v: %s", args, errs)
			}
		}
		fresh := filepath.Join(s.dir, "fresh")
		for _, args := range [][]string{{"--drive", fresh, "--key-file", key}, {"--drive", fresh, "--key-file", filepath.Join(fresh, "key")}} {
			must(t, exitFailed, append([]string{"vault", "create"}, args...)...)
		}
		if _, err := os.Stat(fresh); err == nil {
			t.Error("a drive was made")
		}
	}
	must(t, exitOK, s.with("key", "check")...)
}

// TestRotateOnTheBox rotates the working key of a box: the box has the new one.
func TestRotateOnTheBox(t *testing.T) {
	s, state := newSite(t, 1, 0), t.TempDir()
	must(t, exitOK, s.with("unlock", "--state", state)...)
	card := filepath.Join(state, cardKeyName)
	old := readFile(t, card)
	out, _ := must(t, exitOK, "key", "rotate", "--json", "--state", state, "--key-file", card, "--new-key-file", filepath.Join(s.dir, "new"), "--drive", s.drives[0])
	if res := decode[keyResult](t, out); readFile(t, card) != res.Words+"\n" || readFile(t, filepath.Join(state, formerKeyName+".txt")) != old {
		t.Errorf("the card's keys: %q", readFile(t, card))
	}
	must(t, exitOK, "key", "check", "--key-file", card, "--drive", s.drives[0])
}

// TestKeyHint remembers the key that fitted.
func TestKeyHint(t *testing.T) {
	s := newSite(t, 1, 0)
	state := filepath.Join(s.dir, "state")
	must(t, exitOK, s.with("key", "check", "--state", state)...) // absent: no matter
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		must(t, exitOK, s.with("key", "check", "--state", state)...)
		if got := strings.TrimSpace(readFile(t, filepath.Join(state, hintName))); got != s.keyOf(t, s.key) {
			t.Errorf("the hint is %q", got)
		}
		writeFile(t, filepath.Join(state, hintName), []byte("wrong"), time.Now())
	}
}

// twoKeys are new words, twice.
func twoKeys(t *testing.T) (a, b string) {
	t.Helper()
	a, err := vault.NewWords()
	if err == nil {
		b, err = vault.NewWords()
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestPowerCutWhileKeysRotate cuts the power of three drives at every operation of a rotation: at each moment the vault opens
// with the old words or, once they were written to their file, the new.
func TestPowerCutWhileKeysRotate(t *testing.T) {
	oldWords, newWords := twoKeys(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 1; ; n += step {
		power := vdrive.NewPower()
		var members []array.Member
		for i := range 3 {
			d := vdrive.New(uint64(31*n + i))
			power.Feed(d)
			members = append(members, array.Member{ID: fmt.Sprintf("0000000%d-0000-4000-8000-000000000000", i), Label: fmt.Sprint("d", i), Store: d})
		}
		a, err := array.Create(t.Context(), members, array.Options{Survive: 1})
		if err != nil {
			t.Fatal(err)
		}
		v, err := vault.Create(t.Context(), a, oldWords, vault.Options{})
		if err != nil {
			t.Fatal(err)
		}
		power.Cut(n)
		_, rotErr := v.AddKey(t.Context(), newWords)
		removed := false
		if rotErr == nil {
			var w *vault.Vault
			if w, rotErr = vault.Open(t.Context(), a, newWords, vault.Options{}); rotErr == nil {
				removed = true
				rotErr = w.RemoveKey(t.Context(), v.KeyID())
			}
		}
		_ = a.Close() // without power it cannot flush
		power.Restore()
		if a, err = array.Open(t.Context(), members, array.Options{}); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		_, oldErr := vault.Open(t.Context(), a, oldWords, vault.Options{})
		_, newErr := vault.Open(t.Context(), a, newWords, vault.Options{})
		if oldErr != nil && (newErr != nil || !removed) {
			t.Errorf("cut at %d: old: %v, new: %v", n, oldErr, newErr)
		}
		if removed && newErr != nil {
			t.Errorf("cut at %d: the new key was acknowledged: %v", n, newErr)
		}
		if rotErr == nil && !errors.Is(oldErr, vault.ErrWrongKey) {
			t.Errorf("cut at %d: a removed key: %v", n, oldErr)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if rotErr == nil {
			t.Logf("about %d operations", n)
			return
		}
	}
}

// holders are the drives of the site that have the file of a key.
func (s site) holders(t *testing.T, id string) (list []string) {
	t.Helper()
	for _, dir := range s.drives {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.Contains(d.Name(), id) && !d.IsDir() {
				list = append(list, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestRemovedKeysStayRemoved removes a key while a drive is away, which is used apart on another box meanwhile in the second
// run. When the drive comes back, the key does not.
func TestRemovedKeysStayRemoved(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprintf("apart=%v", apart), func(t *testing.T) {
			s := newSite(t, 3, 1)
			phone := filepath.Join(s.dir, "phone")
			if err := os.Mkdir(phone, 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(phone, "a"), []byte("a"), time.Now())
			file := s.addPassphrase(t)
			id := s.keyOf(t, file)
			out, _ := must(t, exitOK, s.without(2, "key", "remove", id)...)
			if !strings.Contains(out, "drive drive2 was away when key "+id[:8]+" was removed: attach it once") {
				t.Errorf("it does not name the drive that is away:\n%s", out)
			}
			if out, _ := must(t, exitIncomplete, s.without(2, "vault", "status")...); !strings.Contains(out, "drive drive2 was away when key "+id[:8]+" was removed: attach it once") {
				t.Errorf("status says nothing of the drive that is away:\n%s", out)
			}
			if apart {
				writeFile(t, filepath.Join(phone, "b"), []byte("b"), time.Now())
				code, out, errs := boxd(t, "backup", "folder:"+phone, "--key-file", file, "--drive", s.drives[2])
				if code != exitOK && code != exitIncomplete {
					t.Fatalf("exit %d: %s%s", code, out, errs)
				}
			}
			opens := func(when string) {
				t.Helper()
				if code, out, _ := boxd(t, append([]string{"key", "check", "--key-file", file}, s.flags(-1)[2:]...)...); code == exitOK {
					t.Errorf("%s the removed key opens the vault: %s", when, out)
				}
			}
			opens("before anything was written,")
			if _, out, _ := boxd(t, s.with("vault", "status")...); !strings.Contains(out, "drive drive2 still holds key "+id[:8]) {
				t.Errorf("status says nothing of the drive that came back:\n%s", out)
			}
			writeFile(t, filepath.Join(phone, "c"), []byte("c"), time.Now())
			boxd(t, s.with("backup", "folder:"+phone)...) // perhaps 3: repair comes next
			opens("after a backup")
			must(t, exitOK, s.with("vault", "repair")...)
			opens("after a repair")
			if at := s.holders(t, id); len(at) > 0 {
				t.Errorf("the key still lies in %v", at)
			}
			if out, _ := must(t, exitOK, s.with("vault", "status")...); strings.Contains(out, id[:8]) {
				t.Errorf("status still speaks of the key:\n%s", out)
			}
		})
	}
}

// TestTwoBoxesRemoveEachOthersKeys uses drives apart: each half removes the key that the other half keeps. Put together,
// the vault still opens.
func TestTwoBoxesRemoveEachOthersKeys(t *testing.T) {
	s := newSite(t, 2, 1)
	phone := filepath.Join(s.dir, "phone")
	if err := os.Mkdir(phone, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(phone, "a"), []byte("a"), time.Now())
	file := s.addPassphrase(t)
	must(t, exitOK, "key", "remove", s.keyOf(t, file), "--key-file", s.key, "--drive", s.drives[0])
	must(t, exitOK, "key", "remove", s.keyOfOn(t, s.key, 1), "--key-file", file, "--drive", s.drives[1])
	both := s.flags(-1)[2:]
	for range 2 {
		for _, key := range []string{s.key, file} {
			boxd(t, append([]string{"backup", "folder:" + phone, "--key-file", key}, both...)...)
		}
	}
	opened := 0
	for _, key := range []string{s.key, file} {
		if code, _, _ := boxd(t, append([]string{"key", "check", "--key-file", key}, both...)...); code == exitOK {
			opened++
		}
	}
	if opened == 0 {
		t.Error("nobody opens this vault any more")
	}
}
