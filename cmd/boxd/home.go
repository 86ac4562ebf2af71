//go:build !rescue

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

// candidates are the folders where drives are now, by the vault that they are of; "" if its identity cannot be read. The caller
// holds mu.
func (b *bays) candidates(ctx context.Context) (map[string][]string, error) {
	at := map[string][]string{}
	var named []string
	for _, dir := range b.places() {
		if id, ok := vaultOf(dir); ok {
			at[id], named = append(at[id], dir), append(named, dir)
		}
	}
	if !b.auto {
		return at, nil
	}
	found, err := drive.Find(ctx, named...)
	for _, f := range found {
		if !slices.Contains(named, f.Dir) {
			at[f.Vault] = append(at[f.Vault], f.Dir)
		}
	}
	return at, err
}

// lastHomeName, in a state folder, says of which vault the drives were that the box opened last.
const lastHomeName = "drives-of"

// lastHome is that vault if drives of it are here, and of no other: then there is nothing to choose. A drive that only says so is
// found out when its vault is opened.
func (b *bays) lastHome(at map[string][]string) string {
	if b.card == "" || b.blank || b.password == "" || len(at) != 1 {
		return ""
	}
	p, err := readSmall(filepath.Join(b.card, lastHomeName), 100)
	if id := string(trimmed(p)); err == nil && id != "" && at[id] != nil {
		return id
	}
	return ""
}

// keepHome writes down which vault was opened. Where it cannot, the next start takes a little longer.
func (b *bays) keepHome() {
	path := filepath.Join(b.card, lastHomeName)
	if old, err := readSmall(path, 100); b.card == "" || err == nil && string(trimmed(old)) == b.home {
		return
	}
	_ = putStateFile(b.card, lastHomeName, []byte(b.home+"\n"))
}

// findHome finds out which vault is the box's: the one that its key opens, or one on a key stick. It only reads: drives of other
// vaults stay as they are. A blank box without any has none. The caller holds mu.
func (b *bays) findHome(ctx context.Context) error {
	at, err := b.candidates(ctx)
	if err != nil {
		return err
	}
	if b.blank && b.first != "" && len(at[b.first]) == 1 {
		if err := b.finish(ctx, at[b.first][0]); err == nil || ctx.Err() != nil {
			return err
		}
		delete(at, b.first) // blankHealth tells; another drive will do
	}
	if b.home = b.lastHome(at); b.home != "" {
		return nil
	}
	keys, err := b.homeKeys(len(at) > 0)
	if err != nil || len(at) == 0 {
		return err
	}
	return b.tryHomes(ctx, at, keys)
}

// homeKeys are the keys that may open the box's vault. drives says that drives of some vault are here. The caller holds mu.
func (b *bays) homeKeys(drives bool) ([]string, error) {
	if b.password != "" && !b.blank {
		return []string{b.password}, nil
	}
	keys, err := b.stickKeys()
	switch {
	case err != nil:
		return nil, err
	case len(keys) > 0 && !drives:
		return nil, fmt.Errorf("the key stick's drives are not here: %w", firmware.ErrStickAlone)
	case len(keys) > 0:
		return keys, nil
	case b.notKept:
		return nil, firmware.ErrCardLost
	case b.blank && drives:
		return nil, firmware.ErrOtherBox
	case b.blank:
		return nil, nil
	}
	return nil, fmt.Errorf("no key stick is plugged in: %w", firmware.ErrVaultLocked)
}

// tryHomes chooses among the vaults whose drives are here. The caller holds mu.
func (b *bays) tryHomes(ctx context.Context, at map[string][]string, keys []string) error {
	var unread []string
	var unreadable error
	for _, id := range slices.Sorted(maps.Keys(at)) {
		err := opens(ctx, at[id], keys)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			b.home = id
			return notCutRekey(at, id)
		case !errors.Is(err, vault.ErrWrongKey):
			unread, unreadable = append(unread, id), err
		}
	}
	if len(unread) == 1 && !b.blank {
		b.home = unread[0] // a file system that was not unmounted may only want to be mended, which Write does
		return nil
	}
	if unreadable != nil {
		return unreadable
	}
	return fmt.Errorf("%w: %w", firmware.ErrWrongKey, vault.ErrWrongKey)
}

// opens finds out whether one of the keys opens the vault on dirs, which are only read.
func opens(ctx context.Context, dirs, keys []string) (err error) {
	r, err := openArray(ctx, dirs, reading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	err = vault.ErrWrongKey
	for _, key := range keys {
		if r.vault, err = vault.Open(ctx, r.array, key, vault.Options{ReadOnly: true}); !errors.Is(err, vault.ErrWrongKey) {
			break
		}
	}
	return err
}

// notCutRekey refuses drives of which some went over to the vault id and others wait to: see oneVault.
func notCutRekey(at map[string][]string, id string) error {
	for other, dirs := range at {
		if other == id {
			continue
		}
		for _, dir := range dirs {
			d, err := drive.Open(dir, drive.Options{ReadOnly: true})
			if err != nil {
				continue // it cannot be of the vault
			}
			next, err := d.NextVault()
			if cerr := d.Close(); err == nil && cerr == nil && next == id {
				return cutRekey(dir)
			}
		}
	}
	return nil
}

func trimmed(p []byte) []byte { return bytes.TrimSpace(p) }
