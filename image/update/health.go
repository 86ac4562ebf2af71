package update

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Periods of a trial.
const (
	HealthyFor = 2 * time.Minute  // a new system must be well for so long without a break
	HealthBy   = 10 * time.Minute // and must have been by then
	lookEvery  = 5 * time.Second
)

// Prove returns nil once check has found the new system well for HealthyFor. It returns what was the matter last when HealthBy has
// passed: then the box must start anew, which brings the old system back. A check that does not return in time is a failed one.
func Prove(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, HealthBy, errors.New("the time for it is over"))
	defer cancel()
	var since time.Time // when it was well first; zero: it is not
	last := errors.New("not looked at yet")
	for {
		look, done := context.WithTimeout(ctx, lookEvery)
		err := check(look)
		if err == nil {
			err = look.Err()
		}
		done()
		switch {
		case ctx.Err() != nil: // what a check says that was cut short is not what is the matter
		case err != nil:
			since, last = time.Time{}, err
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= HealthyFor:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("update: not healthy: %w: %w", context.Cause(ctx), last)
		case <-time.After(lookEvery):
		}
	}
}
