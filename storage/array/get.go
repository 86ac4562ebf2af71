package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"phonebackupbox/storage"
)

const (
	// stallAfter is how long a read waits for a drive before it asks the others as well.
	stallAfter = time.Second
	// pieceBlocks is how many blocks are read and verified at once: 1 MiB.
	pieceBlocks = 16
	// maxDamage bounds how much damage is remembered until a repair.
	maxDamage = 10_000
)

// Get implements storage.Store. It verifies every block that it touches, and computes from the other shards what is
// damaged, missing, or slow to come. ErrUnavailable: too many drives are away; ErrCorrupt: too much is damaged.
func (a *Array) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if err := cmp.Or(checkName("get", name), ctx.Err()); err != nil {
		return 0, err
	}
	n, err := a.get(ctx, name, off, p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("array: get %s at %d: %w", name, off, err)
	}
	return n, err
}

func (a *Array) get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	facts := a.facts(name)
	if len(facts) == 0 {
		a.mu.RLock()
		defer a.mu.RUnlock()
		return 0, a.unknown()
	}
	switch size := facts[0].size; {
	case off < 0:
		return 0, errName
	case len(p) == 0:
		return 0, nil
	case off >= size:
		return 0, io.EOF
	default:
		want := p[:min(int64(len(p)), size-off)]
		if err := a.readAny(ctx, name, facts, off, want); err != nil {
			return 0, err
		}
		if len(want) < len(p) {
			return len(want), io.EOF
		}
		return len(want), nil
	}
}

// readAny reads by one fact after the other until one works. While it read, the blob may have moved or its checksums
// may have been folded, so what it finds then counts too.
func (a *Array) readAny(ctx context.Context, name string, facts []fact, off int64, p []byte) error {
	var errs []error
	for range 2 {
		for _, f := range facts {
			err := a.readFact(ctx, f, off, p)
			if err == nil {
				return nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				return err
			}
		}
		again := a.facts(name)
		if slices.EqualFunc(facts, again, func(x, y fact) bool {
			return x.source == y.source && x.off == y.off && x.place.key() == y.place.key()
		}) {
			break
		}
		facts = again
	}
	err := worst(errs)
	if errors.Is(err, storage.ErrCorrupt) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.broken) < maxDamage {
			a.broken[name] = true
		}
	}
	return err
}

// worst makes one error of why all ways to a blob failed. If any could work with a drive that is away, the blob is
// unavailable and not corrupt.
func worst(errs []error) error {
	err := join(errs...)
	why := storage.ErrCorrupt
	if errors.Is(err, storage.ErrUnavailable) {
		why = storage.ErrUnavailable
	}
	return fmt.Errorf("%w (%v)", why, err)
}

// readFact reads a range of a blob as one fact says.
func (a *Array) readFact(ctx context.Context, f fact, off int64, p []byte) error {
	table, err := a.table(ctx, f)
	if err != nil {
		return err
	}
	stripe := f.stripe()
	for len(p) > 0 {
		shard := int(off / stripe)
		within := off - int64(shard)*stripe
		first := int(within / blockSize)
		end := min(within+int64(len(p)), f.shardLen(shard))
		n := min(blocks(end)-first, pieceBlocks)
		data, err := a.piece(ctx, f, table, shard, first, n)
		if err != nil {
			return err
		}
		c := copy(p, data[within-int64(first)*blockSize:])
		if n > 1 { // a single one is in the cache
			a.pieces.put(data)
		}
		p, off = p[c:], off+int64(c)
	}
	return nil
}

// piece returns n verified blocks of a shard. Single blocks are remembered: whoever reads a little comes back for
// more.
func (a *Array) piece(ctx context.Context, f fact, table []byte, shard, first, n int) ([]byte, error) {
	if n > 1 {
		return a.gather(ctx, f, table, shard, first, n)
	}
	key := blockKey{f.name, f.k, f.m, shard, first}
	if f.k == 1 {
		key.m = 0
	}
	if data := a.cache.get(key); data != nil {
		return data, nil
	}
	data, err := a.gather(ctx, f, table, shard, first, 1)
	if err == nil {
		a.cache.put(key, data)
	}
	return data, err
}

// table returns a blob's checksums, from memory or from the ledger on whichever drive has them.
func (a *Array) table(ctx context.Context, f fact) ([]byte, error) {
	n := f.tableLen()
	if f.table != nil || n == 0 {
		return f.table, nil
	}
	key := tableKey{f.source, f.off}
	if t := a.tcache.get(key); t != nil {
		return t, nil
	}
	a.mu.RLock()
	var holders []holder
	var id segmentID
	if file := a.led.files[f.source]; file != nil {
		holders, id = append(slices.Clone(file.holders), file.bad...), file.id
	}
	a.mu.RUnlock()
	errs := []error{fmt.Errorf("checksums in ledger segment %s: %w", f.source, storage.ErrUnavailable)}
	t, err := inTurn(ctx, a, holders, func(ctx context.Context, h holder) ([]byte, error) {
		return a.readTable(ctx, h, id, f, n)
	})
	if err != nil {
		return nil, join(append(errs, err)...)
	}
	a.tcache.put(key, t)
	return t, nil
}

func (a *Array) readTable(ctx context.Context, h holder, id segmentID, f fact, n int) ([]byte, error) {
	head := make([]byte, headerLen)
	if _, err := h.m.Store.Get(ctx, h.path, 0, head); err != nil {
		return nil, err
	}
	info, err := h.m.Store.Stat(ctx, h.path)
	if err != nil {
		return nil, err
	}
	s, _, _, err := parseHeader(head, info.Size)
	if err != nil {
		return nil, err
	}
	if s.id != id || int64(f.off)+int64(n) > s.tablesLen {
		return nil, fmt.Errorf("%w: is %s", errSegment, s.id)
	}
	t := make([]byte, n)
	if _, err := h.m.Store.Get(ctx, h.path, s.tablesAt+int64(f.off), t); err != nil {
		return nil, err
	}
	if a.coders.sum(t) != f.sum {
		return nil, fmt.Errorf("%w: checksums of %s", errSegment, f.name)
	}
	return t, nil
}

// inTurn tries holders until one works, the next one when one fails or stalls. Who stalls is not waited for.
func inTurn[T any](ctx context.Context, a *Array, holders []holder, try func(context.Context, holder) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sortPrompt(holders)
	results := make(chan result, len(holders))
	var errs []error
	var zero T
	waiting, next := 0, 0
	launch := func() bool {
		if next == len(holders) {
			return false
		}
		h := holders[next]
		next++
		waiting++
		a.reads.Go(func() {
			v, err := try(ctx, h)
			results <- result{v, err}
		})
		return true
	}
	if !launch() {
		return zero, fmt.Errorf("no drive that holds it is present: %w", storage.ErrUnavailable)
	}
	stall := time.NewTimer(stallAfter)
	defer stall.Stop()
	stuck := time.NewTimer(readTimeout + stallAfter)
	defer stuck.Stop()
	for waiting > 0 {
		select {
		case <-stuck.C:
			return zero, join(append(errs, errStuck)...)
		case r := <-results:
			waiting--
			if r.err == nil {
				return r.v, nil
			}
			errs = append(errs, r.err)
			launch()
		case <-stall.C:
			holders[next-1].m.stalled()
			if launch() {
				stall.Reset(stallAfter)
			}
		case <-ctx.Done():
			return zero, ctx.Err()
		}
	}
	return zero, join(errs...)
}
