//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
)

// clutter is what computers and file systems put onto a stick by themselves.
var clutter = []string{"System Volume Information", "lost+found", ".Trashes", ".Trash-1000", ".Spotlight-V100", ".fseventsd", ".TemporaryItems", "$RECYCLE.BIN", ".DS_Store", "._.Trashes", "Thumbs.db"}

// isEmpty reports whether a folder holds nothing that a person put there.
// A sheet with words may be what a key stick whose making was cut short has already.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return !slices.Contains(clutter, e.Name()) && !strings.HasPrefix(e.Name(), stickSheet) && !strings.HasPrefix(e.Name(), ".phone-backup-box-")
	}), err
}

// KeyStick makes the drive at dir a key stick of the vault: it holds nothing, and from then on the key.
func (b *bays) KeyStick(ctx context.Context, dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.refresh(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(b.places(), dir) || isStick(dir) {
		return fmt.Errorf("%s is no place for a new key stick", printable(dir))
	}
	if empty, err := isEmpty(dir); err != nil {
		return err
	} else if !empty {
		return fmt.Errorf("%s: %w", printable(dir), firmware.ErrNotEmpty)
	}
	words, err := vault.ParseWords(b.password)
	if err != nil {
		return fmt.Errorf("a key stick holds 24 words, and this key is a passphrase: %w", err)
	}
	if err := mayBeStick(dir); err != nil {
		return err
	}
	if b.mounts != nil {
		if err := b.mounts.Write(ctx, dir); err != nil {
			return err
		}
	}
	_, err = writeStick(dir, words, r.vault)
	if b.mounts != nil {
		err = errors.Join(err, b.mounts.Rest(dir)) // so that it may be pulled out at any time
	}
	if err != nil {
		return err
	}
	if keys, err := keysOn([]string{dir}); err != nil || !slices.Contains(keys, words) {
		return errors.Join(fmt.Errorf("%s: the key is not on it any more", printable(dir)), err)
	}
	return b.wordsLeft(ctx, r, "stick")
}

// WordsOnPaper notes that the words are on paper.
func (b *bays) WordsOnPaper(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.refresh(ctx)
	if err != nil {
		return err
	}
	return b.wordsLeft(ctx, r, "paper")
}

// Words are the 24 words of the box's key, as long as they are nowhere else.
func (b *bays) Words(ctx context.Context) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.refresh(ctx)
	if err != nil {
		return nil, err
	}
	if !b.wordsIn(ctx, r) {
		return nil, errors.New("the words have left the box already")
	}
	words, err := vault.ParseWords(b.password)
	return strings.Fields(words), err
}

// wordsLeft notes that the words are somewhere else, too: on a stick or on paper. The caller holds mu.
func (b *bays) wordsLeft(ctx context.Context, r *rack, how string) error {
	if err := r.noteWordsOut(ctx, how); err != nil {
		return err
	}
	b.wordsOut = r.vault.KeyID()
	return b.eraseFromCard()
}

// wordsIn reports whether the words are nowhere but in the box. Where the vault cannot tell, they may be. The caller holds mu.
func (b *bays) wordsIn(ctx context.Context, r *rack) bool {
	if b.card == "" || b.wordsOut == r.vault.KeyID() {
		return false
	}
	if _, err := vault.ParseWords(b.password); err != nil {
		return false // a passphrase is in its owner's head
	}
	if _, err := os.Lstat(filepath.Join(b.card, cardKeyName)); err != nil {
		return false // the key came from elsewhere, and is not kept here
	}
	out, err := r.wordsAreOut(ctx)
	if err == nil && out {
		b.wordsOut = r.vault.KeyID()
		_ = b.eraseFromCard() // done again at the next start
	}
	return !out
}
