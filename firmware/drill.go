package firmware

import (
	"fmt"
	"time"
)

// drillLook is the wait before a drill that found something looks again at what it was.
const drillLook = 24 * time.Hour

// DrillEnded ends one part of a drill, also when it was cancelled.
type DrillEnded struct {
	Job uint64
	Drilled
	Health Health // as in ScrubEnded
	Err    error
}

func (DrillEnded) event() {}

// drillDue reports whether to go on with reading and decrypting everything, as a restore would. A scrub knows that each drive
// holds what was written to it, a drill that what was written can be read by somebody who has the key.
func (s *State) drillDue(now time.Time) bool {
	c := s.Upkeep.Drill
	switch {
	case s.Health.Snapshots == 0 || s.Health.Now < 0 || now.Before(c.wait):
		return false // nothing to read, or not all of it can be
	case c.Began == Stamp{}:
		return true
	case c.Done && c.Bad+c.Lost > 0 && !now.Before(c.look):
		return true
	}
	return s.readOn(now, c)
}

// beginDrill starts the pass over the vault, or goes on with it.
func (s *State) beginDrill(now time.Time) {
	c := &s.Upkeep.Drill
	if (c.Began == Stamp{}) || s.renewal(now, *c) {
		*c = Check{Began: s.stamp(now), Full: c.Full}
		s.keep(now)
	}
	if c.busy.IsZero() {
		c.busy = now
	}
	s.Job.Pass = c.Began
}

func (s *State) drillEnded(now time.Time, e DrillEnded) {
	if !s.ends(e.Job, JobDrill) {
		return
	}
	if e.Health.Known {
		s.setHealth(now, e.Health)
	}
	c := &s.Upkeep.Drill
	if e.Err != nil && !isCancelled(e.Err) {
		c.wait = now.Add(againAfter)
		c.busy = c.wait
		s.memory.checkDue = true
	}
	if e.Err != nil || e.Bad+e.Hit > 0 && (!e.Health.Known || s.Health.Now < 0) { // a drive went: what could not be read may be whole
		c.Fraction = max(c.Fraction, e.Fraction)
		s.keep(now)
		return
	}
	worse := e.Bad > c.Bad || e.Hit > c.Lost
	c.Mended += max(c.Bad-e.Bad, 0)
	c.Bad, c.Fraction = e.Bad, e.Fraction
	c.look = now.Add(drillLook)
	if e.Done {
		c.Lost, c.Fraction = e.Hit, 1
		if !c.Done {
			c.Done, c.Full = true, &Full{At: s.stamp(now)}
			worse = worse || e.Bad+e.Hit == 0 // the good news is told too
		}
		c.Full = &Full{c.Full.At, max(c.Bad, c.Lost), c.Mended}
	}
	if worse {
		s.say(now, s.drillSays())
	}
	s.rest(now, c)
	s.keep(now)
}

// drillSays is what the drill has to tell.
func (s *State) drillSays() string {
	c := s.Upkeep.Drill
	switch {
	case c.Lost == 1:
		return "Everything stored was read back as for a restore: 1 file could not be restored whole."
	case c.Lost > 1:
		return fmt.Sprintf("Everything stored was read back as for a restore: %d files could not be restored whole.", c.Lost)
	case c.Bad > 0:
		return "What is stored is read back as for a restore: some of it cannot be decrypted."
	}
	return "Everything stored was read back as for a restore: all of it can be restored."
}

// LastDrill says in a few words when everything was read back and decrypted, and what came of it; "" if it never was.
func (u Upkeep) LastDrill() (at time.Time, verdict string) {
	f := u.Drill.Full
	switch {
	case f == nil:
		return time.Time{}, ""
	case f.Bad > 0:
		return f.At.Clock, "not all of it can be restored"
	}
	return f.At.Clock, "all of it can be restored"
}
