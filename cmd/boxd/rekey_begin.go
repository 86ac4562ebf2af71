//go:build !rescue

package main

import (
	"context"
	"errors"
	"slices"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
)

// hasVault reports whether there is a vault on members, which may be no array yet.
func hasVault(ctx context.Context, members []array.Member) (bool, error) {
	a, err := array.Open(ctx, members, array.Options{})
	if errors.Is(err, array.ErrNoLedger) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = a.Stat(ctx, "config")
	if err = errors.Join(err, a.Close()); errors.Is(err, storage.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// beginVault opens the vault on members, taking in those that are new; or makes one, in place of what is left of a making that
// was cut short, where nothing was stored yet.
func beginVault(ctx context.Context, members []array.Member, survive int, words string) (*array.Array, *vault.Vault, error) {
	made, err := hasVault(ctx, members)
	if err != nil {
		return nil, nil, err
	}
	if !made {
		for _, m := range members {
			if err := wipe(ctx, m.Store); err != nil {
				return nil, nil, err
			}
		}
		a, err := array.Create(ctx, members, array.Options{Survive: survive})
		if err != nil {
			return nil, nil, err
		}
		v, err := vault.Create(ctx, a, words, vault.Options{})
		if err != nil {
			return nil, nil, errors.Join(err, a.Close())
		}
		return a, v, nil
	}
	a, err := array.Open(ctx, members, array.Options{})
	if err != nil {
		return nil, nil, err
	}
	err = addBlank(ctx, a, members)
	if err == nil {
		var v *vault.Vault
		if v, err = vault.Open(ctx, a, words, vault.Options{}); err == nil {
			return a, v, nil
		}
	}
	return nil, nil, errors.Join(err, a.Close())
}

// wipe deletes every blob of a drive on which there is no vault.
func wipe(ctx context.Context, s storage.Store) error {
	var names []string
	for info, err := range s.List(ctx, "") {
		if err != nil {
			return err
		}
		names = append(names, info.Name)
	}
	for _, name := range names {
		if err := s.Delete(ctx, name); err != nil && !errors.Is(err, storage.ErrNotExist) {
			return err
		}
	}
	return s.Sync(ctx)
}

// addBlank takes the drives in that the array does not know.
func addBlank(ctx context.Context, a *array.Array, members []array.Member) error {
	h, err := a.Health(ctx)
	if err != nil {
		return err
	}
	for _, d := range h.Drives {
		i := slices.IndexFunc(members, func(m array.Member) bool { return m.ID == d.ID })
		if d.State == array.Blank && i >= 0 {
			if err := a.Add(ctx, members[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
