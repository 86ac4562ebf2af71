package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckPassphrase(t *testing.T) {
	for _, s := range []string{someWords, strings.ToUpper(someWords), passphrase, "zwölf Zeichen", "correct horse battery staple", "das ist der daumen der schuettelt", "1848 1989 2026"} {
		if err := CheckPassphrase(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for s, want := range map[string]string{
		"": "0 characters", "Sommer 2026": "11 characters", "üüüüüüüüüüü1": "again and again", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1 ": "begins nor ends",
		"fahrradkette": "all of one kind", "123456789012": "all of one kind", "abababababab1": "again and again",
	} {
		err := CheckPassphrase(s)
		if !errors.Is(err, ErrWeak) && !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
		if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q is repeated: %v", s, err)
		}
	}
	for _, s := range []string{"two lines of it\n1", "a bell \a in a passphrase", "not \xff UTF-8, it is 1"} {
		if err := CheckPassphrase(s); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func addKey(t *testing.T, v *Vault, password string) string {
	t.Helper()
	id, err := v.AddKey(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestKeysComeAndGo(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	pass := addKey(t, v, passphrase)
	more := addKey(t, v, someWords)
	w := openVault(t, m, passphrase)
	if w.KeyID() != pass || w.ID() != v.ID() {
		t.Errorf("the passphrase opened key %.8s", w.KeyID())
	}
	list, err := w.Keys(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("%d keys, %v", len(list), err)
	}
	for _, k := range list {
		if k.Words != (k.ID != pass) || k.InUse != (k.ID == pass) || k.Made != "box@phonebackupbox" || k.Err != nil {
			t.Errorf("%+v", k)
		}
	}
	if err := w.RemoveKey(t.Context(), pass); !errors.Is(err, ErrKeyInUse) {
		t.Errorf("the key in use: %v", err)
	}
	for _, id := range []string{strings.Repeat("0", 64), "abc", "../config", ""} {
		if err := w.RemoveKey(t.Context(), id); !errors.Is(err, ErrNoKey) {
			t.Errorf("key %q: %v", id, err)
		}
	}
	for _, id := range []string{more, v.KeyID()} {
		if err := w.RemoveKey(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	for _, gone := range []string{words, someWords} {
		if _, err := Open(t.Context(), m, gone, Options{}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("a removed key: %v", err)
		}
	}
	// v's own key is gone: it must not remove the last one.
	if err := v.RemoveKey(t.Context(), pass); err == nil {
		t.Error("the last key was removed")
	}
	openVault(t, m, passphrase)
}

func TestKeyLimits(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	for i := range maxKeys - 1 {
		w, err := NewWords()
		if err != nil {
			t.Fatal(err)
		}
		addKey(t, v, w)
		if i == 0 {
			words = w
		}
	}
	if _, err := v.AddKey(t.Context(), passphrase); !errors.Is(err, ErrTooManyKeys) {
		t.Errorf("key 21: %v", err)
	}
	openVault(t, m, words)
	if _, err := v.AddKey(t.Context(), "short"); !errors.Is(err, ErrWeak) {
		t.Errorf("a weak one: %v", err)
	}
	r, err := Open(t.Context(), m, words, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.AddKey(t.Context(), passphrase); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read only: %v", err)
	}
	if err := r.RemoveKey(t.Context(), v.KeyID()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read only: %v", err)
	}
}

// TestStockResticSharesKeys opens a vault in stock restic with each of its keys, has restic add and remove some, and opens it
// with those.
func TestStockResticSharesKeys(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	backup(t, v, pixel, []phoneFile{{"f", []byte("hello"), time.Unix(1, 0)}})
	addKey(t, v, passphrase)
	addKey(t, v, someWords)
	dir := t.TempDir()
	m.save(t, dir)
	for _, password := range []string{words, passphrase, someWords} {
		if out := stock(t, dir, password)("dump", "latest", "f"); out != "hello" {
			t.Errorf("restic dumps %q", out)
		}
	}
	theirs := filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(theirs, []byte("made by restic 0.18\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	restic := stock(t, dir, passphrase)
	restic("key", "add", "--new-password-file", theirs)
	restic("key", "remove", v.KeyID())
	if out := restic("key", "list"); strings.Count(out, "phonebackupbox") != 2 {
		t.Errorf("restic lists\n%s", out)
	}
	restic("check", "--read-data")
	m = loadStore(t, dir)
	w := openVault(t, m, "made by restic 0.18")
	if list, err := w.Keys(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("%d keys, %v", len(list), err)
	}
	if _, err := Open(t.Context(), m, words, Options{}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a key that restic removed: %v", err)
	}
}

// TestPowerCutWhileKeysChange cuts the power at every operation of adding a key and removing another: at each moment the
// old password opens the vault or, once it was acknowledged, the new one.
func TestPowerCutWhileKeysChange(t *testing.T) {
	for n := 1; ; n++ {
		for seed := range uint64(8) {
			m := newMapStore()
			v, words := newVault(t, m)
			m.ops, m.cutAt = 0, n
			known := []string{words} // what the owner may still use
			_, err := v.AddKey(t.Context(), someWords)
			if err == nil {
				known = append(known, someWords)
				w, oerr := Open(t.Context(), m, someWords, Options{})
				if err = oerr; err == nil {
					known = []string{someWords} // from here on the old one is given up
					err = w.RemoveKey(t.Context(), v.KeyID())
				}
			}
			if err != nil && !errors.Is(err, errPower) {
				t.Fatal(err)
			}
			cut := m.off
			r := rand.New(rand.NewPCG(uint64(n), seed))
			after := m.restart(func(string) bool { return r.IntN(2) == 0 })
			for _, password := range known {
				if _, err := Open(t.Context(), after, password, Options{}); err != nil {
					t.Errorf("cut at %d, seed %d: %v", n, seed, err)
				}
			}
			if _, oerr := Open(t.Context(), after, words, Options{}); err == nil && !errors.Is(oerr, ErrWrongKey) {
				t.Errorf("cut at %d, seed %d: a removed key: %v", n, seed, oerr)
			}
			if !cut {
				t.Log(fmt.Sprint(n-1, " operations"))
				return
			}
		}
	}
}
