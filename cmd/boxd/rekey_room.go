//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
)

// room refuses to begin what the drives have no room to finish.
func (k *rekeying) room(ctx context.Context, was array.Health) error {
	need := was.Bytes
	if k.begun {
		// What is there of the new vault need not be stored again. One that cannot be opened is found out soon.
		if len(k.over) > 0 {
			if a, err := array.Open(ctx, members(k.over), array.Options{}); err == nil {
				h, herr := a.Health(ctx)
				if err := errors.Join(herr, a.Close()); err != nil {
					return err
				}
				need -= h.Bytes
			}
		} else {
			need -= k.insideBytes(ctx)
		}
	}
	var free []int64
	for _, d := range slices.Concat(k.over, k.old.drives) {
		if slices.ContainsFunc(was.Drives, func(h array.DriveHealth) bool { return h.ID == d.ID() && h.Travels }) {
			continue // it gets what it has room for
		}
		s, err := d.Space(ctx)
		if err != nil {
			return err
		}
		free = append(free, s.Free)
	}
	if len(free) == 0 {
		return nil // all travel
	}
	if short := shortOf(need, free, was.Survive); short > 0 {
		return hintError{fmt.Errorf("until the old vault is deleted, the new one needs as much room again: %s more than is free on these drives", size(short)), "full",
			"boxd vault prune frees what no snapshot needs; or add a drive (boxd drive add); nothing was changed"}
	}
	return nil
}

// insideBytes is how much the new vault holds that was begun inside the drives.
func (k *rekeying) insideBytes(ctx context.Context) int64 {
	var inside []*drive.Drive
	defer func() {
		for _, d := range inside {
			_ = d.Close() // read only
		}
	}()
	for _, d := range k.old.drives {
		if n, err := drive.OpenNext(d.Dir()); err == nil {
			inside = append(inside, n)
		}
	}
	a, err := array.Open(ctx, members(inside), array.Options{})
	if err != nil {
		return 0
	}
	h, err := a.Health(ctx)
	if err != nil {
		return 0
	}
	return h.Bytes
}

// shortOf is how many bytes of drive are missing to store need bytes on drives with so much free, such that survive of them
// may die, or one less for each drive that there is too few of. Each blob goes to all drives that have room.
func shortOf(need int64, free []int64, survive int) int64 {
	free = slices.Sorted(slices.Values(free))
	survive = min(survive, len(free)-1)
	need += need / 10 // parity against bad sectors, indexes, and what is not known before
	for len(free) > survive && need > 0 {
		data := int64(max(len(free)-survive, 1))
		each := min(free[0], (need+data-1)/data)
		for i := range free {
			free[i] -= each
		}
		need -= each * data
		free = slices.DeleteFunc(free, func(n int64) bool { return n == 0 })
	}
	return max(need, 0) * int64(survive+1)
}
