package firmware

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"phonebackupbox/usbhost"
)

// memory is what Next needs to remember besides what people see.
type memory struct {
	booted    bool
	clock     bool // it tells the right time
	policy    Policy
	locked    bool      // the vault cannot be opened: there is no key that fits, or no drive
	gatherTil time.Time // drives that are missed until then may only be late
	gathering bool      // some are missed, and it is not that time yet
	vault     *Fault    // why the vault did not answer the last time it was asked
	jobs      uint64    // jobs numbered so far
	checkDue  bool      // ask the vault for its health soon
	checkAt   time.Time // and in any case at this time
	history   bool      // the snapshots have been listed
	enrol     []Enrolment
	forget    []usbhost.ID
	adopt     string // unknown drive to be adopted
	stick     string // or to be made a key stick
	drives    []sighting
	healAt    time.Time // not before
	verifying bool      // the running backup is committed and being read back
	begun     []pair    // restores that were begun and not finished: their targets are not empty any more
	stop, off bool
	healTries int       // that left something unhealed with the drives as they are
	healLoss  bool      // the running heal makes good the loss of a drive
	evenAt    time.Time // nothing is evened out before

	upkeep        bool // this box does its upkeep
	poweredBefore time.Duration
	bootedAt      time.Time
	quietAt       time.Time // nobody wants anything since; from then on upkeep may be done
	refresh       bool      // there may be something to bring up to date on plain drives
	refreshAt     time.Time // not before
	pruneAt       time.Time // not before
	told          []string  // what the last refresh had to tell
	kept          uint64    // counts what is to be written down
	keepAt        time.Time // and when it is in any case

	paper     bool      // the words are on paper: to be noted
	downAt    time.Time // when the button went down last
	born      time.Time // when the box was made
	powerOn   bool      // and the power came just then
	heard     bool      // the button was down since
	resetting bool      // it has been down from power-on
	reset     bool      // the settings are to be erased
	updates   bool      // this box takes updates in
	installed bool      // State.Update is on the card: only a restart is wanting

	board BoardIs // as it was told last

	news []Fault // faults of no attached phone and no drive; an acknowledging tap puts them away
}

// sighting is when an unknown drive was first seen.
type sighting struct {
	drive string
	at    time.Time
	asked time.Time // since when the lights ask about it; zero: not yet
}

// pair is a restore: from the snapshots of one phone onto another.
type pair struct{ target, source usbhost.ID }

// CheckEvery is how often the vault is asked for its health when nothing happens.
const CheckEvery = time.Minute

// newState is the State of a box that was just switched on.
func newState(now time.Time) State {
	return State{memory: memory{born: now}, Phase: Starting, Since: now, Phones: []Phone{}, Ports: []Port{}, Upkeep: Upkeep{Checks: []Check{}}, Backups: []Backup{}, Faults: []Fault{}, Lines: []Line{}}
}

// Next is the State after e happened at the time now. It is pure: equal arguments give equal results, s is not changed,
// and instants come only from now and s. now never goes back between calls.
func (s State) Next(now time.Time, e Event) State {
	s = s.clone()
	s.countHours(now)
	s.stir(now, e)
	switch e := e.(type) {
	case Booted:
		s.booted(now, e)
	case PhoneArrived:
		s.arrived(now, e.Port)
	case PhoneIdentified:
		s.identified(now, e.Port, e.Info)
	case PhoneSilent:
		s.silent(now, e)
	case PhoneLeft:
		s.left(now, e.Port)
	case EnrolEnded:
		s.enrolEnded(now, e)
	case ForgetEnded:
		s.forgetEnded(now, e)
	case Progressed, BackupCommitted, Verified, HealProgressed:
		s.progressed(now, e)
	case BackupEnded:
		s.backupEnded(now, e)
	case Checked:
		s.checked(now, e)
	case HealEnded:
		s.healEnded(now, e)
	case DriveAdopted:
		s.driveAdopted(now, e)
	case StickMade:
		s.stickMade(now, e)
	case Probed:
		s.probed(now, e)
	case RestoreEnded:
		s.restoreEnded(now, e)
	case Ejected:
		s.ejected(now, e)
	case ScrubEnded:
		s.scrubEnded(now, e)
	case DrillEnded:
		s.drillEnded(now, e)
	case PruneEnded:
		s.pruneEnded(now, e)
	case RefreshEnded:
		s.refreshEnded(now, e)
	case UpdateEnded:
		s.updateEnded(now, e)
	case ResetEnded:
		s.resetEnded(now, e)
	case Pressed:
		s.pressed(now, e.Gesture)
	case Asked:
		s.asked(now, e.Command)
	case Tick:
		s.memory.clock = e.ClockTrusted
	}
	s.expire(now)
	s.schedule(now)
	s.settle(now)
	return s
}

