package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	return "drive " + d.Label + " holds the vault from before the rekey still, under the old words: " +
		"attach it with the others and run boxd vault rekey again, or destroy it and say so: boxd drive remove " + d.ID + " --lost"
}

// forgetLeft takes the owner's word that a drive that holds a former vault is no more. The vault's key is needed to note it.
// none is the error if there is no such drive.
func (f *vaultFlags) forgetLeft(ctx context.Context, c *call, r *rack, which string, none error) error {
	password, err := f.password()
	if err != nil {
		return none
	}
	if err := f.openVault(ctx, r, password); err != nil {
		return err
	}
	formers, err := r.vault.Formers(ctx)
	if err != nil {
		return err
	}
	for _, former := range formers {
		for _, d := range former.Left {
			if (d.ID == which || d.Label == which) && !isOver(formers, d.ID) {
				if err := r.vault.NoteFormer(ctx, vault.Former{Vault: former.Vault, Over: []string{d.ID}}); err != nil {
					return err
				}
				return r.settle(ctx, c)
			}
		}
	}
	return none
}

// isFormer reports whether this vault took the place of the one with an ID.
func (r *rack) isFormer(ctx context.Context, id string) (bool, error) {
	formers, err := r.vault.Formers(ctx)
	return isFormer(formers, id), err
}

func isFormer(formers []vault.Former, id string) bool {
	return slices.ContainsFunc(formers, func(f vault.Former) bool { return f.Vault == id })
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

// noteSuffix is what the note beside an old key file is called after it.
const noteSuffix = ".opens-nothing.txt"

// noteOldKey leaves a note beside the old key file, "" if there is none. The file itself stays: drives that were away may need
// it once more.
func noteOldKey(keyFile, newFile, command, vaultID string) error {
	if keyFile == "" {
		return nil
	}
	f, err := os.OpenFile(keyFile+noteSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("a note beside the old key file: %w", reason(err))
	}
	_, err = fmt.Fprintf(f, "The key in %s opened the vault %s. Then %s gave the drives another,\nwhich is in %s. This one opens nothing on them any more.\n\n"+
		"It still opens copies of the drives from before, and drives that were away: keep it until boxd vault status\nnames none of those any more, then delete it.\n",
		filepath.Base(keyFile), short(vaultID), command, newFile)
	return errors.Join(err, f.Close())
}
