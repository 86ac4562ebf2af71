package array

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"phonebackupbox/storage"
)

const (
	// spaceTimeout bounds asking a drive for its room, or for one file: a sleeping disk needs up to 15 s to spin up.
	spaceTimeout = 30 * time.Second
	// readTimeout bounds one read of a drive, at most a MiB or so: the kernel tries a bad sector again for half a minute.
	readTimeout = time.Minute
	// closeTimeout is how long Close waits for drives that are stuck.
	closeTimeout = 10 * time.Second
)

// guard is a drive's Store with a time limit for each operation. Where it is stuck in the kernel and does not hear of that,
// nobody waits for it. What it still does then is of no account: a read goes to a buffer that nobody uses any more, a write
// to a file that no fact will name.
type guard struct {
	storage.Store
	stuck *sync.WaitGroup
}

// within runs op but does not wait for it any longer when ctx ends or limit has passed.
func within[T any](ctx context.Context, g *guard, limit time.Duration, op func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	tctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan result, 1)
	g.stuck.Go(func() {
		v, err := op(tctx)
		done <- result{v, err}
	})
	var r result
	select {
	case r = <-done:
	case <-tctx.Done():
		r.err = tctx.Err()
	}
	return r.v, late(ctx, r.err)
}

// late makes an error that a drive is unavailable of one that it took too long.
func late(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, storage.ErrUnavailable) {
		return fmt.Errorf("array: no answer in time: %w: %w", storage.ErrUnavailable, err)
	}
	return err
}

func (g *guard) Put(ctx context.Context, name string, p []byte) error {
	_, err := within(ctx, g, writeTimeout(int64(len(p))), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.Store.Put(ctx, name, p)
	})
	return err
}

func (g *guard) Sync(ctx context.Context) error {
	_, err := within(ctx, g, flushTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.Store.Sync(ctx) })
	return err
}

// Get waits for the drive: whoever reads with others to turn to does not wait for Get.
func (g *guard) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	tctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	n, err := g.Store.Get(tctx, name, off, p)
	return n, late(ctx, err)
}

func (g *guard) Stat(ctx context.Context, name string) (storage.Info, error) {
	return within(ctx, g, spaceTimeout, func(ctx context.Context) (storage.Info, error) { return g.Store.Stat(ctx, name) })
}

func (g *guard) Delete(ctx context.Context, name string) error {
	_, err := within(ctx, g, cleanupTime, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.Store.Delete(ctx, name) })
	return err
}

// listBatch is how many names come through a channel at once.
const listBatch = 512

// List limits the time from one batch of names to the next.
func (g *guard) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	type batch struct {
		infos []storage.Info
		err   error
		last  bool
	}
	return func(yield func(storage.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		batches := make(chan batch)
		send := func(b batch) bool {
			select {
			case batches <- b:
				return true
			case <-ctx.Done():
				return false
			}
		}
		g.stuck.Go(func() {
			var b batch
			for info, err := range g.Store.List(ctx, prefix) {
				if b.err = err; err != nil {
					break
				}
				if b.infos = append(b.infos, info); len(b.infos) == listBatch {
					if !send(b) {
						return
					}
					b = batch{}
				}
			}
			b.last = true
			send(b)
		})
		idle := time.NewTimer(spaceTimeout)
		defer idle.Stop()
		for {
			idle.Reset(spaceTimeout)
			var b batch
			select {
			case b = <-batches:
			case <-idle.C:
				b.err = late(ctx, context.DeadlineExceeded)
			case <-ctx.Done():
				b.err = ctx.Err()
			}
			for _, info := range b.infos {
				if !yield(info, nil) {
					return
				}
			}
			if b.err != nil {
				yield(storage.Info{}, b.err)
			}
			if b.err != nil || b.last {
				return
			}
		}
	}
}

// Space is so much that it does not matter for a Store that does not know.
func (g *guard) Space(ctx context.Context) (storage.Space, error) {
	s, ok := g.Store.(storage.Spacer)
	if !ok {
		return storage.Space{Free: 1 << 60}, nil
	}
	return within(ctx, g, spaceTimeout, s.Space)
}

// newMember makes a member of a drive.
func (a *Array) newMember(m Member) *member {
	g := &guard{m.Store, &a.reads}
	m.Store = g
	return &member{Member: m, guard: g, log: a.log}
}

// spaceOf asks a drive for its room. One that does not say fails.
func (a *Array) spaceOf(ctx context.Context, m *member) (storage.Space, error) {
	space, err := m.guard.Space(ctx)
	if err != nil && ctx.Err() == nil {
		m.fail(err)
	}
	return space, err
}

// spaces asks drives for their room, all at once. It is 0 for nil, for those that do not know and for those that fail.
func (a *Array) spaces(ctx context.Context, ms []*member) []storage.Space {
	spaces := make([]storage.Space, len(ms))
	var wg sync.WaitGroup
	for i, m := range ms {
		if m == nil {
			continue
		}
		wg.Go(func() {
			if space, err := a.spaceOf(ctx, m); err == nil && space.Total > 0 {
				spaces[i] = space
			}
		})
	}
	wg.Wait()
	return spaces
}

// Close waits for drives that stalled, but not for long for those that are stuck. What was not synced is not kept. The
// members stay open.
func (a *Array) Close() error {
	done := make(chan struct{})
	go func() {
		a.reads.Wait()
		close(done)
	}()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return fmt.Errorf("array: close: a drive is stuck: %w", storage.ErrUnavailable)
	}
}
