package array

import (
	"context"
	"fmt"
	"slices"
)

// SetSurvive changes how many drives may die without loss, 0 to 3. New blobs are protected so at once, those that are
// there by the next Repair, as far as the drives allow. A lower number takes no protection away from what is stored.
func (a *Array) SetSurvive(ctx context.Context, n int) error {
	if n < 0 || n > MaxSurvive {
		return fmt.Errorf("array: cannot survive the loss of %d drives; choose 0 to %d", n, MaxSurvive)
	}
	a.change.Lock()
	defer a.change.Unlock()
	a.commit.Lock()
	defer a.commit.Unlock()
	if err := a.setSurvive(ctx, n); err != nil {
		return fmt.Errorf("array: change how many drives may die: %w", err)
	}
	return nil
}

func (a *Array) setSurvive(ctx context.Context, n int) error {
	if err := a.sync(ctx, false); err != nil {
		return err
	}
	a.mu.Lock()
	was := a.led.survive
	r := &pendingRecord{kind: surviveRecord, survive: n}
	if was != n {
		a.led.survive = n
		a.pending = append(a.pending, r)
	}
	a.mu.Unlock()
	if was == n {
		return nil
	}
	return a.commitOr(ctx, r, func() { a.led.survive = was })
}

// commitOr commits a pending change of the array, for who holds commit. If that fails it is taken back: who asked for it is told
// so, and no later Sync may do it. undo runs with mu held. Without r there is no change, and nothing to take back.
func (a *Array) commitOr(ctx context.Context, r *pendingRecord, undo func()) error {
	err := a.sync(ctx, true)
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.pending, r); i >= 0 {
		a.pending = slices.Delete(a.pending, i, i+1)
		undo()
	}
	return err
}
