//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"phonebackupbox/firmware"
	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/plain"
	"phonebackupbox/storage/vault"
)

// A blank box has neither key nor vault: the first drive that its owner gives it gets both (docs/adr/046-first-start.md). Each
// step is durable before the next begins: firstName says which vault is to be; the key is on the card; the drive has its
// identity; the vault is made; firstName goes. Until then nothing was told to be done, so whatever was cut short is done again,
// with the same key: no vault is ever made whose key could be lost.
const (
	firstName   = "first-vault" // in a state folder: the drives' vault ID of the vault that is being made
	notKeptName = "not-kept"    // in a state folder that is gone when the box is switched off; init leaves it there
)

// firstState reads how far a box has come in being one.
func (b *bays) firstState() error {
	_, err := os.Lstat(filepath.Join(b.card, notKeptName))
	b.notKept = err == nil
	first, err := readSmall(filepath.Join(b.card, firstName), 100)
	switch {
	case err == nil && b.password != "":
		b.blank, b.first = true, string(trimmed(first))
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("state folder %s: %s: %w", printable(b.card), firstName, err)
	}
	home, err := readHome(b.card)
	if _, kerr := os.Lstat(filepath.Join(b.card, cardKeyName)); errors.Is(kerr, fs.ErrNotExist) {
		b.blank = home == ""
	}
	return err
}

// adoptFirst makes a vault on the drive that is at dir, and its key before that. The caller holds mu.
func (b *bays) adoptFirst(ctx context.Context, dir string) error {
	dir, err := b.give(ctx, dir)
	if err != nil {
		return err
	}
	if id, ok := vaultOf(dir); ok { // a journal was replayed since it was looked at
		if id != b.first || id == "" {
			return fmt.Errorf("%s: %w", printable(dir), firmware.ErrOtherBox)
		}
		return b.finish(ctx, dir)
	}
	if err := mayCreate(dir); err != nil {
		return err
	}
	id := newVaultID()
	if err := b.firstKey(id); err != nil {
		return err
	}
	b.first = id
	if err := b.step("identity"); err != nil {
		return err
	}
	d, err := drive.Create(dir, id)
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	return b.finish(ctx, dir)
}

// firstKey puts a key onto the card, for a vault that is to be called id: the one that is there already, if an earlier vault was
// never made. The caller holds mu.
func (b *bays) firstKey(id string) error {
	if err := errors.Join(b.step("first"), putStateFile(b.card, firstName, []byte(id+"\n")), b.step("key")); err != nil {
		return fmt.Errorf("the card: %w", err)
	}
	path := filepath.Join(b.card, cardKeyName)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // finish reads it
	}
	words, err := vault.NewWords()
	if err != nil {
		return err
	}
	if err := putStateFile(b.card, cardKeyName, []byte(words+"\n")); err != nil {
		return fmt.Errorf("the card: %w", err)
	}
	if got, err := readKey(path); err != nil || got != words {
		return errors.Join(errors.New("the card: the key reads back as something else"), err)
	}
	return nil
}

// finish makes the vault that was begun on the drive in dir, from wherever an earlier try came to its end. The caller holds mu.
func (b *bays) finish(ctx context.Context, dir string) (err error) {
	key, err := readKey(filepath.Join(b.card, cardKeyName))
	if err != nil {
		return err
	}
	r := &rack{writes: writing}
	defer func() { err = errors.Join(err, r.close()) }()
	d, err := drive.Open(dir, drive.Options{})
	if err != nil {
		return driveError(dir, err)
	}
	r.drives = []*drive.Drive{d}
	of := []array.Member{{ID: d.ID(), Label: label(d, r.drives), Store: &stepping{d, b.step}}}
	if r.array, err = array.Open(ctx, of, array.Options{}); errors.Is(err, array.ErrNoLedger) {
		r.array, err = array.Create(ctx, of, array.Options{Survive: b.wanted()})
	}
	if err != nil {
		return err
	}
	if r.vault, err = remake(ctx, r.array, key); err != nil {
		return err
	}
	if err := errors.Join(b.step("home"), putStateFile(b.card, homeName, []byte(r.vault.ID()+"\n")), b.step("done"), b.noFirst()); err != nil {
		return fmt.Errorf("the card: %w", err)
	}
	b.blank, b.first, b.home, b.password = false, "", d.Vault(), key
	return nil
}

// remake opens the vault in s, or makes it where an earlier try left none: without a config there is nothing that a key could be
// for, so those that are there go.
func remake(ctx context.Context, s storage.Store, key string) (*vault.Vault, error) {
	if _, err := s.Stat(ctx, "config"); err == nil {
		return vault.Open(ctx, s, key, vault.Options{})
	} else if !errors.Is(err, storage.ErrNotExist) {
		return nil, err
	}
	var old []string
	for info, err := range s.List(ctx, "keys/") {
		if err != nil {
			return nil, err
		}
		old = append(old, info.Name)
	}
	for _, name := range old {
		if err := s.Delete(ctx, name); err != nil {
			return nil, err
		}
	}
	return vault.Create(ctx, s, key, vault.Options{})
}

