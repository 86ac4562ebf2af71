package firmware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"phonebackupbox/usbhost"
)

// MaxByButton is how many phones single taps can step through: there are five lights to show them.
const MaxByButton = 5

func (s *State) pressed(now time.Time, g Gesture) {
	if s.memory.off || s.memory.stop {
		return
	}
	if s.resets(now, g) {
		return
	}
	switch g.Kind {
	case Press:
		s.Held, s.memory.downAt = now, now
	case Hold:
		s.held(now, g.Held)
	case Release:
		s.Held = time.Time{}
		s.released(now, g.Held)
	case Tap:
		s.tapped(now)
	case DoubleTap:
		s.doubleTapped(now)
	}
}

// tapped: yes to a page, else enrol the phone, else adopt the drive, else acknowledge and show the status. While a restore waits for its
// double tap, a single one steps through the sources.
func (s *State) tapped(now time.Time) {
	if s.Restore != nil && !s.Restore.until.IsZero() && !s.Restore.begin {
		s.stepSource()
		return
	}
	if s.Restore != nil && !s.Restore.Ended {
		return
	}
	if s.answers(now) {
		return
	}
	if p := s.askPhone(now); p != nil && !s.memory.locked {
		s.enrol(p)
		return
	}
	if d := s.askDrive(now); d != "" {
		s.memory.adopt = d
		return
	}
	s.acknowledge()
	s.Awake = now.Add(ShowFor)
}

func (s *State) acknowledge() {
	s.memory.news = nil
	for i := range s.Phones {
		if p := &s.Phones[i]; !p.Attached() {
			p.Fault = nil
		}
	}
}

// doubleTapped: yes to a page, else confirm an armed restore, else make the drive that is asked about a key stick, else back up now.
func (s *State) doubleTapped(now time.Time) {
	r := s.Restore
	if s.answers(now) {
		return
	}
	if r == nil || r.Ended {
		if d := s.askDrive(now); d != "" && s.askPhone(now) == nil && !s.Health.NoVault {
			s.memory.stick = d
			return
		}
		s.backUpNow("")
		return
	}
	if r.until.IsZero() || r.begin || !now.Before(r.until) || r.Source == "" || !s.mayRestore(r) {
		return
	}
	if f, no := s.forbids(r); no { // the key stick was pulled out meanwhile
		s.refuse(now, f)
		return
	}
	r.begin = true
	s.memory.news = slices.DeleteFunc(s.memory.news, aboutRestore)
}

func aboutRestore(f Fault) bool {
	switch f.Code {
	case RestoreRefused, TargetFull, RestoreIncomplete, TargetUnplugged, RestoreWantsStick, RestoreNotByButton:
		return true
	}
	return false
}

func (s *State) backUpNow(id usbhost.ID) {
	s.memory.news = nil
	for i := range s.Phones {
		p := &s.Phones[i]
		if p.Enrolled && p.Attached() && (id == "" || p.ID == id) && !(s.Job.Kind == JobBackup && s.Job.Phone == p.ID) {
			p.due, p.again = true, false
		}
	}
}

// held: the button has been down for so long. A restore is prepared only with a phone attached that may be its target;
// otherwise holding does nothing, so that nobody is led to believe that it would.
func (s *State) held(now time.Time, d time.Duration) {
	if s.Restore != nil && s.Restore.Ended {
		return
	}
	if s.Restore == nil && d == HoldStep {
		if target, ok := s.restoreTarget(); ok && !s.busy() {
			s.prepare(target)
		}
	}
	if d >= ArmAfter {
		s.arm(now)
	}
}

// prepare begins the preparation of a restore. A restore onto this phone that was cut short can only go on as it was.
func (s *State) prepare(target Port) {
	r := &Restore{Target: target.Phone, Port: target.N, Sources: s.sources()}
	for _, b := range s.memory.begun {
		if b.target == target.Phone && slices.Contains(r.Sources, b.source) {
			r.Sources, r.resume, r.probed, r.fresh = []usbhost.ID{b.source}, true, true, true
		}
	}
	s.Restore = r
	if len(r.Sources) == 1 {
		s.choose(0)
	}
}

// arm is the only place that arms a restore.
func (s *State) arm(now time.Time) {
	r := s.Restore
	if r == nil || !r.fresh || r.Ended || !r.until.IsZero() || !s.mayRestore(r) {
		return
	}
	if f, no := s.forbids(r); no {
		s.refuse(now, f)
		return
	}
	r.Armed = true
}

// forbids reports whether the owner's Policy is against a restore by the button now, and why.
func (s *State) forbids(r *Restore) (Fault, bool) {
	switch p := s.memory.policy; {
	case p.MayRestore(s.Health.KeyStick):
		return Fault{}, false
	case p.MayRestore(true):
		return newFault(RestoreWantsStick, r.Target, ""), true
	}
	return newFault(RestoreNotByButton, r.Target, ""), true
}

