package firmware

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"phonebackupbox/usbhost"
)

// Waits before a run that did not end well is tried again while the phone stays attached. They double up to an hour.
const (
	retryFirst   = time.Minute
	retryLeftOut = 15 * time.Minute // files that could not be read will hardly be readable a minute later
	retryMost    = time.Hour
)

func (s *State) arrived(now time.Time, port int) {
	if slices.ContainsFunc(s.Ports, func(p Port) bool { return p.N == port }) {
		return
	}
	s.Ports = append(s.Ports, Port{N: port, Since: now})
}

func (s *State) port(n int) *Port {
	for i := range s.Ports {
		if s.Ports[i].N == n {
			return &s.Ports[i]
		}
	}
	return nil
}

func (s *State) identified(now time.Time, n int, info usbhost.Info) {
	port := s.port(n)
	if port == nil || info.ID == "" || port.Phone != "" && port.Phone != info.ID {
		return
	}
	p := s.phone(string(info.ID))
	if p == nil {
		s.Phones = append(s.Phones, Phone{ID: info.ID})
		p = &s.Phones[len(s.Phones)-1]
	}
	if p.Port != 0 && p.Port != n {
		// Either it was plugged in again and what its former attachment gave is still being put away, or two phones give
		// the same serial number. It waits; meanwhile it is only charged.
		port.waits = &info
		return
	}
	port.waits = nil
	p.Maker, p.Model, p.Free, p.Total = cleanText(info.Maker), cleanText(info.Model), info.Free, info.Total
	p.Name = cleanName(info.Name)
	wasLocked := p.Locked
	p.Locked = info.Locked
	if port.Phone == "" {
		port.Phone = info.ID
		p.Port, p.Outcome, p.Fault, p.tries, p.retryAt, p.shy = n, NotRun, nil, 0, time.Time{}, false
		p.passes, p.again, p.notYet = 0, false, time.Time{}
		p.due = p.Enrolled
		if p.Enrolled {
			s.say(now, p.Name+" is plugged in.")
		} else {
			s.say(now, p.Name+" is plugged in. The box does not know it.")
		}
		if info.ByPort {
			s.say(now, p.Name+" tells no serial number of its own. The box knows it by its port: use that one for it, and for no other phone of its kind.")
		}
		if p.Enrolled && p.Locked {
			s.say(now, p.Name+" is locked. Waiting for its owner.")
		}
		return
	}
	if p.Enrolled && wasLocked && !p.Locked && !p.shy {
		s.say(now, p.Name+" is unlocked.")
	}
}

func (s *State) silent(now time.Time, e PhoneSilent) {
	if s.port(e.Port) == nil {
		return
	}
	if errors.Is(e.Err, usbhost.ErrUnplugged) {
		return // PhoneLeft follows
	}
	s.takeNews(newFault(PhoneSilentFault, "", ""))
}

func (s *State) left(now time.Time, n int) {
	port := s.port(n)
	if port == nil {
		return
	}
	id := port.Phone
	s.Ports = slices.DeleteFunc(s.Ports, func(p Port) bool { return p.N == n })
	s.memory.news = slices.DeleteFunc(s.memory.news, func(f Fault) bool { return f.Code == PhoneSilentFault })
	p := s.phone(string(id))
	if p == nil || p.Port != n {
		return
	}
	if p.due && p.Enrolled {
		s.say(now, p.Name+" was unplugged before its backup began.")
	} else {
		s.say(now, p.Name+" was unplugged.")
	}
	p.Port, p.Locked, p.due, p.retryAt, p.Outcome = 0, false, false, time.Time{}, NotRun
	for _, other := range s.Ports {
		if other.waits != nil && other.waits.ID == id {
			s.identified(now, other.N, *other.waits)
			return
		}
	}
	s.dropStrangers()
}

// dropStrangers forgets phones that are neither attached, enrolled nor in the vault.
func (s *State) dropStrangers() {
	s.Phones = slices.DeleteFunc(s.Phones, func(p Phone) bool { return !p.Attached() && !s.known(p) })
}

// known reports whether the box backs this phone up, or did.
func (s *State) known(p Phone) bool {
	return p.Enrolled || p.LastComplete != nil || p.LastPartial != nil
}

// askPhone is the stranger that a tap would enrol now: one that the lights ask about, or that was plugged in a moment ago, while
// they show something else.
func (s *State) askPhone(now time.Time) *Phone {
	return s.stranger(func(port Port) bool { return now.Before(port.Since.Add(AskFor)) || now.Before(port.asked.Add(AskFor)) })
}

