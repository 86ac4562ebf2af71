package array

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// loader reads ledgers.
type loader struct {
	a    *Array
	l    *ledger
	read map[string]*segment // nil where no copy is good
}

// loadLedger reads the ledgers of all members and replays them. It lists no data.
func (a *Array) loadLedger(ctx context.Context, members []*member) (*ledger, error) {
	l := &ledger{
		tables: newTables(),
		files:  make(map[string]*ledgerFile),
		covers: make(map[[16]byte]uint64),
	}
	if err := l.list(ctx, members); err != nil {
		return nil, err
	}
	ld := &loader{a: a, l: l, read: make(map[string]*segment)}
	fresh, err := ld.uncovered(ctx)
	if err != nil {
		return nil, err
	}
	heads := headsOf(fresh)
	if len(heads) == 0 {
		return nil, fmt.Errorf("array: %w on the drives given", ErrNoLedger)
	}
	for i, head := range heads {
		v, pieces, err := ld.replay(ctx, head)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			l.view, l.pieces = v, pieces
		} else {
			l.view.union(l.tables, v)
		}
		l.heads = append(l.heads, parent{head.id, head.hash})
	}
	l.array = heads[0].array
	ld.finish()
	return l, nil
}

// list collects the members' segments by name.
func (l *ledger) list(ctx context.Context, members []*member) error {
	found := make([][]found, len(members))
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { found[i], errs[i] = listLedger(ctx, m) })
	}
	wg.Wait()
	for i, m := range members {
		if errs[i] != nil {
			m.fail(fmt.Errorf("ledger: %w", errs[i]))
			if ctx.Err() != nil {
				return fmt.Errorf("array: open: %w", errs[i])
			}
		}
		for _, f := range found[i] {
			file := l.files[f.id.String()]
			if file == nil {
				file = &ledgerFile{id: f.id, size: f.size}
				l.files[f.id.String()] = file
			}
			file.holders = append(file.holders, holder{m, f.path})
			l.highest = max(l.highest, f.id.counter)
		}
	}
	return nil
}

// found is a segment in a listing.
type found struct {
	id   segmentID
	path string
	size int64
}

func listLedger(ctx context.Context, m *member) ([]found, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var fs []found
	for _, dir := range []string{ledgerDir, copyDir} {
		for info, err := range m.Store.List(ctx, dir) {
			if err != nil {
				return fs, err
			}
			if id, ok := parseSegmentID(strings.TrimPrefix(info.Name, dir)); ok && id.counter < 1<<48 {
				fs = append(fs, found{id, info.Name, info.Size})
			}
			if len(fs) > maxSegments {
				return fs, fmt.Errorf("array: more than %d ledger segments: %w", maxSegments, storage.ErrCorrupt)
			}
		}
	}
	return fs, nil
}

// uncovered reads, newest first, every segment that no newer checkpoint contains.
func (ld *loader) uncovered(ctx context.Context) ([]*segment, error) {
	files := make([]*ledgerFile, 0, len(ld.l.files))
	for _, f := range ld.l.files {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *ledgerFile) int { return strings.Compare(b.id.String(), a.id.String()) })
	var fresh []*segment
	built := make(map[segmentID]bool) // something was written after it
	for _, f := range files {
		if f.id.counter <= ld.l.covers[f.id.session] {
			continue
		}
		s, err := ld.segment(ctx, f.id.String())
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue // torn, or damaged: replay will tell
		}
		if len(fresh) > 0 && fresh[0].array != s.array {
			return nil, fmt.Errorf("array: drive %s: %w", f.holders[0].m.label(), ErrForeign)
		}
		if !built[s.id] {
			switch torn, err := ld.torn(ctx, f, s); {
			case err != nil:
				return nil, err
			case torn:
				continue
			}
		}
		for _, p := range s.parents {
			built[p.id] = true
		}
		fresh = append(fresh, s)
		for _, c := range s.covers {
			ld.l.covers[c.session] = max(ld.l.covers[c.session], c.upTo)
		}
	}
	return fresh, nil
}

// headsOf returns the segments that none of the others was written after.
func headsOf(fresh []*segment) []*segment {
	after := make(map[segmentID]bool)
	for _, s := range fresh {
		for _, p := range s.parents {
			after[p.id] = true
		}
	}
	var heads []*segment
	for _, s := range fresh {
		if !after[s.id] {
			heads = append(heads, s)
		}
	}
	return heads
}

// segment reads one segment from whichever copy is good. It returns nil if none is.
func (ld *loader) segment(ctx context.Context, name string) (*segment, error) {
	if s, ok := ld.read[name]; ok {
		return s, nil
	}
	ld.read[name] = nil
	f := ld.l.files[name]
	if f == nil {
		return nil, nil
	}
	s, err := ld.copyOf(ctx, f, name)
	if err != nil {
		return nil, fmt.Errorf("array: ledger: %w", err)
	}
	ld.read[name] = s
	return s, nil
}

