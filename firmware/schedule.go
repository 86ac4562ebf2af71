package firmware

import (
	"fmt"
	"slices"
	"time"

	"phonebackupbox/usbhost"
)

// expire ends what the time or a changed world has ended.
func (s *State) expire(now time.Time) {
	if r := s.Restore; r != nil {
		switch {
		case r.Ended:
			if s.port(r.Port) == nil {
				s.Restore = nil
			}
		case s.Job.Kind == JobRestore:
		case !s.mayRestore(r):
			s.refuse(now, newFault(RestoreRefused, r.Target, "what is plugged in changed"))
		case !r.until.IsZero() && !r.begin && !now.Before(r.until):
			s.Restore = nil
			s.say(now, "No double tap came. The restore was called off.")
		}
	}
	for i := range s.Phones {
		if p := &s.Phones[i]; !p.retryAt.IsZero() && !now.Before(p.retryAt) {
			p.retryAt = time.Time{}
			p.due = p.Enrolled && p.Attached()
		}
	}
	s.expireConsent(now)
	s.nightly(now)
	if s.memory.booted && !now.Before(s.memory.checkAt) {
		s.memory.checkDue, s.memory.checkAt = true, now.Add(CheckEvery)
	}
	if !s.Awake.IsZero() && !now.Before(s.Awake) {
		s.Awake = time.Time{}
	}
}

// schedule chooses the next job, and ends a running one that stands in the way of a more urgent one.
func (s *State) schedule(now time.Time) {
	next := s.pick(now)
	switch s.Job.Kind {
	case NoJob:
		if next.Kind != NoJob {
			s.begin(now, next)
		}
	case JobHeal:
		if next.Kind != NoJob && next.Kind != JobHeal && next.Kind != JobCheck && !next.Kind.upkeep() {
			s.Job.Cancel = true
		}
	case JobScrub:
		if next.Kind != NoJob && !next.Kind.upkeep() {
			s.Job.Cancel = true
		}
	case JobPrune, JobRefresh, JobDrill:
		if next.Kind != NoJob && next.Kind != JobCheck && !next.Kind.upkeep() {
			s.Job.Cancel = true
		}
	case JobProbe:
		if s.Restore == nil || s.memory.stop {
			s.Job.Cancel = true
		}
	case JobUpdate:
		if next.Kind != NoJob && next.Kind != JobUpdate && next.Kind != JobCheck && !next.Kind.upkeep() && next.Kind != JobHeal {
			s.Job.Cancel = true
		}
	case JobBackup, JobRestore:
		if s.memory.stop || s.memory.reset {
			s.Job.Cancel = true
		}
	}
}

// pick is the most urgent job that could run now.
func (s *State) pick(now time.Time) Job {
	m := &s.memory
	switch {
	case !m.booted || m.off:
		return Job{}
	case m.stop:
		return Job{Kind: JobEject}
	case m.reset:
		return Job{Kind: JobReset}
	case m.checkDue && (m.locked || m.vault != nil):
		return Job{Kind: JobCheck, History: !m.history}
	case m.locked:
		return s.pickUpdate(now)
	case len(m.enrol) > 0:
		return Job{Kind: JobEnrol, Phone: m.enrol[0].ID, Enrolment: m.enrol[0]}
	case len(m.forget) > 0:
		return Job{Kind: JobForget, Phone: m.forget[0]}
	case s.Restore != nil && !s.Restore.Ended:
		return s.pickRestore()
	case m.adopt != "":
		return Job{Kind: JobAdopt, Drive: m.adopt}
	case m.paper:
		return Job{Kind: JobStick}
	case m.stick != "":
		return Job{Kind: JobStick, Drive: m.stick}
	}
	if s.Health.NoVault {
		if m.checkDue {
			return Job{Kind: JobCheck, History: !m.history}
		}
		return Job{}
	}
	for _, port := range s.Ports {
		p := s.phone(string(port.Phone))
		if p != nil && p.Port == port.N && p.due && p.Enrolled && !p.Locked {
			return Job{Kind: JobBackup, Port: port.N, Phone: p.ID, First: !p.made, Again: p.again}
		}
	}
	if m.checkDue {
		return Job{Kind: JobCheck, History: !m.history}
	}
	if j := s.pickUpdate(now); j.Kind != NoJob {
		return j
	}
	if s.Health.Known && s.Health.Healable && s.Health.Unhealed > 0 && !now.Before(m.healAt) {
		return Job{Kind: JobHeal}
	}
	return s.pickUpkeep(now)
}

// upkeep reports whether a job is one that everything else goes before.
func (k JobKind) upkeep() bool {
	return k == JobScrub || k == JobPrune || k == JobRefresh || k == JobDrill
}

