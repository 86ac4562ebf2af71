package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"phonebackupbox/storage/vault"
)

// formerKeyName, in a state folder, is what the name of a working key begins with that another has taken the place of.
const formerKeyName = "former-key"

// leftDrives tells in words which drives did not go over when the vault got a new key, and which have the beginnings of
// another vault inside.
func (r *rack) leftDrives(ctx context.Context) ([]string, error) {
	formers, err := r.vault.Formers(ctx)
	if err != nil {
		return nil, err
	}
	left := []string{}
	for _, f := range formers {
		for _, d := range f.Left {
			if !isOver(formers, d.ID) && r.dirOf(d.ID) == "" {
				left = append(left, leftDrive(d))
			}
		}
	}
	for _, d := range r.drives {
		if next, err := d.NextVault(); err == nil && next != "" {
			left = append(left, "a rekey was begun and not finished: boxd vault rekey goes on with it, boxd vault rekey --abandon frees the room that it takes")
		}
	}
	slices.Sort(left)
	return slices.Compact(left), nil
}

// isOver reports whether a drive was noted as one that has gone over.
func isOver(formers []vault.Former, id string) bool {
	return slices.ContainsFunc(formers, func(f vault.Former) bool { return slices.Contains(f.Over, id) })
}

// noteOver notes of the drives that are here that they hold no former vault any more.
func (r *rack) noteOver(ctx context.Context) error {
	formers, err := r.vault.Formers(ctx)
	if err != nil {
		return err
	}
	var over []vault.Former // by vault
	for _, f := range formers {
		for _, d := range f.Left {
			if r.dirOf(d.ID) == "" || isOver(append(formers, over...), d.ID) {
				continue
			}
			over = append(over, vault.Former{Vault: f.Vault, Over: []string{d.ID}})
		}
	}
	for _, f := range over {
		if err := r.vault.NoteFormer(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// leftDrive says what a drive is that was away.
func leftDrive(d vault.LeftDrive) string {
	return "drive " + d.Label + " did not come along when the vault got a new key, and holds everything under the old words still: " +
		"attach it with the others and run boxd vault rekey again, with the old key file and the new; or destroy it"
}

// isFormer reports whether this vault took the place of the one with an ID.
func (r *rack) isFormer(ctx context.Context, id string) (bool, error) {
	formers, err := r.vault.Formers(ctx)
	return slices.ContainsFunc(formers, func(f vault.Former) bool { return f.Vault == id }), err
}

// keepFormerKey keeps a working key of before in a state folder, under a name of its own: it may open drives that are away.
func keepFormerKey(state, key string) error {
	for n := 1; ; n++ {
		name := formerKeyName + ".txt"
		if n > 1 {
			name = fmt.Sprintf("%s-%d.txt", formerKeyName, n)
		}
		switch old, err := readKey(filepath.Join(state, name)); {
		case err == nil && old == key:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return putStateFile(state, name, []byte(key+"\n"))
		case err != nil:
			return err
		}
	}
}

// replaceOldKey makes password the working key of a box, if old is.
func (c *call) replaceOldKey(old, password string) error {
	if c.state == "" {
		return nil
	}
	now, err := readKey(filepath.Join(c.state, cardKeyName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != old {
		return nil
	}
	if err != nil {
		return err
	}
	return replaceCardKey(c.state, password)
}

// replaceCardKey makes password the working key of a state folder. The one that was is kept under another name.
func replaceCardKey(state, password string) error {
	old, err := readKey(filepath.Join(state, cardKeyName))
	if err == nil && old == password {
		return nil
	}
	if err == nil {
		err = keepFormerKey(state, old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return putStateFile(state, cardKeyName, []byte(password+"\n"))
}
