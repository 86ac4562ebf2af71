package led

import (
	"math"
	"time"

	"phonebackupbox/hal"
)

// Levels. The eye tells these apart in a dark and in a bright room.
var (
	full = hal.Percent(100)
	dot  = hal.Percent(1) // seen in the dark, not in the way
	ebb  = hal.Percent(8) // the lowest point of a breath
)

// Periods of the four rhythms. There are no others, so that nobody has to learn more than four.
const (
	breath = 4 * time.Second        // breathe: working, or waiting for a tap
	slow   = 2 * time.Second        // slow, 0.5 Hz: needs you
	fast   = 500 * time.Millisecond // fast, 2 Hz: data at risk, or about to do something great
	blink  = 3 * time.Second        // counted blinks of light 1 come once in this time
	wink   = 300 * time.Millisecond // each of them, and the gap after it
)

// breathe swells and ebbs.
func breathe(t time.Duration) hal.Level {
	x := float64(t%breath) / float64(breath)
	up := (1 - math.Cos(2*math.Pi*x)) / 2
	return ebb + hal.Level(up*float64(full-ebb)+0.5)
}

// onOff is on for the first half of each period.
func onOff(t, period time.Duration) hal.Level {
	if t%period < period/2 {
		return full
	}
	return 0
}

// blinks is n winks, then dark until the period ends.
func blinks(t time.Duration, n int) hal.Level {
	t %= blink
	if i := t / (2 * wink); int(i) < n && t%(2*wink) < wink {
		return full
	}
	return 0
}

// one lights only the light n, counted from 1; no light for another n.
func one(n int, l hal.Level) hal.Frame {
	var f hal.Frame
	if n >= 1 && n <= hal.Bars {
		f[n-1] = l
	}
	return f
}

// bar fills the first n of five lights.
func bar(n int, l hal.Level) hal.Frame {
	var f hal.Frame
	for i := range min(max(n, 0), hal.Bars) {
		f[i] = l
	}
	return f
}

// fill shows a fraction: each light stands for a fifth, the one being filled breathes. The last one breathes even at the
// very end, since a full steady bar means done.
func fill(fraction float64, t time.Duration) hal.Frame {
	n := min(int(fraction*hal.Bars), hal.Bars-1)
	f := bar(n, full)
	f[n] = breathe(t)
	return f
}

// mirror turns the bar around.
func mirror(f hal.Frame) hal.Frame {
	for i, j := 0, hal.Bars-1; i < j; i, j = i+1, j-1 {
		f[i], f[j] = f[j], f[i]
	}
	return f
}

// drain is how many lights are still lit when left of whole remains.
func drain(left, whole time.Duration) int {
	if left <= 0 || whole <= 0 {
		return 0
	}
	return min(int((left*hal.Bars+whole-1)/whole), hal.Bars)
}
