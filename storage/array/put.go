package array

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// pendingRecord is a ledger record that no Sync has committed.
type pendingRecord struct {
	kind recordKind
	name string
	size int64

	facts   []pendingFact // that count together
	dropped bool          // deleted or replaced again before it was committed
	old     []entry       // committed facts that it takes the place of

	id      string // of a drive
	drive   driveState
	survive int
}

// placed is one way in which a blob is on drives: where, and its checksums.
type placed struct {
	place placement
	table []byte
}

// pendingFact is a way in which a blob is on drives, and its entry in the index.
type pendingFact struct {
	placed
	entry uint32
}

// tableOf returns the checksums of one of the record's facts.
func (r *pendingRecord) tableOf(entry uint32) []byte {
	for _, f := range r.facts {
		if f.entry == entry {
			return f.table
		}
	}
	return nil
}

// Timeouts of writing to a drive: a sleeping disk spins up, a slow stick writes 1 MB/s.
const (
	writeBase   = 30 * time.Second
	writePerMiB = time.Second
	cleanupTime = 10 * time.Second
)

func writeTimeout(size int64) time.Duration {
	return writeBase + time.Duration(size>>20)*writePerMiB
}

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

// insert makes a blob known that is on its drives in one or more ways, in place of what was known before. Files of the
// earlier facts that the new ones do not use are deleted after the next Sync.
func (a *Array) insert(name string, size int64, ways ...placed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &pendingRecord{kind: factRecord, name: name, size: size}
	stale := a.retire(name, r)
	a.hold(r, ways)
	a.pending = append(a.pending, r)
	used := make(map[holder]bool)
	for _, p := range r.facts {
		f := a.fact(name, p.entry)
		for _, b := range f.all() {
			used[b.h] = true
			delete(a.removals, b.h)
		}
	}
	for _, h := range stale {
		if !used[h] {
			a.removals[h] = name
			delete(a.damage, h)
		}
	}
}

// hold enters a pending record's facts in the index. The caller holds mu.
func (a *Array) hold(r *pendingRecord, ways []placed) {
	es := make([]entry, len(ways))
	for i, w := range ways {
		es[i] = entry{size: uint32(r.size), place: a.led.place(w.place), src: pendingSource, sum: a.coders.sum(w.table)}
	}
	r.facts = nil
	i := a.led.idx.set(r.name, es...)
	for _, w := range ways {
		r.facts = append(r.facts, pendingFact{w, i})
		a.held[i] = r
		i = a.led.idx.entries[i].next
	}
}

