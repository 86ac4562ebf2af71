package array

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// Timeouts of writing to a drive: a sleeping disk spins up, a slow stick writes 1 MB/s.
const (
	writeBase   = 30 * time.Second
	writePerMiB = time.Second
	cleanupTime = 10 * time.Second
)

func writeTimeout(size int64) time.Duration {
	return writeBase + time.Duration(size>>20)*writePerMiB
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