// question is the stranger that the lights ask about as soon as they show nothing else. Where another phone is being copied that
// may be hours after it was plugged in; until then it has been asked nothing.
func (s *State) question(now time.Time) *Phone {
	return s.stranger(func(port Port) bool { return port.asked.IsZero() || now.Before(port.asked.Add(AskFor)) })
}

// asksLater reports whether an attached stranger has still to be asked about.
func (s *State) asksLater(p Phone) bool {
	port := s.port(p.Port)
	return port.asked.IsZero() && !port.mute
}

// stranger is the first attached phone on a port of that kind that is neither enrolled nor about to be.
func (s *State) stranger(on func(Port) bool) *Phone {
	for _, port := range s.Ports {
		p := s.phone(string(port.Phone))
		if p != nil && !p.Enrolled && p.Port == port.N && !port.mute && on(port) && !s.enrolling(p.ID) {
			return p
		}
	}
	return nil
}

func (s *State) enrolling(id usbhost.ID) bool {
	return slices.ContainsFunc(s.memory.enrol, func(e Enrolment) bool { return e.ID == id }) ||
		s.Job.Kind == JobEnrol && s.Job.Phone == id
}

// enrol asks for a phone to be remembered. Its backup begins when it is.
func (s *State) enrol(p *Phone) {
	order := 0
	for _, o := range s.Phones {
		order = max(order, o.Order)
	}
	for _, e := range s.memory.enrol {
		order = max(order, e.Order)
	}
	if s.Job.Kind == JobEnrol {
		order = max(order, s.Job.Enrolment.Order)
	}
	s.memory.enrol = append(s.memory.enrol, Enrolment{ID: p.ID, Name: p.Name, Order: order + 1})
}

func (s *State) enrolEnded(now time.Time, e EnrolEnded) {
	if !s.ends(e.Job, JobEnrol) {
		return
	}
	if e.Err != nil {
		s.takeNews(newFault(codeOf(e.Err, JobEnrol), e.Enrolment.ID, ""))
		return
	}
	if p := s.phone(string(e.Enrolment.ID)); p != nil {
		p.Enrolled, p.Order, p.due = true, e.Enrolment.Order, p.Attached()
		s.say(now, p.Name+" is enrolled. The box backs it up whenever it is plugged in.")
	} else {
		s.Phones = append(s.Phones, Phone{ID: e.Enrolment.ID, Name: e.Enrolment.Name, Enrolled: true, Order: e.Enrolment.Order, Free: -1, Total: -1})
	}
	s.sortPhones()
}

// forgetting reports whether a phone is about to be forgotten.
func (s *State) forgetting(id usbhost.ID) bool {
	return slices.Contains(s.memory.forget, id) || s.Job.Kind == JobForget && s.Job.Phone == id
}

func (s *State) forgetEnded(now time.Time, e ForgetEnded) {
	if !s.ends(e.Job, JobForget) {
		return
	}
	if e.Err != nil {
		s.takeNews(newFault(codeOf(e.Err, JobForget), e.Phone, ""))
		return
	}
	p := s.phone(string(e.Phone))
	if p == nil {
		return
	}
	s.say(now, p.Name+" is forgotten. The box only charges it from now on; its backups stay.")
	p.Enrolled, p.Order, p.due, p.again, p.retryAt = false, 0, false, false, time.Time{}
	p.Fault, p.Outcome, p.tries, p.shy = nil, NotRun, 0, false
	if port := s.port(p.Port); port != nil {
		port.mute = true
	}
	s.sortPhones()
	s.dropStrangers()
}

// sortPhones puts the enrolled first, in order of enrolment.
func (s *State) sortPhones() {
	slices.SortStableFunc(s.Phones, func(a, b Phone) int {
		switch {
		case a.Enrolled && b.Enrolled:
			return a.Order - b.Order
		case a.Enrolled:
			return -1
		case b.Enrolled:
			return 1
		}
		return 0
	})
}

