//go:build !rescue

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/attach"
)

// noKeyOn checks that a card has no key.
func noKeyOn(t *testing.T, card, when string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(card, cardKeyName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s the key is on the card: %v", when, err)
	}
}

// A box whose owner wants the key on a stick starts with a drive like any other. Once there is a stick the key leaves the card: the
// box goes on, and each later start waits for the stick.
func TestTheKeyLeavesTheCardWhenThereIsAStick(t *testing.T) {
	dir := t.TempDir()
	card, one, stick := filepath.Join(dir, "card"), filepath.Join(dir, "one"), filepath.Join(dir, "stick")
	if err := errors.Join(os.Mkdir(card, 0o700), os.WriteFile(filepath.Join(card, configName), []byte("unlock = \"keystick\"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	first, _ := blankBays(t, card, one, stick)
	if h, err := first.Health(t.Context()); err != nil || !h.NoVault {
		t.Fatalf("at first: %+v, %v", h, err)
	}
	if err := first.Adopt(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if h, err := first.Health(t.Context()); err != nil || !h.WordsIn {
		t.Errorf("before there is a stick: %+v, %v", h, err)
	}
	if err := first.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}

	b, table := blankBays(t, card, one, stick) // power was cut: the only key may be used
	if h, err := b.Health(t.Context()); err != nil || !h.WordsIn {
		t.Fatalf("started again before there is a stick: %+v, %v", h, err)
	}
	if err := b.KeyStick(t.Context(), stick); err != nil {
		t.Fatal(err)
	}
	noKeyOn(t, card, "with a stick")
	table.drives = []attach.Drive{{N: 7, Dir: one, Name: "one"}} // the stick is unplugged, the drive was for a moment
	if h, err := b.Health(t.Context()); err != nil || h.WordsIn || h.KeyStick {
		t.Errorf("it does not go on: %+v, %v", h, err)
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}

	b, table = blankBays(t, card, one)
	if _, err := b.Health(t.Context()); !errors.Is(err, firmware.ErrVaultLocked) {
		t.Errorf("started without the stick: %v", err)
	}
	table.drives = append(table.drives, attach.Drive{N: 8, Dir: stick, Name: "stick"})
	if h, err := b.Health(t.Context()); err != nil || !h.KeyStick {
		t.Errorf("with it: %+v, %v", h, err)
	}
	noKeyOn(t, card, "opened by the stick,")
}

// An owner who had the key on the card, and changes that: it goes as soon as it is seen to be elsewhere, and not before.
func TestAKeyLeftOnTheCard(t *testing.T) {
	for name, tt := range map[string]struct{ noted, stick, opens, leaves bool }{
		"nowhere else":                {opens: true},
		"on a stick that is here":     {stick: true, opens: true, leaves: true},
		"on paper, or another stick":  {noted: true, leaves: true},
		"noted, and the stick's here": {noted: true, stick: true, opens: true, leaves: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, card := newSite(t, 1, 0), filepath.Join(t.TempDir(), "card")
			key, err := readKey(s.key)
			if err != nil {
				t.Fatal(err)
			}
			if tt.noted {
				must(t, exitOK, "key", "stick", t.TempDir(), "--drive", s.drives[0], "--key-file", s.key)
			}
			if err := errors.Join(os.Mkdir(card, 0o700), putStateFile(card, cardKeyName, []byte(key+"\n")),
				putStateFile(card, configName, []byte("unlock = \"keystick\"\n"))); err != nil {
				t.Fatal(err)
			}
			dirs := s.drives
			if tt.stick {
				stick := t.TempDir()
				if err := os.WriteFile(filepath.Join(stick, stickKey+".txt"), []byte(key), 0o600); err != nil {
					t.Fatal(err)
				}
				dirs = append(dirs, stick)
			}
			b, _ := blankBays(t, card, dirs...)
			h, err := b.Health(t.Context())
			if tt.opens && err != nil || !tt.opens && !errors.Is(err, firmware.ErrVaultLocked) {
				t.Errorf("%+v, %v", h, err)
			}
			if tt.leaves {
				noKeyOn(t, card, "at last")
			} else if got, err := readKey(filepath.Join(card, cardKeyName)); err != nil || got != key || !h.WordsIn {
				t.Errorf("the only key is gone, or nobody is told: %v, %+v", err, h)
			}
		})
	}
}
