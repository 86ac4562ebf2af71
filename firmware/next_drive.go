package firmware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// healAgain is the wait before a heal that did not help is tried again with the same drives; it doubles so often.
const (
	healAgain     = 10 * time.Minute
	healTriesMost = 7 // 21 hours
)

// setHealth takes over what the vault says of itself and tells what changed.
func (s *State) setHealth(now time.Time, h Health) {
	old := s.Health
	h.Drives = slices.Clone(h.Drives)
	for i := range h.Drives {
		h.Drives[i].Label = cleanName(h.Drives[i].Label)
		h.Drives[i].Note = cleanText(h.Drives[i].Note)
	}
	h.Known = true
	if old.NoVault && !h.NoVault {
		s.memory.history = false // a vault is here now, and may have a past
	}
	s.Health, s.memory.vault, s.memory.locked = h, nil, false
	s.memory.checkDue = false
	s.memory.checkAt = now.Add(CheckEvery)
	changed := s.drivesChanged(now, old.Drives, h.Drives)
	s.drivesAre(h.Drives, changed)
	if changed {
		s.memory.healAt, s.memory.healTries, s.memory.evenAt = time.Time{}, 0, time.Time{}
		for i := range s.Phones { // what failed for want of a drive may work now
			if p := &s.Phones[i]; p.Attached() && p.Fault != nil && p.Fault.Light > 1 {
				p.due = p.Enrolled
			}
		}
	}
	if old.Protected() != h.Protected() && old.Known && !old.NoVault && !h.NoVault {
		if h.Protected() {
			s.say(now, "Everything is protected again.")
		} else {
			s.say(now, "Not everything is protected as wanted.")
		}
	}
	s.noteUnknownDrives(now)
}

// drivesChanged tells which drives came, went or changed their state, and whether any did.
func (s *State) drivesChanged(now time.Time, old, drives []Drive) bool {
	if !s.memory.booted || old == nil {
		return true
	}
	changed := false
	for _, d := range drives {
		i := slices.IndexFunc(old, func(o Drive) bool { return o.ID == d.ID })
		switch {
		case i >= 0 && old[i].State == d.State:
			continue
		case d.State == DriveAway:
			s.say(now, fmt.Sprintf("Drive %s is gone.", d.Label))
		case d.State == DriveUnknown:
			s.say(now, fmt.Sprintf("A drive is plugged in that the box does not know: %s.", d.Label))
		case d.State == DriveForeign:
			s.say(now, fmt.Sprintf("A drive is plugged in that the box cannot use: %s.", d.Label))
		case d.State == DriveOther:
			s.say(now, fmt.Sprintf("A drive of another box is plugged in: %s. It is left as it is.", d.Label))
		case d.State == DrivePlain:
			s.say(now, fmt.Sprintf("Drive %s, with ordinary copies of the phones' files, is plugged in.", d.Label))
		case i < 0 || old[i].State == DriveAway:
			s.say(now, fmt.Sprintf("Drive %s is plugged in.", d.Label))
		case d.State == DriveFailing:
			s.say(now, fmt.Sprintf("Drive %s is failing.", d.Label))
		}
		changed = true
	}
	for _, o := range old {
		if !slices.ContainsFunc(drives, func(d Drive) bool { return d.ID == o.ID }) {
			switch o.State {
			case DriveUnknown: // one that was adopted has another ID now
			case DriveAway:
				s.say(now, fmt.Sprintf("Drive %s is not waited for any more: the others hold what it held.", o.Label))
			default:
				s.say(now, fmt.Sprintf("Drive %s is gone.", o.Label))
			}
			changed = true
		}
	}
	return changed
}

// noteUnknownDrives remembers since when each unknown drive is there, and asked about.
func (s *State) noteUnknownDrives(now time.Time) {
	var seen []sighting
	for _, d := range s.Health.Drives {
		if d.State != DriveUnknown {
			continue
		}
		one := sighting{drive: d.ID, at: now}
		for _, o := range s.memory.drives {
			if o.drive == d.ID {
				one = o
			}
		}
		seen = append(seen, one)
	}
	s.memory.drives = seen
}

// askDrive is the unknown drive that a tap would adopt now, "" if there is none: one that the lights ask about, or that was plugged
// in a moment ago, while they show something else.
func (s *State) askDrive(now time.Time) string {
	if o := s.sighted(func(o sighting) bool { return now.Before(o.at.Add(AskFor)) || now.Before(o.asked.Add(AskFor)) }); o != nil {
		return o.drive
	}
	return ""
}

// driveQuestion is the unknown drive that the lights ask about as soon as they show nothing else; nil if there is none. As with a
// phone, that may be hours after it was plugged in.
func (s *State) driveQuestion(now time.Time) *sighting {
	return s.sighted(func(o sighting) bool { return o.asked.IsZero() || now.Before(o.asked.Add(AskFor)) })
}

// sighted is the first unknown drive of that kind that nothing is to be done with yet.
func (s *State) sighted(is func(sighting) bool) *sighting {
	for i, o := range s.memory.drives {
		if is(o) && s.memory.adopt != o.drive && s.memory.stick != o.drive && s.Job.Drive != o.drive {
			return &s.memory.drives[i]
		}
	}
	return nil
}

