//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"phonebackupbox/firmware"
)

// With unlock = "keystick" the key is on the card only as long as it is nowhere else: from the first drive until there is a key stick
// (docs/adr/055-the-key-leaves-the-card.md). Then it is erased there, the box that runs goes on, and the next start wants the stick.

// leaveCard erases the card's key, with which r was opened, if it is elsewhere, too. Where no stick is here, the box is locked
// then: the key should not have opened anything. The caller holds mu.
func (b *bays) leaveCard(ctx context.Context, r *rack) error {
	own, err := readKey(filepath.Join(b.card, cardKeyName))
	if !b.offCard || b.card == "" || err != nil || own != b.password {
		return nil
	}
	sticks, err := keysOn(slices.DeleteFunc(b.places(), func(dir string) bool { return !isStick(dir) }))
	if err != nil {
		return err
	}
	stick := slices.Contains(sticks, own)
	if out, err := r.wordsAreOut(ctx); err != nil || !stick && !out {
		return nil // as far as anybody knows it is the only one
	}
	if err := b.eraseFromCard(); err != nil || stick {
		return err
	}
	b.password = ""
	return fmt.Errorf("the key was still on the card, and is wanted on a stick: %w", firmware.ErrVaultLocked)
}

// eraseFromCard erases the card's key where the owner does not want it there. The caller holds mu, and has seen that it is elsewhere.
func (b *bays) eraseFromCard() error {
	if !b.offCard || b.card == "" {
		return nil
	}
	return eraseFile(filepath.Join(b.card, cardKeyName))
}

// eraseFile writes over a file and removes it, durably; one that is not there is no error. What a card's own controller keeps of old
// sectors nobody can say.
func eraseFile(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().IsRegular() {
		err = writeInPlace(path, make([]byte, info.Size()))
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("%s: not erased: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}
