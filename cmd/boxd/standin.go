//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
)

// standInName, in the box's state folder, is which drives were missing when the owner gave the box new ones.
const standInName = "missing.json"

// standIns are drives that the owner gave the box while others were missing, as B-10 advises. When the drives that are here protect
// everything as wanted, as many of the missing ones are given up: nobody at a box without a screen could say that they do not come back.
type standIns struct {
	Vault   string   `json:"vault"`   // ID
	Missing []string `json:"missing"` // IDs of drives
	New     int      `json:"new"`     // drives that were given since
}

// missing are the drives that ought to be here. One that travels need not.
func missing(h array.Health) (ids []string) {
	for _, d := range h.Drives {
		if d.State == array.Away && !d.Travels {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// noteStandIn notes that the owner gave the box a drive. The caller holds mu.
func (b *bays) noteStandIn(ctx context.Context, r *rack) error {
	h, err := r.array.Health(ctx)
	if err != nil {
		return err
	}
	gone := missing(h)
	if len(gone) == 0 {
		return nil
	}
	s, err := b.standIns(r)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Missing, func(id string) bool { return slices.Contains(gone, id) }) {
		s.New = 0 // those came back
	}
	return b.writeState(standInName, standIns{r.vault.ID(), gone, s.New + 1})
}

// standIns are those that were noted of the vault; none if what was noted cannot be read: then B-10 goes on asking.
func (b *bays) standIns(r *rack) (s standIns, err error) {
	p, err := b.readState(standInName, maxScrub)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if json.Unmarshal(p, &s) != nil || s.Vault != r.vault.ID() {
		return standIns{}, nil
	}
	return s, nil
}

// giveUp gives up the drives that others stand in for, once what they hold lies on those that are here. Where these have no room, or
// part of it is nowhere else, they are waited for.
func (b *bays) giveUp(ctx context.Context, r *rack, watch array.Watch) error {
	s, err := b.standIns(r)
	if err != nil || s.New == 0 {
		return err
	}
	h, err := r.array.Health(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(missing(h), func(id string) bool { return !slices.Contains(s.Missing, id) })
	if len(gone) > s.New || h.Unreadable > 0 || h.LedgerIncomplete {
		return nil // more are missing than were given, or these have something that nobody else has
	}
	for _, id := range gone {
		report, err := r.array.Drain(ctx, id, watch)
		b.count(report)
		if errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrUnavailable) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return b.writeState(standInName, standIns{})
}
