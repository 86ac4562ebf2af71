package firmware

import "time"

// The button's times (docs/LIGHTS.md).
const (
	Debounce  = 20 * time.Millisecond  // a contact bounces for some milliseconds; shorter changes are not heard
	DoubleGap = 400 * time.Millisecond // a second tap within this time of the first makes a double tap
	TapMax    = time.Second            // longer than this is no tap
	HoldStep  = 2 * time.Second        // while it is held, one more light each
	StopAfter = 3 * time.Second        // let go from here ...
	StopUntil = 6 * time.Second        // ... to here: shut down, or abort a restore. Later it was meant as arming
	ArmAfter  = 10 * time.Second       // held this long arms a restore
)

// GestureKind is what the button did.
type GestureKind int

// Gestures.
const (
	Press     GestureKind = iota // it went down
	Tap                          // a short press with no second one behind it; told DoubleGap after it ended
	DoubleTap                    // two short presses; told when the second ends
	Hold                         // it has been down for Held, a multiple of HoldStep
	Release                      // it went up after Held; every Press ends with one
)

// Gesture is something a hand did to the button.
type Gesture struct {
	Kind GestureKind
	Held time.Duration // of Hold and Release
}

// Gestures recognises gestures in the edges of one button. The zero value is a button that is up. It has no clock: the
// caller gives the time of each edge and calls Elapse at Next.
type Gestures struct {
	level   bool      // the debounced level: down
	raw     bool      // the last edge
	rawAt   time.Time // when it came
	downAt  time.Time // when the debounced level went down
	steps   int       // HoldSteps told for this press
	tapAt   time.Time // when a lone tap ended; zero if none waits for a second
	pending bool      // raw differs from level
}

// Edge takes in that the contact changed at the time now, and returns what became of everything before it.
func (g *Gestures) Edge(now time.Time, down bool) []Gesture {
	out := g.Elapse(now)
	if down == g.raw {
		return out
	}
	g.raw, g.rawAt = down, now
	g.pending = g.raw != g.level
	return out
}

// Next is when Elapse must be called, if no edge comes before; false if only an edge can change anything.
func (g *Gestures) Next() (time.Time, bool) {
	var next time.Time
	add := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if g.pending {
		add(g.rawAt.Add(Debounce))
	}
	switch {
	case g.level && g.pending: // being let go, perhaps: no more steps until that is sure
	case g.level:
		add(g.downAt.Add(time.Duration(g.steps+1) * HoldStep))
		if !g.tapAt.IsZero() {
			add(g.downAt.Add(TapMax)) // a hold, so the tap before it stands alone
		}
	case !g.tapAt.IsZero() && !g.pending:
		add(g.tapAt.Add(DoubleGap))
	}
	return next, !next.IsZero()
}

// Elapse returns the gestures that came about by the time now.
func (g *Gestures) Elapse(now time.Time) []Gesture {
	var out []Gesture
	for {
		next, ok := g.Next()
		if !ok || next.After(now) {
			return out
		}
		switch {
		case g.pending && next.Equal(g.rawAt.Add(Debounce)):
			g.pending, g.level = false, g.raw
			if g.level {
				out = append(out, g.down())
			} else {
				out = append(out, g.up()...)
			}
		case g.level && next.Equal(g.downAt.Add(time.Duration(g.steps+1)*HoldStep)):
			g.steps++
			out = append(out, Gesture{Hold, time.Duration(g.steps) * HoldStep})
		default:
			g.tapAt = time.Time{}
			out = append(out, Gesture{Kind: Tap})
		}
	}
}

// late takes in the edges that wait. Whoever was busy elsewhere calls it before Elapse: a contact that seems to have been at rest since
// its last edge may have gone on bouncing, and one press would be heard as two.
func (g *Gestures) late(edges <-chan edge) (out []Gesture) {
	for {
		select {
		case e := <-edges:
			out = append(out, g.Edge(e.at, e.down)...)
		default:
			return out
		}
	}
}

// down is the debounced press: it counts from the edge that began it.
func (g *Gestures) down() Gesture {
	g.downAt, g.steps = g.rawAt, 0
	return Gesture{Kind: Press}
}

func (g *Gestures) up() []Gesture {
	out := []Gesture{{Release, g.rawAt.Sub(g.downAt)}}
	switch {
	case out[0].Held >= TapMax:
		if !g.tapAt.IsZero() {
			g.tapAt = time.Time{}
			return []Gesture{{Kind: Tap}, out[0]}
		}
	case g.tapAt.IsZero():
		g.tapAt = g.rawAt
	default:
		g.tapAt = time.Time{}
		out = append(out, Gesture{Kind: DoubleTap})
	}
	return out
}
