//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

// open opens the drives and finds out which of them hold the old vault. done: none does, and the new words open what is there.
func (k *rekeying) open(ctx context.Context) (done bool, err error) {
	k.old = &rack{}
	if k.dirs, err = resolveDrives(k.f.drives); err != nil {
		return false, err
	}
	var groups [][]*drive.Drive // by vault
	for _, dir := range k.dirs {
		d, err := drive.Open(dir, drive.Options{Step: k.step})
		if err != nil {
			return false, driveError(dir, err)
		}
		k.old.drives = append(k.old.drives, d)
		i := slices.IndexFunc(groups, func(g []*drive.Drive) bool { return g[0].Vault() == d.Vault() })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], d)
	}
	switch {
	case len(groups) == 0:
		return false, usageError{"no drive was named", "give --drive DIR once for each drive"}
	case len(groups) > 2:
		return false, hintError{errors.New("these drives belong to three vaults"), "foreign", "name only the drives of one vault"}
	}
	for i, g := range groups {
		a, v, err := openVault(ctx, g, k.oldKey)
		if errors.Is(err, vault.ErrWrongKey) {
			continue
		}
		if err != nil {
			return false, err
		}
		if len(groups) == 2 {
			k.over, k.joined = groups[1-i], true
		}
		k.old = &rack{drives: g, array: a, vault: v}
		return false, nil
	}
	return true, k.nothingLeft(ctx, groups)
}

// openVault opens what drives hold with a key, for reading.
func openVault(ctx context.Context, drives []*drive.Drive, key string) (*array.Array, *vault.Vault, error) {
	a, err := array.Open(ctx, members(drives), array.Options{})
	if err != nil {
		return nil, nil, err
	}
	v, err := vault.Open(ctx, a, key, vault.Options{ReadOnly: true})
	if err != nil {
		return nil, nil, errors.Join(err, a.Close())
	}
	return a, v, nil
}

// nothingLeft is what a run finds that was finished already; or a wrong key.
func (k *rekeying) nothingLeft(ctx context.Context, groups [][]*drive.Drive) error {
	wrong := keyError(fmt.Errorf("old key: %w", vault.ErrWrongKey))
	words, err := readKey(k.path)
	if err != nil || len(groups) > 1 {
		return wrong
	}
	k.old = &rack{drives: groups[0]}
	if k.old.array, err = array.Open(ctx, members(groups[0]), array.Options{}); err != nil {
		return err
	}
	k.old.vault, err = vault.Open(ctx, k.old.array, words, vault.Options{})
	if errors.Is(err, vault.ErrWrongKey) {
		return wrong
	}
	if err == nil {
		err = k.old.noteOver(ctx)
	}
	if err != nil {
		return err
	}
	res := rekeyResult{Vault: k.old.vault.ID(), KeyFile: k.path}
	return k.c.print(res, func(w io.Writer) {
		fmt.Fprintf(w, "nothing is left to do: the words in %s open these drives, the old ones do not\n", printable(k.path))
	})
}

// prepare opens the new vault, or makes it.
func (k *rekeying) prepare(ctx context.Context) error {
	if k.joined {
		if err := k.related(ctx); err != nil {
			return err
		}
	}
	id, err := k.newVault()
	if err != nil {
		return err
	}
	if !k.begun {
		if err := checkNewKey(k.path); err != nil {
			return err
		}
	}
	was, err := k.old.array.Health(ctx)
	if err != nil {
		return err
	}
	for _, d := range was.Drives {
		if d.State == array.Removed && k.old.dirOf(d.ID) != "" {
			return hintError{fmt.Errorf("%s was removed from this vault", printable(k.old.dirOf(d.ID))), "removed", "leave it out, and erase it: it holds what it held under the old words"}
		}
		if d.State != array.Attached && d.State != array.Removed && d.State != array.Blank &&
			!slices.ContainsFunc(k.over, func(o *drive.Drive) bool { return o.ID() == d.ID }) {
			k.res.Left = append(k.res.Left, vault.LeftDrive{ID: d.ID, Label: d.Label})
		}
	}
	keys, err := k.old.vault.Keys(ctx)
	if err != nil {
		return err
	}
	k.res.OtherKeys = max(len(keys)-1, 0)
	if err := k.room(ctx, was); err != nil {
		return err
	}
	for _, d := range k.old.drives {
		if err := k.at("prepare " + d.Dir()); err != nil {
			return err
		}
		next, err := d.Next(id)
		if err != nil {
			return err
		}
		k.next = append(k.next, next)
	}
	if err := k.at("key file"); err != nil {
		return err
	}
	if err := k.newWords(ctx); err != nil {
		return err
	}
	return k.begin(ctx, was)
}

const abandonHint = "boxd vault rekey --abandon throws away what was copied, and leaves the old vault as it is"

// giveUp throws away what an earlier run copied.
func (k *rekeying) giveUp() error {
	if len(k.over) > 0 {
		return hintError{errors.New("some drives went over to the new vault already"), "begun", "leave --abandon out: what is left can only be finished"}
	}
	begun := 0
	for _, d := range k.old.drives {
		if next, err := d.NextVault(); err == nil && next == "" {
			continue
		}
		begun++
		if err := d.DropNext(); err != nil {
			return err
		}
	}
	return k.c.print(map[string]int{"drives": begun}, func(w io.Writer) {
		fmt.Fprintf(w, "thrown away on %s; the vault and its key are as they were\n", plural(begun, "drive", "drives"))
	})
}

