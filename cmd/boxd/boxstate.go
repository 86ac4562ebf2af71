package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"phonebackupbox/storage/vault"
)

// Names in a state folder. Whatever else lies there, the key and the caches, never goes into the vault.
const (
	enrolledName = "enrolled.json"
	cardKeyName  = "key.txt"      // the box's working key
	homeName     = "vault-id"     // the vault that the folder's state was saved in or taken from
	wordsOutName = "words-out"    // in the vault only: see wordsOut
	maxStateFile = int64(8 << 20) // bytes of one file; vault.SaveState bounds the sum
)

// belongs reports whether a file of a state folder is part of what makes a box this box.
func belongs(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return name == configName || name == enrolledName || top == "journal" || top == "pairings"
}

// readBoxState reads the box's state out of a state folder. Settings that nobody could read back are refused.
func readBoxState(dir string) (vault.State, error) {
	if _, err := readConfig(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state folder %s: %w", dir, reason(err))
	}
	state := vault.State{}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir() && !belongs(name+"/"):
			return fs.SkipDir
		case d.IsDir() || !belongs(name) || !d.Type().IsRegular() || strings.HasPrefix(path.Base(name), "."):
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		p, err := io.ReadAll(io.LimitReader(f, maxStateFile+1))
		state[name] = p
		return errors.Join(err, f.Close())
	})
	if err = errors.Join(err, root.Close()); err != nil {
		return nil, fmt.Errorf("state folder %s: %w", dir, err)
	}
	return state, nil
}

// saveBoxState saves the state in dir into the vault where it changed. A folder that does not belong to a vault that
// holds a state already is a blank card: saving it would put a blank box in the place of the real one.
func (r *rack) saveBoxState(ctx context.Context, dir string) error {
	state, err := readBoxState(dir)
	if err != nil || len(state) == 0 {
		return err
	}
	old, err := r.newestState(ctx)
	if err != nil {
		return err
	}
	home, err := readHome(dir)
	if err != nil {
		return err
	}
	former, err := r.isFormer(ctx, home)
	switch {
	case err != nil:
		return err
	case !former && home != r.vault.ID() && (home != "" || hasBox(old)):
		return hintError{fmt.Errorf("the state in %s is not the one that this vault holds", dir), "state",
			"boxd unlock takes the state out of the vault into an empty folder"}
	}
	// Only this vault knows whether its words are safe.
	if p, ok := old[wordsOutName]; ok {
		state[wordsOutName] = p
	}
	if _, err := r.vault.SaveState(ctx, state); err != nil || home == r.vault.ID() {
		return err
	}
	return putStateFile(dir, homeName, []byte(r.vault.ID()+"\n"))
}

// hasBox reports whether a state is more than the note that the words are out.
func hasBox(state vault.State) bool {
	for name := range state {
		if belongs(name) {
			return true
		}
	}
	return false
}

// readHome tells which vault a state folder belongs to, "" if none.
func readHome(dir string) (string, error) {
	p, err := readSmall(dir+"/"+homeName, 100)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(p)), err
}

// newestState is the newest state that the vault holds, nil if none. An older one in its place will not do: what is
// saved next is built upon it.
func (r *rack) newestState(ctx context.Context) (vault.State, error) {
	state, from, err := r.vault.LoadState(ctx)
	if errors.Is(err, vault.ErrNoSnapshot) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := r.snapshots(ctx, true)
	newest := slices.IndexFunc(list, vault.Snapshot.Hidden)
	if err == nil && newest >= 0 && list[newest].ID != from.ID {
		err = hintError{errors.New("the newest state of the box cannot be read now"), "unavailable", "attach the drives that are missing"}
	}
	return state, err
}

// restoreBoxState writes the files of state into dir, and home last. Files that are there and differ are refused before
// any is written; those that are there already stay, so that a restore cut short can be repeated.
func restoreBoxState(dir, home string, state vault.State) (restored []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder %s: %w", dir, reason(err))
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(state)), func(name string) bool { return !belongs(name) })
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("state folder %s: %w", dir, reason(err))
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, name := range names {
		p, err := root.ReadFile(name)
		switch {
		case err == nil && !bytes.Equal(p, state[name]):
			return nil, hintError{fmt.Errorf("state folder %s holds another %s already", dir, printable(name)), "state", "name an empty folder"}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("state folder %s: %w", dir, err)
		}
	}
	for _, name := range names {
		if err := putStateFile(dir, name, state[name]); err != nil {
			return nil, err
		}
	}
	return names, putStateFile(dir, homeName, []byte(home+"\n"))
}

// putStateFile writes a file of a state folder: whole, durable, for its owner's eyes only.
func putStateFile(dir, name string, p []byte) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	folder := path.Dir(name)
	if err := root.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	temp := path.Join(folder, ".new-"+path.Base(name))
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return errors.Join(syncDir(path.Join(dir, folder)), syncDir(dir))
}

// wordsOut is kept in the box's state: a key whose words have left the box, and how. The working key must never be the
// only copy, so there is no plain "healthy" before.
type wordsOut struct {
	Key string `json:"key"` // the id of the key that the words open
	How string `json:"how"` // "stick" or "paper"
}

// wordsAreOut reports whether the words that opened the vault exist outside the box.
func (r *rack) wordsAreOut(ctx context.Context) (bool, error) {
	state, _, err := r.vault.LoadState(ctx)
	if errors.Is(err, vault.ErrNoSnapshot) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := parseWordsOut(state)
	for _, w := range list {
		if w.Key == r.vault.KeyID() {
			return true, nil
		}
	}
	return false, err
}

func parseWordsOut(state vault.State) (list []wordsOut, err error) {
	if p, ok := state[wordsOutName]; ok {
		if err := json.Unmarshal(p, &list); err != nil {
			return nil, fmt.Errorf("box state: %s: %w", wordsOutName, err)
		}
	}
	return list, nil
}

// noteWordsOut remembers in the vault that the words have left the box.
func (r *rack) noteWordsOut(ctx context.Context, how string) error {
	state, err := r.newestState(ctx)
	if err != nil {
		return err
	}
	list, err := parseWordsOut(state)
	if err != nil {
		return err
	}
	for _, w := range list {
		if w.Key == r.vault.KeyID() && w.How == how {
			return nil
		}
	}
	p, err := json.Marshal(append(list, wordsOut{r.vault.KeyID(), how}))
	if err != nil {
		return err
	}
	if state == nil {
		state = vault.State{}
	}
	state[wordsOutName] = p
	_, err = r.vault.SaveState(ctx, state)
	return err
}
