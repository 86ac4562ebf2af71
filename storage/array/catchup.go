package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"phonebackupbox/storage"
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