// vaultFailed takes in that the vault did not answer.
func (s *State) vaultFailed(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	code := codeOf(err, JobCheck)
	f := newFault(code, "", "")
	s.memory.vault = &f
	s.memory.locked = wantsKey(code) || code == CardLost || code == StickAlone || code == DrivesAway
	s.Health.Known = false
	if s.memory.locked {
		s.memory.adopt, s.memory.stick, s.memory.drives = "", "", nil
	}
}

func (s *State) checked(now time.Time, e Checked) {
	if !s.ends(e.Job, JobCheck) {
		return
	}
	s.memory.checkDue, s.memory.checkAt = false, now.Add(CheckEvery)
	if e.Err != nil {
		s.vaultFailed(e.Err)
		return
	}
	s.setHealth(now, e.Health)
	if e.Backups != nil {
		s.takeHistory(e.Backups)
	}
}

func (s *State) healEnded(now time.Time, e HealEnded) {
	if !s.ends(e.Job, JobHeal) {
		return
	}
	s.Heal = nil
	if errors.Is(e.Err, context.Canceled) {
		return // something more urgent; it goes on afterwards
	}
	s.memory.healAt = now.Add(healAgain << min(s.memory.healTries, healTriesMost))
	s.memory.healTries++
	if e.Err != nil {
		s.takeNews(newFault(codeOf(e.Err, JobHeal), "", ""))
		s.memory.checkDue = true
		return
	}
	s.memory.news = slices.DeleteFunc(s.memory.news, func(f Fault) bool { return f.Light > 1 })
	at := s.memory.healAt
	s.setHealth(now, e.Health)
	if s.Health.Uneven > 0 { // some of it cannot be moved now; trying each hour would be no better than each day
		s.memory.evenAt = now.Add(evenAgain)
	}
	if s.Health.Unhealed > 0 {
		s.memory.healAt = at
		return
	}
	s.memory.healAt, s.memory.healTries = time.Time{}, 0
	if s.memory.healLoss && s.memory.upkeep {
		s.hurry(now)
	}
}

func (s *State) driveAdopted(now time.Time, e DriveAdopted) {
	if !s.ends(e.Job, JobAdopt) {
		return
	}
	if e.Err != nil {
		s.takeNews(newFault(codeOf(e.Err, JobAdopt), "", e.Drive))
		s.memory.checkDue = true
		return
	}
	s.memory.refresh = s.memory.upkeep
	if s.Health.NoVault {
		s.say(now, "The drive is the first of a new vault. Plug in a second one: only then may one of them fail.")
	} else {
		s.say(now, "The new drive belongs to the vault now.")
	}
	s.setHealth(now, e.Health)
}

func (s *State) stickMade(now time.Time, e StickMade) {
	if !s.ends(e.Job, JobStick) {
		return
	}
	if e.Err != nil {
		s.takeNews(newFault(codeOf(e.Err, JobStick), "", ""))
		s.memory.checkDue = true
		return
	}
	if e.Drive == "" {
		s.say(now, "The 24 words are on paper. Keep it where the drives are not: whoever has both can read everything.")
		s.setHealth(now, e.Health)
		return
	}
	s.memory.news = slices.DeleteFunc(s.memory.news, func(f Fault) bool { return f.Code == StickNotEmpty })
	s.say(now, "The stick holds the key now. Unplug it, and keep it where the drives are not: whoever has both can read everything.")
	s.setHealth(now, e.Health)
}

// driveFaults are the faults that the drives give reason for.
func (h Health) faults() []Fault {
	if !h.Known {
		return nil
	}
	var out []Fault
	labels := func(state DriveState) (string, int) {
		var l []string
		for _, d := range h.Drives {
			if d.State == state {
				l = append(l, d.Label)
			}
		}
		return strings.Join(l, ", "), len(l)
	}
	away, nAway := labels(DriveAway)
	failing, nFailing := labels(DriveFailing)
	readOnly, nReadOnly := labels(DriveReadOnly)
	foreign, nForeign := labels(DriveForeign)
	other, nOther := labels(DriveOther)
	_, nFull := labels(DriveFull)
	_, nOK := labels(DriveOK)
	switch {
	case h.NoVault:
		out = append(out, newFault(NoDriveYet, "", ""))
	case h.Lost > 0:
		out = append(out, newFault(DataLost, "", fmt.Sprintf("%d pieces", h.Lost)))
	case h.Now < 0:
		out = append(out, newFault(DrivesNeeded, "", away))
	case h.Now < h.Want && nAway > 0:
		out = append(out, newFault(DriveMissing, "", away))
	case h.Now < h.Want:
		out = append(out, newFault(TooFewDrives, "", ""))
	}
	if h.WordsIn && !h.NoVault {
		out = append(out, newFault(WordsInBox, "", ""))
	}
	if nFailing > 0 {
		f := newFault(DriveFailingFault, "", failing)
		if h.Now <= 0 && h.Want > 0 {
			f.Severity = AtRisk
		}
		out = append(out, f)
	}
	if nReadOnly > 0 {
		out = append(out, newFault(DriveReadOnlyCode, "", readOnly))
	}
	if nFull > 0 && nOK == 0 {
		out = append(out, newFault(DrivesFull, "", ""))
	}
	if nOther > 0 {
		out = append(out, newFault(DriveOfAnother, "", other))
	}
	if nForeign > 0 {
		out = append(out, newFault(DriveUnreadable, "", foreign))
	}
	return out
}
