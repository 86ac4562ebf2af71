package array

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"phonebackupbox/storage"
)

// Put implements storage.Store. Where drives fail or are full, the blob goes to the others, as protected as they
// allow; Health tells. It fails only if no drive takes it.
func (a *Array) Put(ctx context.Context, name string, p []byte) error {
	if err := cmp.Or(checkName("put", name), ctx.Err()); err != nil {
		return err
	}
	if len(p) > maxSize {
		return fmt.Errorf("array: put %s: %d bytes are more than %d: %w", name, len(p), maxSize, errName)
	}
	a.change.RLock()
	defer a.change.RUnlock()
	if err := a.names.acquire(ctx, name); err != nil {
		return fmt.Errorf("array: put %s: %w", name, err)
	}
	defer a.names.release(name)
	if err := a.put(ctx, name, p); err != nil {
		return fmt.Errorf("array: put %s: %w", name, err)
	}
	return nil
}

func (a *Array) put(ctx context.Context, name string, p []byte) error {
	a.mu.RLock()
	incomplete := a.led.incomplete
	a.mu.RUnlock()
	if incomplete {
		return fmt.Errorf("the ledger is damaged; attach the other drives: %w", storage.ErrUnavailable)
	}
	for _, f := range a.facts(name) {
		same, err := a.same(ctx, f, p)
		if err != nil {
			return err
		}
		if !same {
			return storage.ErrExist
		}
		if f.present() >= f.k {
			return nil
		}
		// Known, but its holders are away: a Put promises that it can be read now.
	}
	place, table, err := a.spread(ctx, name, p, nil)
	if err != nil {
		return err
	}
	a.insert(name, int64(len(p)), placed{place, table})
	return nil
}

// same compares p with a blob's checksums.
func (a *Array) same(ctx context.Context, f fact, p []byte) (bool, error) {
	if int64(len(p)) != f.size {
		return false, nil
	}
	table, err := a.table(ctx, f)
	if err != nil {
		return false, err
	}
	for i := range f.k {
		at := int64(i) * f.stripe()
		sums := a.coders.sums(nil, p[at:][:f.shardLen(i)], blockSize)
		if !bytes.Equal(sums, table[f.tableAt(i):][:len(sums)]) {
			return false, nil
		}
	}
	return true, nil
}

// Delete implements storage.Store. The blob is gone at once; its files go after the next Sync has recorded that.
func (a *Array) Delete(ctx context.Context, name string) error {
	if err := cmp.Or(checkName("delete", name), ctx.Err()); err != nil {
		return err
	}
	a.change.RLock()
	defer a.change.RUnlock()
	if err := a.names.acquire(ctx, name); err != nil {
		return fmt.Errorf("array: delete %s: %w", name, err)
	}
	defer a.names.release(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.led.idx.get(name) == 0 || a.led.incomplete {
		return fmt.Errorf("array: delete %s: %w", name, a.unknown())
	}
	r := &pendingRecord{kind: tombstoneRecord, name: name}
	for _, h := range a.retire(name, r) {
		a.removals[h] = name
	}
	a.led.idx.set(name)
	a.pending = append(a.pending, r)
	return nil
}

// part is one file to write.
type part struct {
	no   driveNo
	m    *member
	path string
	data []byte
}

// share is a large blob's part of encode.
func (a *Array) share() int64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if len(a.led.idx.sealed) > manyBlobs {
		return encoders
	}
	return 1
}

// spread writes a blob's files to drives and returns where they are and their checksums. Drives that fail are left
// out; avoid holds those not to use.
func (a *Array) spread(ctx context.Context, name string, p []byte, avoid map[driveNo]error) (placement, []byte, error) {
	if len(p) >= smallBlob {
		n := a.share()
		if err := a.encode.Acquire(ctx, n); err != nil {
			return placement{}, nil, err
		}
		defer a.encode.Release(n)
	}
	if avoid == nil {
		avoid = make(map[driveNo]error)
	}
	scratch := new([]byte)
	if len(p) >= smallBlob { // a small one would leave a small buffer for the next large one
		*scratch = a.scratch.get(0)
		defer func() { a.scratch.put(*scratch) }() // drives keep nothing of it once their Put returned
	}
	written := make(map[holder]bool)
	for {
		place, err := a.plan(ctx, int64(len(p)), avoid)
		if err != nil {
			a.discard(ctx, name, written)
			return placement{}, nil, err
		}
		parts, table, err := a.parts(name, p, place, scratch)
		if err != nil {
			return placement{}, nil, err
		}
		failed := a.write(ctx, parts, written)
		if err := ctx.Err(); err != nil {
			a.discard(ctx, name, written)
			return placement{}, nil, err
		}
		if len(failed) == 0 {
			for _, part := range parts {
				delete(written, holder{part.m, part.path})
			}
			a.discard(ctx, name, written)
			return place, table, nil
		}
		for no, err := range failed {
			avoid[no] = err
		}
	}
}

// plan chooses drives for a blob of some size.
func (a *Array) plan(ctx context.Context, size int64, avoid map[driveNo]error) (placement, error) {
	c, err := a.candidates(ctx, avoid)
	if err != nil {
		return placement{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(c) == 0 {
		return placement{}, a.nobody(avoid)
	}
	if size > 0 {
		c = slices.DeleteFunc(c, func(c candidate) bool { return c.free <= 0 })
	}
	a.turn++
	place, ok := choose(size, a.led.survive, c, a.turn)
	if !ok {
		return placement{}, storage.ErrFull
	}
	return place, nil
}

// candidates lists the drives that a blob may be put on, those with most room first. It asks them all at once, and drops
// those that do not say in time.
func (a *Array) candidates(ctx context.Context, avoid map[driveNo]error) ([]candidate, error) {
	a.mu.RLock()
	var all []candidate
	for _, m := range a.writers() {
		if no, ok := a.led.driveNos[m.ID]; ok && avoid[no] == nil && !a.draining[m.ID] {
			all = append(all, candidate{no: no, m: m, travels: a.led.drives[m.ID].travels})
		}
	}
	a.mu.RUnlock()
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			space, err := a.spaceOf(ctx, all[i].m)
			if err != nil {
				all[i].m = nil
			}
			all[i].free = space.Free
		})
	}
	wg.Wait()
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.m == nil })
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(y.free, x.free) })
	return all, ctx.Err()
}

// nobody says why there is no drive to write to. The caller holds mu.
func (a *Array) nobody(avoid map[driveNo]error) error {
	var errs []error
	for _, err := range avoid {
		errs = append(errs, err)
	}
	for _, m := range a.members {
		if err := m.down.Load(); err != nil {
			errs = append(errs, fmt.Errorf("drive %s: %w", m.label(), *err))
		}
	}
	why := storage.ErrUnavailable
	for _, kind := range []error{storage.ErrReadOnly, storage.ErrFull} { // full counts most: room can be made
		if errors.Is(join(errs...), kind) {
			why = kind
		}
	}
	return fmt.Errorf("no drive to write to: %w (%v)", why, join(errs...))
}