// copyOf reads the first good copy of a segment, nil if none is. A drive that stalls is waited for only if no other has one.
func (ld *loader) copyOf(ctx context.Context, f *ledgerFile, name string) (*segment, error) {
	holders := slices.Clone(f.holders)
	sortPrompt(holders)
	patience := stallAfter + time.Duration(f.size>>20)*100*time.Millisecond
	if len(holders) == 1 {
		patience = openTimeout
	}
	var slow []holder
	try := func(h holder, limit time.Duration) (*segment, error) {
		s, err := within(ctx, h.m.guard, limit, func(ctx context.Context) (*segment, error) { return readSegment(ctx, h, name) })
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil:
			return nil, err
		case errors.Is(err, errNewer):
			return nil, fmt.Errorf("drive %s: %w", h.m.label(), err)
		case errors.Is(err, errSegment):
			f.markBad(h)
		case errors.Is(err, context.DeadlineExceeded) && limit < openTimeout:
			h.m.stalled()
			slow = append(slow, h)
		default:
			h.m.fail(err)
		}
		return nil, nil
	}
	for _, h := range holders {
		if s, err := try(h, patience); s != nil || err != nil {
			return s, err
		}
	}
	for _, h := range slow {
		if s, err := try(h, openTimeout); s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

// readSegment reads header and facts of a segment file.
func readSegment(ctx context.Context, h holder, name string) (*segment, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	info, err := h.m.Store.Stat(ctx, h.path)
	if err != nil {
		return nil, fmt.Errorf("array: ledger: %w", err)
	}
	head := make([]byte, headerLen)
	if info.Size < headerLen {
		return nil, fmt.Errorf("%w: %d bytes", errSegment, info.Size)
	}
	if _, err := h.m.Store.Get(ctx, h.path, 0, head); err != nil {
		return nil, fmt.Errorf("array: ledger: %w", err)
	}
	_, factsLen, _, err := parseHeader(head, info.Size)
	if err != nil {
		return nil, fmt.Errorf("array: ledger %s: %w", name, err)
	}
	b := make([]byte, headerLen+factsLen) // at most the file's size, which is at most storage.MaxBlob
	if _, err := h.m.Store.Get(ctx, h.path, 0, b); err != nil {
		return nil, fmt.Errorf("array: ledger: %w", err)
	}
	s, err := parseSegment(b, info.Size)
	if err != nil {
		return nil, fmt.Errorf("array: ledger %s: %w", name, err)
	}
	if s.id.String() != name {
		return nil, fmt.Errorf("array: ledger %s: %w: is %s", name, errSegment, s.id)
	}
	return s, nil
}

// replay computes what a head says: from it back to a checkpoint or the beginning, and forward again. Where a segment
// is missing, the ledger is incomplete. It returns the pieces of the next checkpoint, too, if that takes up the rest.
func (ld *loader) replay(ctx context.Context, head *segment) (*view, []parent, error) {
	var chain []*segment
	var since debt
	for s := head; ; {
		chain = append(chain, s)
		ld.need(s.id.String())
		ld.l.files[s.id.String()].chained = true
		if s.id.folded {
			break
		}
		since.add(s)
		if len(s.parents) == 0 {
			break
		}
		next, err := ld.before(ctx, s, s.parents[0])
		if err != nil {
			return nil, nil, err
		}
		if next == nil {
			break
		}
		f := ld.l.files[next.id.String()]
		f.next = append(f.next, s.id.String())
		s = next
	}
	ld.l.since.segments = max(ld.l.since.segments, since.segments)
	ld.l.since.bytes = max(ld.l.since.bytes, since.bytes)
	v := newView()
	first := chain[len(chain)-1]
	pieces := slices.Clone(first.pieces)
	for _, p := range pieces {
		s, err := ld.before(ctx, first, p)
		if err != nil {
			return nil, nil, err
		}
		if s != nil {
			ld.need(p.id.String())
			v.apply(ld.l.tables, s)
		}
	}
	for _, s := range slices.Backward(chain) {
		v.apply(ld.l.tables, s)
	}
	if first.id.folded {
		pieces = append(pieces, parent{first.id, first.hash})
	}
	return v, pieces, nil
}

// before reads a segment that another was written after. If there is none such, the ledger is incomplete.
func (ld *loader) before(ctx context.Context, s *segment, p parent) (*segment, error) {
	found, err := ld.segment(ctx, p.id.String())
	if err != nil {
		return nil, err
	}
	// Counts fall from child to parent, so following them ends.
	if found == nil || found.hash != p.hash || found.id.counter >= s.id.counter {
		ld.l.incomplete = true
		return nil, nil
	}
	return found, nil
}

func (ld *loader) need(name string) {
	if f := ld.l.files[name]; f != nil {
		f.needed = true
	}
}

// finish marks the segments that hold checksums of live facts as needed, and what this ledger contains as covered.
func (ld *loader) finish() {
	for no, n := range ld.l.tableBytes() {
		if n > 0 {
			ld.need(ld.l.sources[no])
		}
	}
	for _, s := range ld.read {
		if s != nil {
			ld.l.cover(s.id)
		}
	}
}