// pickRestore chooses what a restore needs next: a look into the phone, or, once the guard is passed, the restore itself.
// begin is set by the confirming double tap and by nothing else.
func (s *State) pickRestore() Job {
	r := s.Restore
	switch {
	case !r.probed:
		return Job{Kind: JobProbe, Port: r.Port, Phone: r.Target}
	case r.begin && r.fresh && r.Armed && r.Source != "" && s.mayRestore(r):
		return Job{Kind: JobRestore, Port: r.Port, Phone: r.Target, Source: r.Source, Resume: r.resume}
	case s.memory.checkDue: // the key stick may be gone
		return Job{Kind: JobCheck, History: !s.memory.history}
	}
	return Job{}
}

// begin makes next the running job.
func (s *State) begin(now time.Time, next Job) {
	s.memory.jobs++
	next.N, next.Began = s.memory.jobs, now
	s.Job = next
	switch next.Kind {
	case JobBackup:
		s.Progress = &Progress{Doing: "listing", Began: now, mark: now}
		s.memory.verifying = false
		switch p := s.phone(string(next.Phone)); {
		case next.Again:
			s.say(now, p.Name+": what the night brought is backed up.")
		case !p.shy:
			s.say(now, p.Name+": the backup begins.")
		}
	case JobRestore:
		s.Progress = &Progress{Doing: "listing", Began: now, mark: now}
		s.say(now, fmt.Sprintf("The restore begins: everything of %s onto %s.", s.name(next.Source), s.name(next.Phone)))
		if p := s.phone(string(next.Source)); p != nil && slices.ContainsFunc(p.Apps, func(a App) bool { return !a.Backup.IsZero() }) {
			s.say(now, "Open no chat app on the new phone before the restore has ended.") // WhatsApp looks for its backup once
		}
	case JobProbe:
		s.Restore.probed = true
	case JobEnrol:
		s.memory.enrol = s.memory.enrol[1:]
	case JobForget:
		s.memory.forget = s.memory.forget[1:]
	case JobAdopt:
		s.memory.adopt = ""
	case JobStick:
		if next.Drive == "" {
			s.memory.paper = false
		} else {
			s.memory.stick = ""
		}
	case JobUpdate:
		s.say(now, "The update to version "+s.Update+" is written to the card.")
	case JobReset:
		s.memory.reset = false
	case JobEject:
		s.beginEject(now)
	case JobScrub:
		s.beginScrub(now, next.Drive)
	case JobDrill:
		s.beginDrill(now)
	case JobRefresh:
		s.memory.refresh = false
	case JobHeal:
		s.Heal = &Heal{Began: now}
		s.memory.healLoss = s.Health.Hurt
		if s.Heal.Even = s.Health.Unhealed == 0; s.Heal.Even {
			s.say(now, "What is stored is being evened out over the drives, so that all their room is of use.")
		} else {
			s.say(now, "The drives are being made whole.")
		}
	}
}

func (s *State) name(id usbhost.ID) string {
	if p := s.phone(string(id)); p != nil {
		return p.Name
	}
	return "the phone"
}

// settle finds the phase, the faults and the advice that follow from the facts.
func (s *State) settle(now time.Time) {
	s.Faults = s.collect(now)
	phase, current, until := s.derive(now)
	if phase != s.Phase || current != s.Current {
		s.Phase, s.Current, s.Since = phase, current, now
	}
	s.Until = until
	for i := range s.Phones {
		p := &s.Phones[i]
		p.Next = p.Attached() && !p.Locked && s.Job.Phone != p.ID && (p.Enrolled && p.due || !p.Enrolled && s.enrolling(p.ID))
		p.Need = s.need(now, *p)
	}
}

// derive is the phase that the facts amount to, the phone that it is about, and when it ends by itself.
func (s *State) derive(now time.Time) (Phase, usbhost.ID, time.Time) {
	never := time.Time{}
	switch {
	case s.Restart == ToUpdate, s.Job.Kind == JobUpdate:
		return Updating, "", never
	case s.Restart == ToReset && s.memory.off:
		return Starting, "", never
	case s.memory.off:
		return Off, "", never
	case s.memory.resetting && now.Sub(s.Held) >= ResetAfter:
		return Resetting, "", s.Held.Add(ResetUntil)
	case !s.memory.booted:
		return Starting, "", never
	case s.memory.stop:
		return Stopping, "", never
	case s.Job.Kind == JobRestore:
		return Restoring, s.Job.Phone, never
	case s.asksConsent(now):
		return AskingPage, "", s.Consent.Until
	case s.Job.Kind == JobBackup && s.memory.verifying:
		return Verifying, s.Job.Phone, never
	case s.Job.Kind == JobBackup && s.phone(string(s.Job.Phone)).shy:
		return Waiting, s.Job.Phone, never // asked again; it has given nothing yet
	case s.Job.Kind == JobBackup:
		return Copying, s.Job.Phone, never
	case s.memory.locked:
		return s.lockedPhase(), "", never
	case s.Restore != nil && s.Restore.Ended:
		return Restored, s.Restore.Target, never
	case s.Restore != nil && !s.Restore.until.IsZero():
		return Confirming, s.Restore.Target, s.Restore.until
	case s.Restore != nil:
		return Arming, s.Restore.Target, never
	}
	// An enrolment takes a moment, and its backup follows: a question that begins in between is over before anybody sees it.
	if p := s.question(now); p != nil && (s.Job.Kind != JobEnrol || !s.port(p.Port).asked.IsZero()) {
		port := s.port(p.Port)
		if port.asked.IsZero() {
			port.asked = now
		}
		return Asking, p.ID, port.asked.Add(AskFor)
	}
	s.Adopt = ""
	if s.pickUpdate(now).Kind != NoJob {
		return Updating, "", never // about to begin, or to be started
	}
	if d := s.driveQuestion(now); d != nil {
		if d.asked.IsZero() {
			d.asked = now
		}
		s.Adopt = d.drive
		return AskingDrive, "", d.asked.Add(AskFor)
	}
	phase, current := s.deriveRest()
	return phase, current, never
}

