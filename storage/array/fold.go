package array

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"phonebackupbox/storage"
)

const (
	// flushTimeout bounds one Sync of a drive: 128 MiB at the 2 MB/s of a bad stick, doubled.
	flushTimeout = 128 * time.Second
	// smallSegment is the size below which what a segment holds moves into the next checkpoint, in bytes.
	smallSegment = 64 << 10
	// foldBytes is how much a checkpoint may write, about: a night with one new file is to write no more than 256 KB to a drive,
	// whatever the ledger has grown to.
	foldBytes = 96 << 10
	// manyPieces are more than should have to be read when the ledger is. They are written as one again once largeSession
	// bytes of blobs came, beside which that is little; mostPieces are written as one in any case.
	manyPieces   = 64
	mostPieces   = 1024
	largeSession = 1 << 30
)

// checkpoint takes up all that the segments since the last one say, and of older ones what has become small or is mostly out
// of date, as much as fits. The rest stays in pieces: segments that are read before it. Then it deletes what nobody needs any
// more. What is uncommitted or pending is as if it had not happened.
func (a *Array) checkpoint(ctx context.Context, ms []*member, uncommitted []*pendingRecord) ([]*member, error) {
	a.mu.RLock()
	s := a.newSegment(true)
	s.covers = a.led.coverList()
	p := a.planFold(slices.Concat(uncommitted, a.pending))
	s.pieces = p.pieces
	a.mu.RUnlock()
	written := a.foldFacts(ctx, s, p)
	ms, err := a.append(ctx, s, ms)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	pending := slices.Concat(uncommitted, a.pending)
	a.rewritten(s, p, written, pending)
	a.led.since = debt{}
	if len(p.pieces) == 0 {
		a.stored = 0
	}
	drop := a.unneeded(s, pending)
	a.mu.Unlock()
	for _, h := range drop {
		if err := h.m.delete(ctx, h.path); err != nil && !errors.Is(err, storage.ErrNotExist) {
			a.log.Debug("old ledger segment stays", "drive", h.m.label(), "err", err)
		}
	}
	return ms, nil
}

// foldFacts fills a checkpoint with the registry and with what it takes up. It returns the facts as they stand there, by their
// order in the plan. Checksums that cannot be read, as they rotted, stay where they are: that must not keep a box from its backups.
func (a *Array) foldFacts(ctx context.Context, s *segment, p *foldPlan) []entry {
	a.mu.RLock()
	s.add(record{kind: surviveRecord, survive: a.led.survive})
	for _, id := range slices.Sorted(maps.Keys(a.led.drives)) {
		s.add(record{kind: driveRecord, id: id, drive: a.led.drives[id]})
	}
	a.mu.RUnlock()
	written := make([]entry, len(p.facts))
	drives := make(map[driveNo]driveNo)
	sources := make(map[uint32]int)
	for i, cf := range p.facts {
		e := cf.entry
		a.mu.RLock()
		f := fact{name: cf.name.String(), shape: a.led.shapeOf(e), source: a.led.sources[e.src], off: e.off, sum: e.sum}
		rec := record{
			kind: factRecord, name: cf.name, size: int64(e.size), off: e.off, sum: e.sum,
			place: s.place(a.led.tables, a.led.places[e.place], drives),
		}
		a.mu.RUnlock()
		table, moves := []byte(nil), p.moves(e.src)
		if moves {
			var err error
			if table, err = a.table(ctx, f); err != nil {
				a.log.Warn("checksums stay in an old ledger segment", "err", err)
				moves = false
			}
		}
		if moves {
			e.src, e.off = pendingSource, uint32(len(s.tables))
			rec.off = e.off
			s.tables = append(s.tables, table...)
		} else {
			if sources[e.src] == 0 {
				s.sources = append(s.sources, f.source)
				sources[e.src] = len(s.sources)
			}
			rec.source = sources[e.src]
		}
		written[i] = e
		s.add(rec)
	}
	for _, name := range p.graves {
		s.add(record{kind: tombstoneRecord, name: name})
	}
	return written
}

// rewritten points facts at their new places in a checkpoint. The caller holds mu.
func (a *Array) rewritten(s *segment, p *foldPlan, written []entry, pending []*pendingRecord) {
	own := a.led.source(s.id.String())
	type place struct {
		name     nameKey
		src, off uint32
	}
	moved := make(map[place]entry)
	for i, cf := range p.facts {
		e := written[i]
		if e.src == pendingSource {
			e.src = own
		}
		moved[place{cf.name, cf.entry.src, cf.entry.off}] = e
	}
	move := func(name nameKey, e *entry) {
		if to, ok := moved[place{name, e.src, e.off}]; ok && e.src != pendingSource {
			e.src, e.off, e.rec = to.src, to.off, own
		}
	}
	for i, cf := range p.facts {
		if i > 0 && cf.name == p.facts[i-1].name {
			continue
		}
		for at := a.led.idx.getKey(cf.name); at != 0; at = a.led.idx.entries[at].next {
			move(cf.name, &a.led.idx.entries[at])
		}
	}
	for _, r := range pending {
		for i := range r.old {
			move(keyOf(r.name), &r.old[i])
		}
	}
	for _, name := range p.graves {
		a.led.graves[name] = own
	}
	if len(p.pieces) == 0 {
		clear(a.led.graves)
	}
	a.led.pieces = append(slices.Clone(p.pieces), parent{s.id, s.hash})
}

// unneeded forgets the segments that a new checkpoint makes superfluous, and returns their files. Those that it was written after
// stay until the next one, but on their own they are of no use: without the checkpoint, should it rot everywhere, they tell that
// something is missing, where the pieces alone would pass for a whole ledger that is out of date. The caller holds mu.
func (a *Array) unneeded(s *segment, pending []*pendingRecord) []holder {
	live := make(map[string]bool)
	for no, n := range a.led.tableBytes() {
		live[a.led.sources[no]] = n > 0
	}
	for _, r := range pending {
		for _, e := range r.old {
			live[a.led.sources[e.src]] = true
		}
	}
	for _, p := range a.led.pieces {
		live[p.id.String()] = true
	}
	last := make(map[string]bool)
	for _, p := range s.parents {
		last[p.id.String()] = true
	}
	var drop []holder
	for name, f := range a.led.files {
		if f.id != s.id {
			f.needed, f.chained = live[name], false
		}
		if live[name] || last[name] || f.id.counter > a.led.covers[f.id.session] {
			continue
		}
		for _, h := range append(slices.Clone(f.holders), f.bad...) {
			if h.m.up() {
				drop = append(drop, h)
			}
		}
		delete(a.led.files, name)
	}
	return drop
}