// released: what letting go means depends on how long it was held.
func (s *State) released(now time.Time, d time.Duration) {
	r := s.Restore
	switch {
	case s.Job.Kind == JobRestore:
		if d >= StopAfter {
			s.Job.Cancel = true
		}
	case r != nil && !r.Ended && !r.until.IsZero(): // confirming
		if d >= StopAfter {
			s.Restore = nil
			s.say(now, "The restore was called off.")
		}
	case r != nil && r.Armed && !r.Ended:
		r.until = now.Add(ConfirmFor)
		s.say(now, "Armed: double-tap within a minute to put everything onto the new phone.")
	default:
		if r != nil && !r.Ended {
			s.Restore = nil
		}
		if d >= StopAfter && d < StopUntil {
			s.shutDown(now)
		}
	}
}

func (s *State) shutDown(now time.Time) {
	s.memory.stop = true
	s.Restore = nil
	s.say(now, "Shutting down: the drives are being flushed.")
}

func (s *State) ejected(now time.Time, e Ejected) {
	if !s.ends(e.Job, JobEject) {
		return
	}
	if e.Err != nil && s.Restart == NoRestart { // else the start anew is what opens them again
		s.memory.stop = false
		s.takeNews(newFault(codeOf(e.Err, JobEject), "", "the drives could not be let go"))
		return
	}
	s.memory.off, s.LetGo = true, true
	if s.Restart == NoRestart {
		s.say(now, "Pull the power.")
	}
}

// restoreTarget is the one attached phone, if a restore may go to it: it has said who it is, and the box never backed it
// up. Whether it is empty is found out by looking into it.
func (s *State) restoreTarget() (Port, bool) {
	if len(s.Ports) != 1 || s.memory.locked || len(s.sources()) == 0 {
		return Port{}, false
	}
	p := s.phone(string(s.Ports[0].Phone))
	if p == nil || s.known(*p) || s.enrolling(p.ID) {
		return Port{}, false
	}
	return s.Ports[0], true
}

// mayRestore reports whether r's target is still the one that restoreTarget would choose.
func (s *State) mayRestore(r *Restore) bool {
	t, ok := s.restoreTarget()
	return ok && t.N == r.Port && t.Phone == r.Target
}

// busy reports whether something runs that a restore has to wait for.
func (s *State) busy() bool {
	switch s.Job.Kind {
	case NoJob, JobHeal, JobCheck, JobProbe:
		return false
	}
	return true
}