// noFirst says durably that no vault is being made.
func (b *bays) noFirst() error {
	if err := os.Remove(filepath.Join(b.card, firstName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(b.card)
}

// wanted is how many drives may die.
func (b *bays) wanted() int {
	if b.survive != nil {
		return *b.survive
	}
	return array.DefaultSurvive
}

// step tells a test what is about to be made durable.
func (b *bays) step(what string) error {
	if b.onStep == nil {
		return nil
	}
	return b.onStep(what)
}

// stepping is a drive that tells before each change.
type stepping struct {
	*drive.Drive
	step func(string) error
}

func (s *stepping) Put(ctx context.Context, name string, p []byte) error {
	if err := s.step("put " + name); err != nil {
		return err
	}
	return s.Drive.Put(ctx, name, p)
}

func (s *stepping) Sync(ctx context.Context) error {
	if err := s.step("sync"); err != nil {
		return err
	}
	return s.Drive.Sync(ctx)
}

func (s *stepping) Delete(ctx context.Context, name string) error {
	if err := s.step("delete " + name); err != nil {
		return err
	}
	return s.Drive.Delete(ctx, name)
}

// blankHealth is what a box without a vault has before it. The caller holds mu.
func (b *bays) blankHealth() firmware.Health {
	h := firmware.Health{Known: true, NoVault: true, Want: b.wanted(), Drives: slices.Clone(b.stuck)}
	for _, dir := range b.places() {
		d := firmware.Drive{ID: dir, Label: driveName(dir), State: firmware.DriveUnknown, Free: -1, Total: -1}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || isStick(dir) {
			continue
		}
		if isDrive(dir) {
			d.State, d.Note = firmware.DriveForeign, "could not be made a drive of this box; erase it with a computer, or use another"
		} else if _, err := plain.Identify(dir); err == nil {
			d.State, d.Note = firmware.DriveForeign, "holds ordinary copies that another box made"
		}
		h.Drives = append(h.Drives, d)
	}
	return h
}

// takeOver makes a blank box the one that a vault knows, which a key stick has opened: its state comes out of the vault, and the key
// is kept on the card, last, where the owner allows that. What was chosen and enrolled on the blank box meanwhile stays. The
// caller holds mu.
func (b *bays) takeOver(ctx context.Context, r *rack) error {
	if b.card == "" {
		return nil
	}
	state, _, err := r.vault.LoadState(ctx)
	if err != nil && !errors.Is(err, vault.ErrNoSnapshot) {
		return err
	}
	settings, err := parseConfig(configName+" in the vault", state[configName])
	if own, oerr := readSmall(filepath.Join(b.card, configName), maxConfig); oerr == nil {
		delete(state, configName)
		settings, err = parseConfig(configName, own)
	}
	if err != nil {
		return err
	}
	if err := b.mergeRoster(state); err != nil {
		return err
	}
	if _, err := restoreBoxState(b.card, r.vault.ID(), state); err != nil {
		return err
	}
	switch {
	case b.notKept:
	case settings.KeyOnCard():
		err = b.keepFound()
	default: // one that was made for a vault that never came to be goes here, too
		err = errors.Join(eraseFile(filepath.Join(b.card, cardKeyName)), b.noFirst())
	}
	if err != nil {
		return err
	}
	b.blank, b.first = false, ""
	if b.reborn != nil {
		close(b.reborn)
	}
	return nil
}

// keepFound puts the key that a stick held onto the card. One that was made for a vault that never came to be goes.
func (b *bays) keepFound() error {
	if old, err := readKey(filepath.Join(b.card, cardKeyName)); err != nil || old != b.password {
		if err := putStateFile(b.card, cardKeyName, []byte(b.password+"\n")); err != nil {
			return fmt.Errorf("the card: %w", err)
		}
	}
	if err := os.Remove(filepath.Join(b.card, wordsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.noFirst()
}

// mergeRoster adds to the phones of a vault's state those that were enrolled on this card, after them.
func (b *bays) mergeRoster(state vault.State) error {
	own, err := readSmall(filepath.Join(b.card, enrolledName), maxRoster)
	if errors.Is(err, fs.ErrNotExist) || err == nil && state[enrolledName] == nil {
		delete(state, enrolledName)
		return nil
	}
	var mine, theirs []firmware.Enrolment
	if err := errors.Join(err, json.Unmarshal(own, &mine), json.Unmarshal(state[enrolledName], &theirs)); err != nil {
		return fmt.Errorf("enrolled phones: %w", err)
	}
	for _, e := range mine {
		if !slices.ContainsFunc(theirs, func(o firmware.Enrolment) bool { return o.ID == e.ID }) {
			for _, o := range theirs {
				e.Order = max(e.Order, o.Order+1)
			}
			theirs = append(theirs, e)
		}
	}
	delete(state, enrolledName)
	return roster{filepath.Join(b.card, enrolledName)}.write(theirs)
}
