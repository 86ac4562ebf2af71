package console

import (
	"context"
	"fmt"
	"time"

	"phonebackupbox/firmware"
)

// lockIdle locks the console when nobody has typed for LockAfter, until ctx ends.
func (c *Console) lockIdle(ctx context.Context, out *output) {
	if !c.o.Locked || c.o.LockAfter <= 0 {
		return
	}
	t := time.NewTimer(c.o.LockAfter)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.typed:
			t.Reset(c.o.LockAfter)
		case <-t.C:
			if c.locked.CompareAndSwap(false, true) {
				out.setFollowing(false)
				out.print(fmt.Sprintf("\n! locked: nothing was typed for %s\n", firmware.Span(c.o.LockAfter)))
			}
		}
	}
}

// pause makes a line take its time; sense: it was one that the console understood.
func (c *Console) pause(ctx context.Context, l *lineReader, sense bool) {
	if sense {
		c.wrong = 0
	} else {
		c.wrong = min(c.wrong+1, maxDoublings)
	}
	if c.o.Every <= 0 {
		return
	}
	t := time.NewTimer(c.o.Every << c.wrong)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return
	}
	if c.wrong >= noise {
		l.drop()
	}
}
