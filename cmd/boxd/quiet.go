package main

import (
	"fmt"
	"strings"
	"time"
)

// quietHours is when the lights are not to disturb: from and to, in the box's own zone, or neverQuiet. "" is usualQuiet, for a box that
// knows where it stands.
type quietHours string

const (
	neverQuiet = "never"
	usualQuiet = "21:00-07:00"
)

// hours are the minutes of the day from and until which it is quiet; both 0 for never.
func (q quietHours) hours() (from, until int, err error) {
	text := string(q)
	switch text {
	case neverQuiet:
		return 0, 0, nil
	case "":
		text = usualQuiet
	}
	a, b, _ := strings.Cut(text, "-")
	x, xerr := time.Parse("15:04", strings.TrimSpace(a))
	y, yerr := time.Parse("15:04", strings.TrimSpace(b))
	if xerr != nil || yerr != nil || x.Equal(y) {
		return 0, 0, fmt.Errorf(`quiet: %.40q is neither "never" nor two times as in %q`, string(q), usualQuiet)
	}
	return x.Hour()*60 + x.Minute(), y.Hour()*60 + y.Minute(), nil
}

// at reports whether it is quiet at an instant, as told in its zone, and whether that is known: it is if the clock is right and the
// owner told the hours, or the zone.
func (q quietHours) at(now time.Time, trusted bool) (quiet, known bool) {
	from, until, err := q.hours()
	switch {
	case err != nil:
		return false, false
	case q == neverQuiet:
		return false, true
	case !trusted, q == "" && isUTC(now.Location()):
		return false, false
	}
	t := now.Hour()*60 + now.Minute()
	if from < until {
		return from <= t && t < until, true
	}
	return from <= t || t < until, true
}
