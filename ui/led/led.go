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
	// Quiet is how much the lights must not disturb at an instant. Nil means that they may always.
	Quiet func(time.Time) Quiet
}

// Quiet is how much the lights hold back.
type Quiet int

// From bright to dark. A box that does not know what time it is where it stands is Dim: seen by day, and bearable in a bedroom.
const (
	Bright Quiet = iota
	Dim          // no light is brighter than DimCap
	Night        // nor than NightCap, and routine states go dark after NightDark
)

// DimCap is the brightness of the brightest light of a box that does not know the time: about 4 % of its power.
var DimCap = hal.Percent(25)

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
	return capped(f, NightCap)
}

// capped scales a frame so that full is most, and what is lit stays lit.
func capped(f hal.Frame, most hal.Level) hal.Frame {
	for i, l := range f {
		if l > 0 {
			f[i] = max(hal.Level(uint(l)*uint(most)/255), 1)
		}
	}
	return f
}

// at is the frame for s at the time now.
func (o Options) at(s firmware.State, now time.Time) hal.Frame {
	quiet := Bright
	if o.Quiet != nil {
		quiet = o.Quiet(now)
	}
	f := Frame(s, now, quiet == Night)
	if quiet == Dim {
		f = capped(f, DimCap)
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
		f := o.at(s, now)
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
