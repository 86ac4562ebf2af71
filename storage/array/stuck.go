package array

import (
	"context"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// spaceTimeout bounds asking a drive for its room: a sleeping disk needs up to 15 s to spin up.
const spaceTimeout = 30 * time.Second

// within runs op but does not wait for it any longer when ctx ends: a drive that is stuck in the kernel does not hear of
// that. What op still does then, it must do to nothing that is used elsewhere. Close waits for it.
func within[T any](ctx context.Context, a *Array, op func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	a.reads.Go(func() {
		v, err := op()
		done <- result{v, err}
	})
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// spaceOf asks a drive for its room. One that does not say fails.
func (a *Array) spaceOf(ctx context.Context, m *member) (storage.Space, error) {
	s, ok := m.Store.(storage.Spacer)
	if !ok {
		return storage.Space{Free: 1 << 60}, nil
	}
	tctx, cancel := context.WithTimeout(ctx, spaceTimeout)
	defer cancel()
	space, err := within(tctx, a, func() (storage.Space, error) { return s.Space(tctx) })
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
		if _, ok := m.Store.(storage.Spacer); ok {
			wg.Go(func() {
				if space, err := a.spaceOf(ctx, m); err == nil {
					spaces[i] = space
				}
			})
		}
	}
	wg.Wait()
	return spaces
}
