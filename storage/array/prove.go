package array

import (
	"context"
	"errors"
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
		for _, h := range copies {
			if !h.m.up() {
				continue
			}
			_, err := readWhole(ctx, h, f.id.String())
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, errSegment):
				a.badSegment(f, h, err)
			case err != nil:
				h.m.fail(err)
			}
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