func (s *State) backupEnded(now time.Time, e BackupEnded) {
	if e.Backup != nil {
		s.takeBackup(*e.Backup)
		s.Upkeep.News, s.memory.refresh = true, s.memory.upkeep
		s.keep(now)
	}
	job := s.Job
	if !s.ends(e.Job, JobBackup) {
		return
	}
	s.Progress, s.memory.verifying = nil, false
	if e.Health.Known {
		s.setHealth(now, e.Health)
	} else {
		s.Health.Known, s.memory.checkDue = false, true
	}
	p := s.phone(string(e.Phone))
	if p == nil {
		return
	}
	p.due, p.again = false, false
	p.made = p.made || e.Backup != nil
	if e.Err == nil && e.Verified && e.Backup != nil && e.Backup.Complete && e.Report.Complete() {
		p.Outcome, p.Fault, p.tries, p.shy = Stored, nil, 0, false
		p.passes, p.began, p.ended = p.passes+1, job.Began, now
		if !p.Attached() { // unplugged after its last byte
			p.Outcome = NotRun
		}
		s.say(now, fmt.Sprintf("%s: all %d files are in the vault, read back and compared.", p.Name, e.Report.Listed))
		return
	}
	if job.Again && s.nightFailed(now, p, e) {
		return
	}
	s.backupFailed(now, p, e)
}

func (s *State) backupFailed(now time.Time, p *Phone, e BackupEnded) {
	p.Outcome = Failed
	if e.Backup != nil {
		p.Outcome = Partial
	}
	err := e.Err
	if err == nil {
		err = ErrIncomplete
	}
	code := codeOf(err, JobBackup)
	if e.Err == nil && e.Report.Unaccounted() != 0 {
		code = Internal // the driver lost count
	}
	if code == PhoneLocked && p.Attached() {
		if !p.shy {
			s.say(now, p.Name+" is locked. Waiting for its owner.")
		}
		p.Locked, p.shy, p.due, p.Outcome = true, true, true, NotRun
		return
	}
	p.shy = false
	detail := ""
	if n := len(e.Report.Problems); n > 0 {
		detail = fmt.Sprintf("%d of %d files", n, e.Report.Listed)
	}
	f := newFault(code, p.ID, detail)
	p.Fault = &f
	s.say(now, p.Name+": "+f.Sentence)
	if !p.Attached() {
		p.Outcome = NotRun
		return
	}
	if s.memory.stop {
		return
	}
	wait := retryFirst
	if code == FilesLeftOut {
		wait = retryLeftOut
	}
	p.retryAt = now.Add(min(wait<<min(p.tries, 6), retryMost))
	p.tries++
}

// takeBackup adds a snapshot to what people see.
func (s *State) takeBackup(b Backup) {
	b.Name = cleanName(b.Name)
	if p := s.phone(string(b.Phone)); p != nil && b.Apps != nil {
		p.Apps = b.Apps
	}
	b.Apps = nil // an App is shown once
	if slices.ContainsFunc(s.Backups, func(o Backup) bool { return o.ID == b.ID }) {
		return
	}
	s.Backups = slices.Insert(s.Backups, 0, b)
	if len(s.Backups) > MaxBackups {
		s.Backups = s.Backups[:MaxBackups]
	}
	s.noteBackup(b)
}

// takeHistory takes over the list of all snapshots, newest first.
func (s *State) takeHistory(all []Backup) {
	s.memory.history = true
	s.Backups = []Backup{}
	told := map[usbhost.ID]bool{}
	for i, b := range all {
		b.Name = cleanName(b.Name)
		if i < MaxBackups {
			s.Backups = append(s.Backups, b)
			s.Backups[i].Apps = nil
		}
		if b.Phone != "" && s.phone(string(b.Phone)) == nil {
			s.Phones = append(s.Phones, Phone{ID: b.Phone, Name: b.Name, Free: -1, Total: -1})
		}
		if p := s.phone(string(b.Phone)); p != nil && b.Apps != nil && !told[b.Phone] {
			told[b.Phone], p.Apps = true, b.Apps
		}
		b.Apps = nil // an App is shown once
		s.noteBackup(b)
	}
}

// noteBackup keeps a phone's newest complete snapshot, and its newest incomplete one if that is newer still.
func (s *State) noteBackup(b Backup) {
	p := s.phone(string(b.Phone))
	if p == nil {
		return
	}
	newer := func(old *Backup) bool { return old == nil || b.Generation > old.Generation }
	if b.Complete && newer(p.LastComplete) {
		p.LastComplete = &b
	}
	if !b.Complete && newer(p.LastPartial) && newer(p.LastComplete) {
		p.LastPartial = &b
	}
	if p.LastComplete != nil && p.LastPartial != nil && p.LastComplete.Generation > p.LastPartial.Generation {
		p.LastPartial = nil
	}
}

// cleanText is cleanName for what may be empty.
func cleanText(t string) string {
	if t == "" {
		return ""
	}
	return cleanName(t)
}