// clone copies everything that Next may change behind a pointer or in a slice.
func (s State) clone() State {
	s.Phones = slices.Clone(s.Phones)
	s.Ports = slices.Clone(s.Ports)
	s.Lines = slices.Clone(s.Lines)
	s.Backups = slices.Clone(s.Backups)
	s.Upkeep.Checks = slices.Clone(s.Upkeep.Checks)
	s.memory.enrol = slices.Clone(s.memory.enrol)
	s.memory.forget = slices.Clone(s.memory.forget)
	s.memory.drives = slices.Clone(s.memory.drives)
	s.memory.news = slices.Clone(s.memory.news)
	s.memory.begun = slices.Clone(s.memory.begun)
	if s.Progress != nil {
		p := *s.Progress
		s.Progress = &p
	}
	if s.Restore != nil {
		r := *s.Restore
		s.Restore = &r
	}
	if s.Heal != nil {
		h := *s.Heal
		s.Heal = &h
	}
	if s.Consent != nil {
		p := *s.Consent
		s.Consent = &p
	}
	return s
}

func (s *State) booted(now time.Time, e Booted) {
	s.memory.booted, s.memory.policy, s.Receipt = true, e.Policy, e.Receipt
	for _, en := range e.Enrolled {
		if p := s.phone(string(en.ID)); p != nil { // it was plugged in before the box knew whose it is
			p.Enrolled, p.Order, p.due = true, en.Order, p.Attached()
			continue
		}
		s.Phones = append(s.Phones, Phone{ID: en.ID, Name: cleanName(en.Name), Enrolled: true, Order: en.Order, Free: -1, Total: -1})
	}
	s.sortPhones()
	s.memory.gatherTil = now.Add(GatherFor)
	s.memory.checkAt = now.Add(CheckEvery)
	s.rememberUpkeep(now, e.Upkeep)
	if e.Err != nil {
		s.vaultFailed(e.Err)
		return
	}
	s.takeHistory(e.Backups)
	s.setHealth(now, e.Health)
	s.say(now, "The box is ready.")
}

// say adds a line for the owner.
func (s *State) say(now time.Time, text string) {
	s.Lines = append(s.Lines, Line{now, text})
	if n := len(s.Lines); n > MaxLines {
		s.Lines = slices.Clone(s.Lines[n-MaxLines:])
	}
}

// ends reports whether job is the one that runs, and if so ends it.
func (s *State) ends(job uint64, kind JobKind) bool {
	if s.Job.N != job || s.Job.Kind != kind {
		return false
	}
	s.Job = Job{N: s.Job.N}
	return true
}

// phone is a pointer into s.Phones, nil if there is no such phone.
func (s *State) phone(id string) *Phone {
	for i := range s.Phones {
		if string(s.Phones[i].ID) == id && id != "" {
			return &s.Phones[i]
		}
	}
	return nil
}

// takeNews adds a fault that is about no attached phone, in the place of an older one of its code.
func (s *State) takeNews(f Fault) {
	s.memory.news = slices.DeleteFunc(s.memory.news, func(o Fault) bool { return o.Code == f.Code })
	s.memory.news = append(s.memory.news, f)
}

// cleanName makes a name that a phone gave fit to be shown: no control characters, at most 64 letters.
func cleanName(name string) string {
	if name = clean(name, 64); name == "" {
		return "Phone"
	}
	return name
}

// clean makes text from elsewhere fit to be shown: no control characters, at most so many letters.
func clean(name string, most int) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, name)
	if r := []rune(name); len(r) > most {
		name = string(r[:most])
	}
	return strings.TrimSpace(name)
}