// deriveRest is the phase while no job shows and nothing is asked.
func (s *State) deriveRest() (Phase, usbhost.ID) {
	var bad, stored usbhost.ID
	for _, port := range s.Ports {
		p := s.phone(string(port.Phone))
		if p == nil || p.Port != port.N || !p.Enrolled && !s.enrolling(p.ID) {
			continue
		}
		switch {
		case s.Health.NoVault && !s.enrolling(p.ID):
			bad = p.ID
		case p.Locked && p.due:
			return Waiting, p.ID
		case p.due || s.enrolling(p.ID):
			return Copying, p.ID // about to begin
		case p.Outcome == Stored:
			stored = p.ID
		default:
			bad = p.ID
		}
	}
	switch {
	case s.memory.gathering:
		return Starting, ""
	case bad != "":
		return Problem, bad
	case s.troubled():
		return Problem, stored
	case stored != "" && s.Health.Protected():
		return Done, stored // every file of every attached phone accounted for, flushed, read back, protected as wanted
	case stored != "":
		return Problem, stored
	}
	return Idle, ""
}

// troubled reports whether there is a fault that keeps the box from saying done. That the words are not out yet does not: the
// lights tell it beside.
func (s *State) troubled() bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Severity >= Attention && f.Code != WordsInBox })
}

// collect is every fault there is, gravest first.
func (s *State) collect(now time.Time) []Fault {
	out := s.ofDrives(now)
	for _, p := range s.Phones {
		switch {
		case p.Fault != nil && !(p.Attached() && p.due):
			out = append(out, *p.Fault)
		case p.Enrolled && p.Attached() && (p.Locked || p.shy) && p.due:
			out = append(out, newFault(PhoneLocked, p.ID, p.Name))
		}
	}
	out = append(out, s.alike(now)...)
	out = append(out, s.upkeepFaults()...)
	if s.memory.board.PowerLow {
		out = append(out, newFault(PowerLow, "", ""))
	}
	if s.memory.board.TooHot {
		out = append(out, newFault(TooHot, "", ""))
	}
	out = append(out, s.memory.news...)
	sortFaults(out)
	return out
}

// alikeAfter is how long two attachments may say that they are the same phone before that is told: one that changes its mode is
// there twice for a moment.
const alikeAfter = 30 * time.Second

// alike is the fault of phones that wait since another that says to be the same is plugged in. What a job still does with a former
// attachment may take its time.
func (s *State) alike(now time.Time) []Fault {
	for _, port := range s.Ports {
		if port.waits == nil || now.Before(port.Since.Add(alikeAfter)) {
			continue
		}
		if p := s.phone(string(port.waits.ID)); p != nil && p.Port != s.Job.Port {
			return []Fault{newFault(PhonesAlike, p.ID, p.Name)}
		}
	}
	return nil
}

// need is what a person should do next about a phone.
func (s *State) need(now time.Time, p Phone) string {
	switch {
	case p.shy && p.Attached():
		return "Unlock it and allow file transfer."
	case s.Job.Phone == p.ID && (s.Job.Kind == JobBackup || s.Job.Kind == JobRestore):
		return "Leave it plugged in."
	case s.Phase == Restored && s.Current == p.ID:
		return "Unplug it."
	case s.Phase == Asking && s.Current == p.ID:
		return "Tap the button to have it backed up."
	case p.Next:
		return "Leave it plugged in: it is next."
	case p.Attached() && !p.Enrolled && s.asksLater(p):
		return "The box asks about it when it is done with the other phone."
	case p.Attached() && !p.Enrolled:
		return "It is only charged. To have it backed up, plug it in again and tap the button."
	case p.Locked && p.due:
		return "Unlock it and allow file transfer."
	case p.Fault != nil:
		return p.Fault.Advice
	case p.Outcome == Stored && s.Phase == Done:
		return "Nothing. It may be unplugged."
	case p.Outcome == Stored && s.troubled():
		return "Everything is copied. " + s.Faults[0].Advice
	case p.Enrolled && !p.Attached() && p.LastComplete == nil:
		return "Plug it in and leave it until the box says done."
	}
	return ""
}
