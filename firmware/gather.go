package firmware

import (
	"slices"
	"time"
)

// awaited are the faults of drives that may only be late: a disk takes up to 20 s until it turns, and a hub tells its ports one
// after another. Whoever reads "plug it in" while it is plugged in believes the box no more.
var awaited = []Code{DriveMissing, DrivesNeeded, StickAlone, DrivesAway}

// ofDrives is what the vault and its drives give reason for. For GatherFor after the start, drives that are not here are no fault.
func (s *State) ofDrives(now time.Time) []Fault {
	out := []Fault{}
	if s.memory.vault != nil {
		out = append(out, *s.memory.vault)
	}
	out = append(out, s.Health.faults()...)
	s.memory.gathering = false
	if !now.Before(s.memory.gatherTil) {
		return out
	}
	out = slices.DeleteFunc(out, func(f Fault) bool {
		late := slices.Contains(awaited, f.Code)
		s.memory.gathering = s.memory.gathering || late
		return late
	})
	if s.Health.Known && !s.memory.gathering { // all were here once: what is missed from now on was unplugged
		s.memory.gatherTil = time.Time{}
	}
	return out
}

// wantsKey reports whether a fault is that no key is here that fits.
func wantsKey(c Code) bool { return c == KeyMissing || c == KeyWrong || c == KeyOfAnother }

// lockedPhase is the phase of a box that cannot open its vault. Only where the key is what is wanted do the lights ask for it.
func (s *State) lockedPhase() Phase {
	switch {
	case s.memory.gathering:
		return Starting
	case s.memory.vault != nil && wantsKey(s.memory.vault.Code):
		return VaultLocked
	}
	return Problem
}
