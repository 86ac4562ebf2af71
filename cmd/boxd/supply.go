//go:build !rescue

package main

import (
	"context"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
)

const (
	lookSupply = 2 * time.Second  // a board remembers a dip of its voltage for so long
	lasting    = 10 * time.Minute // how long after it was last seen trouble is told: it comes and goes with the load
)

// followSupply tells the box when its board is in trouble, and when it is not any more, until ctx ends. What cannot be read is told
// once.
func followSupply(ctx context.Context, s hal.Supply, tell func(context.Context, firmware.Command) error, say func(string, ...any)) error {
	tick := time.NewTicker(lookSupply)
	defer tick.Stop()
	var told firmware.BoardIs
	var low, hot time.Time
	failed := false
	for {
		powerLow, tooHot, err := s.Read()
		if err != nil && !failed {
			failed = true
			say("  %v", err)
		}
		now := time.Now()
		if powerLow {
			low = now
		}
		if tooHot {
			hot = now
		}
		is := firmware.BoardIs{PowerLow: !low.IsZero() && now.Sub(low) < lasting, TooHot: !hot.IsZero() && now.Sub(hot) < lasting}
		if is != told && tell(ctx, is) == nil { // a box that shuts down takes nothing in
			told = is
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
