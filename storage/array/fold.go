package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// catchUp gives members the segments that they lack, so that each drive alone has a whole ledger. A parent is durable
// before its child is written, and what holds checksums before the chain: of what the power takes with it, the child may
// stay and the parent go.
func (a *Array) catchUp(ctx context.Context, ms []*member) error {
	if err := a.prove(ctx); err != nil {
		return err
	}
	a.mu.RLock()
	var files []*ledgerFile
	for _, f := range a.led.files {
		if f.needed {
			files = append(files, f)
		}
	}
	a.mu.RUnlock()
	slices.SortFunc(files, func(x, y *ledgerFile) int {
		return cmp.Or(cmp.Compare(boolByte(x.chained), boolByte(y.chained)), strings.Compare(x.id.String(), y.id.String()))
	})
	var unflushed []holder
	for _, f := range files {
		if f.chained && len(unflushed) > 0 {
			a.flush(ctx, membersOf(unflushed)) // who cannot is left out from now on
			unflushed = nil
		}
		a.mu.RLock()
		want := slices.Clone(f.bad)
		for _, m := range ms {
			h := holder{m, ledgerDir + f.id.String()}
			if !slices.Contains(f.holders, h) && !slices.Contains(want, h) {
				want = append(want, h)
			}
		}
		a.mu.RUnlock()
		want = slices.DeleteFunc(want, func(h holder) bool { return !h.m.up() })
		if len(want) == 0 {
			continue
		}
		data, err := a.wholeSegment(ctx, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			a.log.Warn("ledger segment cannot be copied", "segment", f.id.String(), "err", err)
			continue // it is no better elsewhere; the rest must go on
		}
		for _, h := range want {
			if err := a.copySegment(ctx, f, h, data); err != nil {
				return err
			}
		}
		unflushed = append(unflushed, want...)
	}
	a.flush(ctx, membersOf(unflushed))
	return ctx.Err()
}

func membersOf(files []holder) []*member {
	var ms []*member
	for _, h := range files {
		if !slices.Contains(ms, h.m) && h.m.up() {
			ms = append(ms, h.m)
		}
	}
	return ms
}

// copySegment writes a segment file to a drive. It returns an error only if ctx ended.
func (a *Array) copySegment(ctx context.Context, f *ledgerFile, h holder, data []byte) error {
	if err := a.writeFile(ctx, h.m, h.path, data); err != nil {
		if ctx.Err() == nil {
			h.m.fail(err)
		}
		return ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f.bad = slices.DeleteFunc(slices.Clone(f.bad), func(o holder) bool { return o == h })
	f.holders = append(slices.Clone(f.holders), h)
	delete(a.damage, h)
	return nil
}

// wholeSegment reads a segment file: a copy that is good to the last checksum, or else one whose facts are good.
func (a *Array) wholeSegment(ctx context.Context, f *ledgerFile) ([]byte, error) {
	a.mu.RLock()
	holders := slices.Clone(f.holders)
	a.mu.RUnlock()
	sortPrompt(holders)
	errs := []error{fmt.Errorf("ledger segment %s: no good copy: %w", f.id, storage.ErrUnavailable)}
	var second []byte
	for _, h := range holders {
		data, err := readWhole(ctx, h, f.id.String())
		if err == nil {
			return data, nil
		}
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			h.m.stalled()
		}
		if errors.Is(err, errSegment) {
			a.badSegment(f, h, err)
			if data != nil {
				second = data
			}
		}
		errs = append(errs, err)
	}
	if second != nil {
		return second, nil
	}
	return nil, join(errs...)
}

// badSegment remembers that a copy of a segment is damaged.
func (a *Array) badSegment(f *ledgerFile, h holder, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(f.holders) > 1 { // the last copy serves, as far as it is good
		f.markBad(h)
	}
	a.damage[h] = err.Error()
}

// readWhole reads a segment file. With an error it returns the data if at least its facts are good.
func readWhole(ctx context.Context, h holder, name string) ([]byte, error) {
	data, err := within(ctx, h.m.guard, openTimeout, func(ctx context.Context) ([]byte, error) {
		return storage.ReadAll(ctx, h.m.Store, h.path, storage.MaxBlob)
	})
	if err != nil {
		return nil, err
	}
	s, err := parseSegment(data, int64(len(data)))
	if err != nil {
		return nil, err
	}
	if s.id.String() != name {
		return nil, fmt.Errorf("%w: is %s", errSegment, s.id)
	}
	return data, s.checkTables(data)
}

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