// related makes sure that the vault on the drives that went over took the place of the old one: two vaults are never made one.
func (k *rekeying) related(ctx context.Context) error {
	words, err := readKey(k.path)
	if err != nil {
		return err
	}
	a, v, err := openVault(ctx, k.over, words)
	if err == nil {
		var formers []vault.Former
		formers, err = v.Formers(ctx)
		if err = errors.Join(err, v.Close(), a.Close()); err == nil && !isFormer(formers, k.old.vault.ID()) {
			err = vault.ErrWrongKey
		}
		// A run that was cut before it noted this was cut before it showed the words.
		k.said = !slices.ContainsFunc(k.over, func(d *drive.Drive) bool { return !isOver(formers, d.ID()) })
	}
	if errors.Is(err, vault.ErrWrongKey) {
		err = hintError{fmt.Errorf("%s and %s belong to two vaults, and the key in %s opens none that took the other's place", k.old.drives[0].Dir(), k.over[0].Dir(), printable(k.path)), "foreign",
			"name only the drives of one vault, and the key file that it has now as --new-key-file"}
	}
	return err
}

// newVault is the UUID by which the drives of the new vault know each other.
func (k *rekeying) newVault() (string, error) {
	id := ""
	if len(k.over) > 0 {
		id = k.over[0].Vault()
	}
	for _, d := range k.old.drives {
		next, err := d.NextVault()
		switch {
		case err != nil:
			return "", err
		case next == "":
			continue
		case id != "" && next != id && len(k.over) > 0: // what is there is no part of this
			if err := d.DropNext(); err != nil {
				return "", err
			}
			continue
		case id != "" && next != id:
			return "", hintError{errors.New("the drives were begun to be given to two different vaults"), "begun", abandonHint}
		}
		id, k.begun = next, true
	}
	k.begun = k.begun || len(k.over) > 0
	if id == "" {
		id = newVaultID()
	}
	return id, nil
}

// newWords makes the new key file, or reads that of the run that is taken up. It is durable before the vault is made, and that
// is whole before anything old goes.
func (k *rekeying) newWords(ctx context.Context) (err error) {
	if _, serr := os.Lstat(k.path); k.begun && serr == nil {
		read := readWords
		if k.joined { // any key of the new vault will do
			read = readKey
		}
		if k.words, err = read(k.path); err != nil {
			return err
		}
		v, err := vault.Open(ctx, k.old.array, k.words, vault.Options{ReadOnly: true})
		if errors.Is(err, vault.ErrWrongKey) {
			return nil
		}
		if err == nil {
			err = errors.Join(v.Close(), hintError{fmt.Errorf("the words in %s open the old vault", printable(k.path)), "key", "give another name as --new-key-file"})
		}
		return err
	}
	if k.words, err = vault.NewWords(); err != nil {
		return err
	}
	return k.keepNewWords(ctx)
}

// keepNewWords writes the new key file, unless the new vault was made with words that are in another one.
func (k *rekeying) keepNewWords(ctx context.Context) error {
	if k.begun {
		made, err := hasVault(ctx, k.newMembers())
		if err != nil {
			return err
		}
		if made {
			return hintError{fmt.Errorf("there is no key file %s, and a rekey was begun with another one", printable(k.path)), "begun",
				"give that one as --new-key-file; if it is lost, " + abandonHint}
		}
	}
	return writeKey(k.path, k.words)
}

// newMembers are the drives of the new vault, called as the drives that they are inside of.
func (k *rekeying) newMembers() []array.Member {
	all := slices.Concat(k.over, k.old.drives)
	list := members(all)
	for i, d := range k.next {
		list[len(k.over)+i].Store = d
	}
	return list
}

// begin opens the new vault, or makes it.
func (k *rekeying) begin(ctx context.Context, was array.Health) error {
	k.nu = &rack{}
	var err error
	k.nu.array, k.nu.vault, err = beginVault(ctx, k.newMembers(), was.Survive, k.words)
	if errors.Is(err, vault.ErrWrongKey) {
		return hintError{fmt.Errorf("the words in %s are not those that this rekey was begun with", printable(k.path)), "begun",
			"give the key file that it made as --new-key-file; if it is lost, " + abandonHint}
	}
	if err != nil {
		return err
	}
	for _, d := range was.Drives {
		if d.Travels && k.old.dirOf(d.ID) != "" {
			if err := k.nu.array.Travel(ctx, d.ID, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// carryState gives the box that runs here its new key, and its state the new vault.
func (k *rekeying) carryState() error {
	dir := k.c.state
	if dir == "" {
		return nil
	}
	home, err := readHome(dir)
	if err == nil && home == k.res.Former {
		err = putStateFile(dir, homeName, []byte(k.res.Vault+"\n"))
	}
	if err != nil {
		return err
	}
	return k.c.replaceOldKey(k.oldKey, k.words)
}

// close lets go of whatever is open.
func (k *rekeying) close() error {
	err := errors.Join(k.closeNew(), k.closeOld())
	if k.nu != nil {
		err = errors.Join(err, k.nu.close())
		k.nu = nil
	}
	return err
}

// closeNew closes the new vault inside the drives, and what is inside them.
func (k *rekeying) closeNew() error {
	if k.next == nil {
		return nil
	}
	var err error
	if k.nu != nil {
		err = k.nu.close()
		k.nu = nil
	}
	err = errors.Join(err, closeDrives(k.next))
	k.next = nil
	return err
}

// closeOld closes the old vault, and the drives, those that went over before too. They are known afterwards, but not open.
func (k *rekeying) closeOld() error {
	if k.old == nil {
		return nil
	}
	err := errors.Join(k.old.close(), closeDrives(k.over))
	k.old, k.over = nil, nil
	return err
}
