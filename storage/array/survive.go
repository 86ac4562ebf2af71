package array

import (
	"context"
	"fmt"
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
	err := a.sync(ctx, false)
	if err == nil {
		a.mu.Lock()
		same := a.led.survive == n
		if !same {
			a.led.survive = n
			a.pending = append(a.pending, &pendingRecord{kind: surviveRecord, survive: n})
		}
		a.mu.Unlock()
		if same {
			return nil
		}
		err = a.sync(ctx, true)
	}
	if err != nil {
		return fmt.Errorf("array: change how many drives may die: %w", err)
	}
	return nil
}
