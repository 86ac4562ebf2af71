//go:build !rescue

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/attach"
)

// The key that a new box made is nowhere else until an empty stick got it; that stick, and one drive, make a blank card the same box.
// A stick that holds something, a drive of the vault, and another key stick are left alone.
func TestADoubleTapPutsTheKeyOntoAStick(t *testing.T) {
	dir := t.TempDir()
	card, one, stick, full := filepath.Join(dir, "card"), filepath.Join(dir, "one"), filepath.Join(dir, "stick"), filepath.Join(dir, "full")
	b, table := blankBays(t, card, one)
	if err := b.KeyStick(t.Context(), one); !errors.Is(err, firmware.ErrNoVault) {
		t.Errorf("before there is a key: %v", err)
	}
	if err := b.Adopt(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	in := func(b *bays) bool {
		h, err := b.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h.WordsIn
	}
	if !in(b) {
		t.Error("the words have left the box by themselves")
	}
	for i, d := range []string{stick, full} {
		table.drives = append(table.drives, attach.Drive{N: i + 5, Dir: d, Name: filepath.Base(d)})
	}
	err := errors.Join(os.MkdirAll(filepath.Join(stick, "System Volume Information"), 0o755), os.Mkdir(full, 0o755),
		os.WriteFile(filepath.Join(full, "letter.txt"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.KeyStick(t.Context(), full); !errors.Is(err, firmware.ErrNotEmpty) {
		t.Errorf("a stick with a letter on it: %v", err)
	}
	if err := b.KeyStick(t.Context(), filepath.Join(one, boxFolder)); err == nil {
		t.Error("a drive of the vault was given the key")
	}
	if slices.Contains(table.wrote, full) || !in(b) {
		t.Errorf("nothing was done, yet %q was written; in: %v", table.wrote, in(b))
	}
	if err := b.KeyStick(t.Context(), stick); err != nil {
		t.Fatal(err)
	}
	if in(b) || !slices.Equal(table.rested, []string{stick}) || states(t, b) != "full:unknown one:ok" {
		t.Errorf("in: %v; at rest: %q; %s", in(b), table.rested, states(t, b))
	}
	if err := b.KeyStick(t.Context(), stick); err == nil {
		t.Error("it is made a second time")
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, _ := blankBays(t, card, one)
	if in(again) {
		t.Error("a restart makes it forget that the words are out")
	}
	if err := again.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, _ := blankBays(t, filepath.Join(dir, "other card"), one, stick)
	if h, err := other.Health(t.Context()); err != nil || h.NoVault || h.WordsIn || !h.KeyStick {
		t.Errorf("a blank card: %+v, %v", h, err)
	}
}

// A stick whose making was cut short after the sheet is gone on with.
func TestAKeyStickThatWasCutShort(t *testing.T) {
	dir := t.TempDir()
	one, stick := filepath.Join(dir, "one"), filepath.Join(dir, "stick")
	b, _ := blankBays(t, filepath.Join(dir, "card"), one, stick)
	if err := b.Adopt(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stick, stickSheet+".html"), []byte("half a she"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.KeyStick(t.Context(), stick); err != nil || !isStick(stick) {
		t.Error(err)
	}
}

// Words that were written down from the page are out of the box, which then tells them no more, after a restart, too.
func TestWordsOnPaper(t *testing.T) {
	dir := t.TempDir()
	card, one := filepath.Join(dir, "card"), filepath.Join(dir, "one")
	b, _ := blankBays(t, card, one)
	if _, err := b.Words(t.Context()); err == nil {
		t.Error("words before there is a key")
	}
	if err := b.Adopt(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	words, err := b.Words(t.Context())
	if key, kerr := readKey(filepath.Join(card, cardKeyName)); err != nil || kerr != nil || strings.Join(words, " ") != key {
		t.Errorf("%d words, %v, %v", len(words), err, kerr)
	}
	if err := b.WordsOnPaper(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, _ := blankBays(t, card, one)
	h, err := again.Health(t.Context())
	if _, werr := again.Words(t.Context()); err != nil || h.WordsIn || werr == nil {
		t.Errorf("afterwards: %+v, %v; words: %v", h, err, werr)
	}
	if err := again.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
}
