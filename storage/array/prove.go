package array

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// prove reads the copies of ledger segments that a power cut may have torn, before anything is written after them. A torn copy
// whose like on another drive is good goes unnoticed when the ledger is read; with something written after it, its drive
// alone would have a damaged ledger. Torn copies are written anew by catchUp. Once is enough for a session.
func (a *Array) prove(ctx context.Context) error {
	if a.proved { // only sync, which holds commit, comes here
		return nil
	}
	for f, copies := range a.unproved() {
		var bad [2][]func() // those whose facts are torn, too, come first: the last copy stays in use
		for _, h := range copies {
			if !h.m.up() {
				continue
			}
			data, err := readWhole(ctx, h, f.id.String())
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, errSegment):
				i := 0
				if data != nil {
					i = 1
				}
				bad[i] = append(bad[i], func() { a.badSegment(f, h, err) })
			case err != nil:
				h.m.fail(err)
			}
		}
		for _, mark := range slices.Concat(bad[0], bad[1]) {
			mark()
		}
	}
	a.proved = true
	return nil
}

// unproved lists copies that may be torn. A segment of the chain was durable on a drive before the next one was written there.
// So were all others that are needed before the last of the chain; a drive that lacks some of the chain may have been
// cut off while it caught up.
func (a *Array) unproved() map[*ledgerFile][]holder {
	a.mu.RLock()
	defer a.mu.RUnlock()
	has := func(f *ledgerFile, m *member) bool {
		return f != nil && slices.ContainsFunc(slices.Concat(f.holders, f.bad), func(h holder) bool { return h.m == m })
	}
	behind := make(map[*member]bool)
	for _, f := range a.led.files {
		for _, m := range a.members {
			behind[m] = behind[m] || f.chained && !has(f, m)
		}
	}
	list := make(map[*ledgerFile][]holder)
	for _, f := range a.led.files {
		for _, h := range f.holders {
			next := func(name string) bool { return has(a.led.files[name], h.m) }
			if f.chained && !slices.ContainsFunc(f.next, next) || f.needed && !f.chained && behind[h.m] {
				list[f] = append(list[f], h)
			}
		}
	}
	return list
}

// torn reports whether a segment that nothing was written after is torn: some checksums that its facts need are good in no
// copy, though the facts are. Then it was never acknowledged, and must not be replayed: its facts would take the place of
// older ones that are. It is not if what came before it is gone, as after a checkpoint that was durable.
func (ld *loader) torn(ctx context.Context, f *ledgerFile, s *segment) (bool, error) {
	if there, err := ld.built(ctx, s); err != nil || !there {
		return false, err
	}
	good := make(map[int]bool) // facts by their order
	holders := slices.Clone(f.holders)
	sortPrompt(holders)
	for _, h := range holders {
		data, err := readWhole(ctx, h, f.id.String())
		switch {
		case err == nil:
			return false, nil
		case ctx.Err() != nil:
			return false, fmt.Errorf("array: ledger: %w", err)
		case !errors.Is(err, errSegment):
			return false, nil // nobody knows
		case data != nil:
			s.goodTables(data, good)
		}
	}
	if len(good) == int(s.count) {
		return false, nil
	}
	for _, h := range slices.Clone(f.holders) {
		f.markBad(h)
	}
	ld.read[f.id.String()] = nil
	return true, nil
}

// built reports whether a segment was written after others that are all there. Those just before a checkpoint are there in any
// case: then those before them tell.
func (ld *loader) built(ctx context.Context, s *segment) (bool, error) {
	for _, p := range s.parents {
		if ld.l.files[p.id.String()] == nil {
			return false, nil
		}
		if !s.id.folded || p.id.folded {
			continue
		}
		before, err := ld.segment(ctx, p.id.String())
		if err != nil || before == nil {
			return false, err
		}
		for _, q := range before.parents {
			if ld.l.files[q.id.String()] == nil {
				return false, nil
			}
		}
	}
	return len(s.parents) > 0, nil
}

// goodTables adds the records, by their order, that need no checksums of this segment or have good ones in the segment file b.
func (s *segment) goodTables(b []byte, good map[int]bool) {
	i := 0
	s.each(func(r *record) {
		if r.kind != factRecord || r.source != 0 || s.tableIs(b, r) {
			good[i] = true
		}
		i++
	})
}
