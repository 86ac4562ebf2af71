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
	// smallSegment is the size below which a segment's checksums move into the next checkpoint, in bytes.
	smallSegment = 64 << 10
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

// checkpoint writes all that the ledger says into one segment, and then deletes the segments that nobody needs any
// more. Deletes and puts that are not committed yet are as if they had not happened, or, a delete, as if they had.
func (a *Array) checkpoint(ctx context.Context, ms []*member) ([]*member, error) {
	a.mu.RLock()
	s := a.newSegment(true)
	s.covers = a.led.coverList()
	moves := a.moving()
	a.mu.RUnlock()
	moved, err := a.foldFacts(ctx, s, moves)
	if err != nil {
		return nil, err
	}
	ms, err = a.append(ctx, s, ms)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.moveTables(s, moved)
	a.led.sinceFold = 0
	drop := a.unneeded(s.id.String())
	a.mu.Unlock()
	for _, h := range drop {
		if err := h.m.delete(ctx, h.path); err != nil && !errors.Is(err, storage.ErrNotExist) {
			a.log.Debug("old ledger segment stays", "drive", h.m.label(), "err", err)
		}
	}
	return ms, nil
}

// moving tells which sources' checksums move into a checkpoint: those of small segments, and of segments most of
// whose checksums nobody uses. The caller holds mu.
func (a *Array) moving() []bool {
	moves := make([]bool, len(a.led.sources))
	for no, live := range a.led.tableBytes() {
		f := a.led.files[a.led.sources[no]]
		moves[no] = no != pendingSource && f != nil && (f.size < smallSegment || live < f.size/2)
	}
	return moves
}

// sourceAt is where a fact's checksums are.
type sourceAt struct{ src, off uint32 }

// foldFacts fills a checkpoint with the registry and the committed facts. It returns where checksums moved to.
func (a *Array) foldFacts(ctx context.Context, s *segment, moves []bool) (map[sourceAt]uint32, error) {
	a.mu.RLock()
	s.add(record{kind: surviveRecord, survive: a.led.survive})
	for _, id := range slices.Sorted(maps.Keys(a.led.drives)) {
		s.add(record{kind: driveRecord, id: id, drive: a.led.drives[id]})
	}
	facts := a.committedFacts()
	a.mu.RUnlock()
	moved := make(map[sourceAt]uint32)
	drives := make(map[driveNo]driveNo)
	sources := make(map[uint32]int)
	for _, cf := range facts {
		e := cf.entry
		a.mu.RLock()
		p := a.led.places[e.place]
		f := fact{shape: a.led.shapeOf(e), source: a.led.sources[e.src], off: e.off, sum: e.sum}
		rec := record{kind: factRecord, name: cf.name, size: int64(e.size), place: s.place(a.led.tables, p, drives), off: e.off, sum: e.sum}
		a.mu.RUnlock()
		if int(e.src) < len(moves) && moves[e.src] {
			f.name = cf.name.String()
			table, err := a.table(ctx, f)
			if err != nil {
				return nil, err
			}
			rec.off = uint32(len(s.tables))
			s.tables = append(s.tables, table...)
			moved[sourceAt{e.src, e.off}] = rec.off
		} else {
			if sources[e.src] == 0 {
				s.sources = append(s.sources, f.source)
				sources[e.src] = len(s.sources)
			}
			rec.source = sources[e.src]
		}
		s.add(rec)
	}
	return moved, nil
}

type committedFact struct {
	name  nameKey
	entry entry
}

// committedFacts lists what the ledger says now, in the order of keys, without what is pending. The caller holds mu.
func (a *Array) committedFacts() []committedFact {
	old := make(map[nameKey][]entry)
	for _, r := range a.pending {
		if r.kind == factRecord && !r.dropped {
			old[keyOf(r.name)] = r.old
		}
	}
	x := a.led.idx
	facts := make([]committedFact, 0, len(x.sealed)+len(x.other))
	add := func(name nameKey, es ...entry) {
		for _, e := range es {
			if e.src != pendingSource {
				facts = append(facts, committedFact{name, e})
			}
		}
	}
	for name, i := range x.all() {
		if es, replaced := old[name]; replaced {
			add(name, es...)
			continue
		}
		for ; i != 0; i = x.entries[i].next {
			add(name, x.entries[i])
		}
	}
	slices.SortStableFunc(facts, func(a, b committedFact) int { return a.name.compare(b.name) })
	return facts
}

// moveTables points facts at their checksums' new place. The caller holds mu.
func (a *Array) moveTables(s *segment, moved map[sourceAt]uint32) {
	src := a.led.source(s.id.String())
	move := func(e *entry) {
		if off, ok := moved[sourceAt{e.src, e.off}]; ok && e.src != pendingSource {
			e.src, e.off = src, off
		}
	}
	for i := range a.led.idx.entries {
		move(&a.led.idx.entries[i])
	}
	for _, r := range a.pending {
		for i := range r.old {
			move(&r.old[i])
		}
	}
}

// unneeded forgets the segments that a new checkpoint makes superfluous, and returns their files. The caller holds mu.
func (a *Array) unneeded(checkpoint string) []holder {
	live := make(map[string]bool)
	for no, n := range a.led.tableBytes() {
		live[a.led.sources[no]] = n > 0
	}
	for _, r := range a.pending {
		for _, e := range r.old {
			live[a.led.sources[e.src]] = true
		}
	}
	var drop []holder
	for name, f := range a.led.files {
		if name == checkpoint || live[name] || f.id.counter > a.led.covers[f.id.session] {
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
