// Package led turns what the box knows into light. The table in rows.go is the only place that says which lights mean
// what: the frames, docs/LIGHTS.md and the printed label come from it.
package led

import (
	"context"
	"fmt"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
)

// Options of the lights.
type Options struct {
	// Night reports whether it is night where the box stands, at an instant: brightness is capped then and routine
	// states go dark. Nil means never, which is also right for a box that does not know the time.
	Night func(time.Time) bool
}

const (
	frameEvery = 40 * time.Millisecond // 25 frames a second: a breath looks smooth
	stillEvery = time.Second           // nothing moves, but a state may pass into another by time alone
	giveUp     = 100                   // Shows that failed one after another until Run says that the strip is dead
)

// NightCap is the brightness of the brightest light at night.
var NightCap = hal.Percent(2)

// NightDark is how long a routine state is shown at night.
const NightDark = 60 * time.Second

// Frame is what the lights show for s at the time now. It is pure. night caps the brightness at NightCap, keeping lights
// that are on visible, and leaves routine states dark after NightDark unless a tap asked to see them.
func Frame(s firmware.State, now time.Time, night bool) hal.Frame {
	row := rowOf(s)
	t := max(now.Sub(s.Since), 0)
	f := row.draw(s, t, now)
	if !night {
		return f
	}
	if row.Routine && t >= NightDark && !now.Before(s.Awake) {
		return hal.Frame{}
	}
	for i, l := range f {
		if l > 0 {
			f[i] = max(hal.Level(uint(l)*uint(NightCap)/255), 1)
		}
	}
	return f
}

// Run shows states on strip until they end or ctx does, then leaves the lights dark. It returns an error when the strip is
// dead.
func Run(ctx context.Context, strip hal.Strip, states <-chan firmware.State, o Options) error {
	var s firmware.State
	var shown hal.Frame
	known, failed := false, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return strip.Show(hal.Frame{})
		case next, ok := <-states:
			if !ok {
				return strip.Show(hal.Frame{})
			}
			s = next
		case <-timer.C:
		}
		now := time.Now()
		f := Frame(s, now, o.Night != nil && o.Night(now))
		if f != shown || !known || failed > 0 {
			if err := strip.Show(f); err == nil {
				shown, known, failed = f, true, 0
			} else if failed++; failed == giveUp {
				return fmt.Errorf("led: the strip failed %d times running: %w", failed, err)
			}
		}
		if still(s, now) && failed == 0 {
			timer.Reset(stillEvery)
		} else {
			timer.Reset(frameEvery)
		}
	}
}

// still reports whether the lights of s do not move at the time now.
func still(s firmware.State, now time.Time) bool {
	switch s.Phase {
	case firmware.Idle, firmware.Off:
		return !wordsIn(s)
	case firmware.Done, firmware.Restored:
		return !wordsIn(s) && now.Sub(s.Since) > firmware.FullFor+time.Second
	}
	return false
}
