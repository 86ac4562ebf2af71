package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// StateTag marks the snapshots that hold the box's own state. They belong to no phone, and lists for people leave them out.
const StateTag = "box-state"

// A State is what makes a box this box: its settings, pairings, enrolments and journal, by slash-separated path. With it,
// a blank card becomes the same box. It never holds the vault's words: whoever reads it has them already, and words
// that were rotated away must not live on in it.
type State map[string][]byte

// Limits of a State. Enrolments and pairings of a large family are a few hundred kilobytes.
const (
	maxStateFiles = 1000
	maxStateBytes = 8 << 20 // in all
)

// check refuses what no box needs to remember.
func (s State) check() error {
	total := 0
	for name, p := range s {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("vault: box state: name %.80q: %w", name, fs.ErrInvalid)
		}
		total += len(p)
	}
	if len(s) > maxStateFiles || total > maxStateBytes {
		return fmt.Errorf("vault: box state: %d files of %d bytes: %w", len(s), total, ErrTooBig)
	}
	return nil
}

// Hidden reports whether the snapshot is the box's state and no phone's.
func (s Snapshot) Hidden() bool { return slices.Contains(s.Tags, StateTag) }

// SaveState makes state the vault's newest box state, durable when it returns nil. If the newest one holds the same,
// nothing is written and changed is false. Like Begin it is refused with ErrBusy while a Tree is open.
func (v *Vault) SaveState(ctx context.Context, state State) (changed bool, err error) {
	if err := state.check(); err != nil {
		return false, err
	}
	list, err := v.states(ctx)
	if err != nil {
		return false, err
	}
	if len(list) > 0 {
		old, err := v.readState(ctx, list[0])
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil && maps.EqualFunc(old, state, bytes.Equal) {
			return false, nil
		}
	}
	t, err := v.Begin(ctx, Phone{ID: StateTag})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	// Times would make equal states differ, and say when the box was used.
	for _, name := range slices.Sorted(maps.Keys(state)) {
		if err := t.Create(name, int64(len(state[name])), time.Time{}, bytes.NewReader(state[name])); err != nil {
			return false, fmt.Errorf("vault: box state: %w", err)
		}
	}
	_, err = t.Commit(ctx, Outcome{Complete: true, Listed: len(state), Stored: len(state)})
	return err == nil, err
}

// LoadState returns the newest box state that can be read wholly, and the snapshot that holds it. A vault that has none
// gives ErrNoSnapshot.
func (v *Vault) LoadState(ctx context.Context) (State, Snapshot, error) {
	list, err := v.states(ctx)
	if err != nil {
		return nil, Snapshot{}, err
	}
	var failed error
	for _, s := range list {
		state, err := v.readState(ctx, s)
		if err == nil {
			return state, s, nil
		}
		if ctx.Err() != nil {
			return nil, Snapshot{}, ctx.Err()
		}
		v.o.Log.Warn("a box state cannot be read; trying an older one", slog.Any("err", err))
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		failed = ErrNoSnapshot
	}
	return nil, Snapshot{}, fmt.Errorf("vault: box state: %w", failed)
}

// states are the snapshots of the box's state, the newest first.
func (v *Vault) states(ctx context.Context) ([]Snapshot, error) {
	list, err := v.Snapshots(ctx)
	return slices.DeleteFunc(list, func(s Snapshot) bool { return s.Err != nil || !s.Hidden() }), err
}

// readState reads the files of one box state.
func (v *Vault) readState(ctx context.Context, s Snapshot) (State, error) {
	fsys, err := v.FS(ctx, s)
	if err != nil {
		return nil, err
	}
	state, room := State{}, int64(maxStateBytes)
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if room -= info.Size(); room < 0 || len(state) == maxStateFiles {
			return fmt.Errorf("vault: box state %.8s: %w", s.ID, ErrTooBig)
		}
		state[name], err = fsys.ReadFile(name)
		return err
	})
	if err == nil {
		err = state.check()
	}
	return state, err
}
