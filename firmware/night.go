package firmware

import (
	"errors"
	"time"

	"phonebackupbox/usbhost"
)

// A phone that stays plugged in is backed up again in the night: at about 02:00 WhatsApp writes its own backup into the phone's
// storage, after most phones were plugged in. Such a run only adds to one that ended well, so what keeps it from being made is
// no fault: the phone is done all the same.

// NightPass is the time of day from which on a phone is backed up again, in hours and minutes of local time. A box that does
// not know what time it is waits FirstPassAfter, and then a day each time.
const (
	NightPassHour, NightPassMinute = 2, 30
	FirstPassAfter                 = 6 * time.Hour
)

// nightly makes phones due that were backed up since they were plugged in, when it is time, and takes that back from one that
// is locked before its turn comes.
func (s *State) nightly(now time.Time) {
	for i := range s.Phones {
		p := &s.Phones[i]
		running := s.Job.Kind == JobBackup && s.Job.Phone == p.ID
		switch {
		case running:
		case p.again && p.Locked:
			p.due, p.again = false, false
		case p.Enrolled && p.Attached() && !p.Locked && !p.due && p.Outcome == Stored && p.passes > 0 &&
			!now.Before(p.notYet) && s.nightPassDue(now, p):
			p.due, p.again = true, true
		}
	}
}

func (s *State) nightPassDue(now time.Time, p *Phone) bool {
	if !s.memory.clock {
		wait := FirstPassAfter
		if p.passes > 1 {
			wait = 24 * time.Hour
		}
		return now.Sub(p.ended) >= wait
	}
	// When the run began, by the clock as it is now: it may have been set since, which instants with a monotonic reading know.
	began := now.Add(-now.Sub(p.began))
	year, month, day := began.Date()
	at := time.Date(year, month, day, NightPassHour, NightPassMinute, 0, 0, now.Location())
	if !at.After(began) {
		at = time.Date(year, month, day+1, NightPassHour, NightPassMinute, 0, 0, now.Location())
	}
	return !now.Before(at)
}

// nightFailed takes in that a run at night gave nothing because the phone was unplugged or locked, and reports whether that is
// how it ended. What was stored before stands.
func (s *State) nightFailed(now time.Time, p *Phone, e BackupEnded) bool {
	switch {
	case errors.Is(e.Err, usbhost.ErrUnplugged):
		s.say(now, p.Name+" was unplugged while it was backed up again. What was stored before is safe.")
	case errors.Is(e.Err, usbhost.ErrLocked):
	default:
		return false
	}
	p.Fault, p.notYet = nil, now.Add(retryLeftOut) // that it was unplugged is known before that it is gone
	if !p.Attached() {
		p.Outcome = NotRun
	}
	return true
}