// retire forgets what is known of a blob and returns its files. Committed facts are remembered in r. The caller holds
// mu.
func (a *Array) retire(name string, r *pendingRecord) []holder {
	var files []holder
	for i := a.led.idx.get(name); i != 0; i = a.led.idx.entries[i].next {
		f := a.fact(name, i)
		for _, b := range f.all() {
			if b.h.m != nil {
				files = append(files, b.h)
			}
		}
		if p := a.held[i]; p != nil {
			if !p.dropped {
				p.dropped = true
				r.old = append(r.old, p.old...)
			}
			delete(a.held, i)
		} else {
			e := a.led.idx.entries[i]
			e.next = 0
			r.old = append(r.old, e)
		}
	}
	return files
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

// spread writes a blob's files to drives and returns where they are and their checksums. Drives that fail are left
// out; avoid holds those not to use.
func (a *Array) spread(ctx context.Context, name string, p []byte, avoid map[driveNo]error) (placement, []byte, error) {
	if len(p) >= smallBlob {
		select {
		case a.encode <- struct{}{}:
			defer func() { <-a.encode }()
		case <-ctx.Done():
			return placement{}, nil, ctx.Err()
		}
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

// parts cuts a blob into files. Parity shards lie in scratch.
func (a *Array) parts(name string, p []byte, place placement, scratch *[]byte) ([]part, []byte, error) {
	s := shape{int64(len(p)), place.k, place.m, place.side}
	parts := a.partsOf(name, s, place)
	room := newRoom(s, scratch)
	var table []byte
	shards := [][]byte{p}
	if s.k > 1 {
		shards = shards[:0]
		parity := make([][]byte, s.m)
		for i := range s.shards() {
			if i < s.k {
				shards = append(shards, p[min(int64(i)*s.stripe(), s.size):][:s.shardLen(i)])
				continue
			}
			parity[i-s.k] = room.take(s.stripe())
			shards = append(shards, parity[i-s.k])
		}
		var err error
		if table, err = a.coders.encode(p, s, parity); err != nil {
			return nil, nil, err
		}
	} else {
		table = append(a.coders.sums(nil, p, blockSize), make([]byte, s.tableLen()-s.tableAt(1))...)
	}
	sides := make([][]byte, len(shards))
	for i, data := range shards {
		sec := s.sectors(i)
		sides[i] = room.take(sec.parityLen())
		if err := a.coders.encodeSide(data, sec, sides[i]); err != nil {
			return nil, nil, err
		}
		a.coders.sums(table[:s.sideAt(i)], sides[i], sec.block) // they have their place in the table
	}
	for i := range parts {
		shard := s.shardOf(i % len(place.holders))
		parts[i].data = shards[shard]
		if i >= len(place.holders) {
			parts[i].data = sides[shard]
		}
	}
	return parts, table, nil
}

// room hands out pieces of one buffer.
type room struct{ free []byte }

// newRoom makes sure that scratch has room for all that a blob has beside its own bytes.
func newRoom(s shape, scratch *[]byte) room {
	need := int64(0)
	for i := range s.shards() {
		if i >= s.k && s.k > 1 {
			need += s.stripe()
		}
		need += s.sectors(i).parityLen()
	}
	if int64(cap(*scratch)) < need {
		*scratch = make([]byte, need, need+need/8) // packs differ a little in size: let the next one fit, too
	}
	return room{(*scratch)[:cap(*scratch)]}
}

func (r *room) take(n int64) []byte {
	p := r.free[:n:n]
	r.free = r.free[n:]
	return p
}

// partsOf names the files of a blob, shards or copies first, then their side parity.
func (a *Array) partsOf(name string, s shape, place placement) []part {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var parts []part
	for i, no := range place.holders {
		parts = append(parts, part{no: no, m: a.member(no), path: s.path(name, i)})
	}
	if s.side == noSide {
		return parts
	}
	for i, no := range place.holders {
		parts = append(parts, part{no: no, m: a.member(no), path: s.sidePath(name, i)})
	}
	return parts
}

// write puts parts on their drives, all at once, and returns the drives that failed. It adds to written what may be
// there now.
func (a *Array) write(ctx context.Context, parts []part, written map[holder]bool) map[driveNo]error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		written[holder{p.m, p.path}] = true
		wg.Go(func() { errs[i] = a.writeFile(ctx, p.m, p.path, p.data) })
	}
	wg.Wait()
	failed := make(map[driveNo]error)
	for i, p := range parts {
		if errs[i] == nil {
			continue
		}
		failed[p.no] = fmt.Errorf("drive %s: %w", p.m.label(), errs[i])
		if ctx.Err() == nil && !errors.Is(errs[i], storage.ErrFull) {
			p.m.fail(errs[i])
		}
	}
	return failed
}

// writeFile puts a file on a drive. Whatever else has that name is a left-over of a crash, or damaged: it goes.
func (a *Array) writeFile(ctx context.Context, m *member, path string, data []byte) error {
	if m == nil {
		return storage.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout(int64(len(data))))
	defer cancel()
	err := m.Store.Put(ctx, path, data)
	if errors.Is(err, storage.ErrExist) {
		if err := m.Store.Delete(ctx, path); err != nil {
			return err
		}
		err = m.Store.Put(ctx, path, data)
	}
	if err == nil {
		a.mu.Lock()
		delete(a.damage, holder{m, path})
		a.mu.Unlock()
	}
	return err
}

// discard deletes files of a Put that went elsewhere or failed, but for those that the blob's older facts name. What it
// cannot delete, Repair finds.
func (a *Array) discard(ctx context.Context, name string, files map[holder]bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	claimed := a.claimed(name)
	for h := range files {
		if h.m == nil || claimed[h] {
			continue
		}
		if err := h.m.delete(ctx, h.path); err != nil && !errors.Is(err, storage.ErrNotExist) {
			a.log.Debug("left-over file stays until the next repair", "drive", h.m.label(), "err", err)
		}
	}
}

// claimed returns the files that belong to a blob.
func (a *Array) claimed(name string) map[holder]bool {
	c := make(map[holder]bool)
	for _, f := range a.facts(name) {
		for _, b := range f.all() {
			c[b.h] = true
		}
	}
	return c
}