// sources are the phones that have a snapshot: enrolled ones in order of enrolment, then others in the vault.
func (s *State) sources() []usbhost.ID {
	var ids []usbhost.ID
	for _, p := range s.Phones {
		if (p.LastComplete != nil || p.LastPartial != nil) && len(ids) < MaxByButton {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

func (s *State) stepSource() {
	r := s.Restore
	s.choose((slices.Index(r.Sources, r.Source) + 1) % len(r.Sources))
}

func (s *State) choose(i int) {
	s.Restore.Source, s.Restore.Order = s.Restore.Sources[i], i+1
	if p := s.phone(string(s.Restore.Source)); p != nil && p.Order > 0 && p.Order <= MaxByButton {
		s.Restore.Order = p.Order
	}
}

func (s *State) probed(now time.Time, e Probed) {
	if !s.ends(e.Job, JobProbe) {
		return
	}
	r := s.Restore
	if r == nil || r.Port != e.Port {
		return
	}
	switch {
	case errors.Is(e.Err, context.Canceled):
		s.Restore = nil
	case e.Err != nil:
		s.refuse(now, newFault(codeOf(e.Err, JobProbe), r.Target, ""))
	case !e.Fresh:
		s.refuse(now, newFault(RestoreRefused, r.Target, "the phone is not empty: "+cleanName(e.Why)))
	default:
		r.fresh = true
		if !s.Held.IsZero() && now.Sub(s.Held) >= ArmAfter {
			s.arm(now)
		}
	}
}

func (s *State) refuse(now time.Time, f Fault) {
	s.Restore = nil
	s.takeNews(f)
	s.say(now, f.Sentence+" "+f.Advice)
}

func (s *State) restoreEnded(now time.Time, e RestoreEnded) {
	if !s.ends(e.Job, JobRestore) {
		return
	}
	s.Progress = nil
	r := s.Restore
	if r == nil {
		s.hand(now, e.Receipt)
		return
	}
	if again := (pair{r.Target, r.Source}); e.Report.Stored > 0 && !slices.Contains(s.memory.begun, again) {
		s.memory.begun = append(s.memory.begun, again)
	}
	detail := ""
	if n := len(e.Report.Problems); n > 0 {
		detail = fmt.Sprintf("%d of %d files", n, e.Report.Listed)
	}
	switch {
	case e.Err != nil:
		s.refuse(now, newFault(codeOf(e.Err, JobRestore), r.Target, detail))
	case e.Report.Unaccounted() != 0:
		s.refuse(now, newFault(Internal, r.Target, detail))
	case !e.Report.Complete():
		s.refuse(now, newFault(RestoreIncomplete, r.Target, detail))
	default:
		r.Ended = true
		s.memory.begun = slices.DeleteFunc(s.memory.begun, func(b pair) bool { return b.target == r.Target })
		s.say(now, fmt.Sprintf("All %d files are on the new phone, checked. It may be unplugged.", e.Report.Listed))
	}
	s.hand(now, e.Receipt)
}

// Allows reports why a command cannot be done now, in words for the person who gave it; nil if it can.
func (s State) Allows(c Command) error {
	if s.memory.off || s.memory.stop {
		return errors.New("the box is shutting down")
	}
	switch c := c.(type) {
	case BackUpNow:
		return s.allowsBackUp(c.Phone)
	case EnrolPhone:
		p, ok := s.Phone(c.Phone)
		switch {
		case !ok || !p.Attached():
			return errors.New("that phone is not plugged in")
		case p.Enrolled:
			return errors.New("that phone is enrolled already")
		case s.Restore != nil:
			return errors.New("a restore is under way")
		}
	case ForgetPhone:
		return s.allowsForget(c.Phone)
	case AcceptShrunk:
		if !s.memory.upkeep || !slices.Contains(s.Upkeep.Shrunk, c.Phone) || slices.Contains(s.Upkeep.Accepted, c.Phone) {
			return errors.New("that phone's old backups are not held back")
		}
	case AdoptDrive:
		return s.allowsAdopt(c.Drive)
	case MakeStick:
		if s.Health.NoVault {
			return errors.New("the box has no drive yet, and so no key")
		}
		return s.allowsAdopt(c.Drive)
	case UpdateFound:
		return s.allowsUpdate()
	case AskConsent:
		return s.allowsConsent(c)
	case WordsWritten:
		if s.memory.locked || !s.Health.WordsIn {
			return errors.New("the words are not in the box alone")
		}
	}
	return nil
}

func (s State) allowsForget(id usbhost.ID) error {
	p, ok := s.Phone(id)
	switch {
	case !ok || !p.Enrolled:
		return errors.New("that phone is not enrolled")
	case s.Job.Kind == JobBackup && s.Job.Phone == id:
		return errors.New("that phone is being backed up: unplug it, or wait until that is done")
	case s.Restore != nil:
		return errors.New("a restore is under way")
	}
	return nil
}

func (s State) allowsAdopt(id string) error {
	if s.memory.locked {
		return errors.New("the vault is locked")
	}
	for _, d := range s.Health.Drives {
		if d.ID == id && d.State == DriveUnknown {
			return nil
		}
	}
	return errors.New("no such drive waits to be adopted")
}

func (s State) allowsBackUp(id usbhost.ID) error {
	if s.memory.locked {
		return errors.New("the vault is locked")
	}
	if s.Health.NoVault {
		return errors.New("the box has no drive yet")
	}
	for _, p := range s.Phones {
		if p.Enrolled && p.Attached() && (id == "" || p.ID == id) {
			return nil
		}
	}
	if id == "" {
		return errors.New("no enrolled phone is plugged in")
	}
	return errors.New("that phone is not plugged in, or not enrolled")
}

func (s *State) asked(now time.Time, c Command) {
	if s.Allows(c) != nil {
		return
	}
	switch c := c.(type) {
	case BackUpNow:
		s.backUpNow(c.Phone)
	case EnrolPhone:
		if p := s.phone(string(c.Phone)); p != nil && !s.enrolling(p.ID) {
			s.enrol(p)
		}
	case ForgetPhone:
		if !s.forgetting(c.Phone) {
			s.memory.forget = append(s.memory.forget, c.Phone)
		}
	case AdoptDrive:
		s.memory.adopt = c.Drive
	case MakeStick:
		s.memory.stick = c.Drive
	case AcceptShrunk:
		s.Upkeep.Accepted = append(slices.Clone(s.Upkeep.Accepted), c.Phone)
		s.keep(now)
	case CheckDrives:
		s.memory.checkDue = true
	case Acknowledge:
		s.acknowledge()
	case ShutDown:
		s.shutDown(now)
	case UpdateFound:
		s.Update = clean(c.Version, maxText)
	case UpdateRefused:
		s.takeNews(newFault(UpdateRefusedFault, "", clean(c.Why, maxText)))
	case UpdateFailed:
		s.takeNews(newFault(UpdateFailedFault, "", "version "+clean(c.Version, maxText)))
	case BoardIs:
		s.memory.board = c
	case AskConsent:
		s.Consent = &Consent{For: c.For, What: clean(c.What, maxText), Until: now.Add(AskFor), asked: now}
	case DropConsent:
		s.dropConsent(c)
	case WordsWritten:
		s.memory.paper = true
	case Tell:
		s.say(now, clean(c.Text, maxText))
	}
}
