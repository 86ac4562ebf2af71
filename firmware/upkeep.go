package firmware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"phonebackupbox/usbhost"
)

// How often the box does its upkeep, as Stamp.Since counts.
const (
	ScrubEvery = 30 * 24 * time.Hour // every drive is read whole, and all that is stored is decrypted
	PruneEvery = 7 * 24 * time.Hour  // old snapshots go, if there are new ones
)

const (
	// scrubWithin is how long a pass over a drive takes where there is much to read: what is left of ScrubEvery is for
	// days on which the box is busy, or off.
	scrubWithin = ScrubEvery * 4 / 5
	// scrubLag is how far a pass falls behind before it is read on: drives are woken once a day, not once a minute.
	scrubLag = 1.0 / 24
	// scrubBurst is for how long a pass is read on at least: small vaults are read in one go.
	scrubBurst = 30 * time.Minute
	// scrubSlice is how long one scrub reads. Drives that come and go are seen in between.
	scrubSlice = 50 * time.Second
	// quietFor is how long nothing may have happened before the box turns to upkeep that can wait.
	quietFor = 5 * time.Minute
	// againAfter is the wait after upkeep of one kind failed.
	againAfter = time.Hour
	// fullAfter is the wait between two prunes while the drives are full.
	fullAfter = 24 * time.Hour
	// evenAgain is the wait after a heal that left the drives uneven.
	evenAgain = 24 * time.Hour
	// keepEvery is how often the time that the box was on is written down.
	keepEvery = time.Hour
)

// Stamp is when something was, by two clocks of which neither can be trusted alone: a box that is often off counts few
// hours, and a box without a time server wakes in 1970.
type Stamp struct {
	Powered time.Duration `json:"powered"` // for how long the box had been on by then, in all its life; nanoseconds
	Clock   time.Time     `json:"clock"`
}

// Since is how long before s o was: the longer by either clock. A wrong clock makes upkeep come early and never late.
func (s Stamp) Since(o Stamp) time.Duration { return max(s.Powered-o.Powered, s.Clock.Sub(o.Clock)) }

// Is reports whether two stamps are the same, as they are after they were written down.
func (s Stamp) Is(o Stamp) bool { return s.Powered == o.Powered && s.Clock.Equal(o.Clock) }

// Upkeep is what the box remembers of its periodic work. It survives a restart; lost, it costs doing the work again.
type Upkeep struct {
	Powered time.Duration `json:"powered"` // how long the box has been on in all its life; nanoseconds
	Checks  []Check       `json:"checks"`  // of the drives, those that are away too
	Drill   Check         `json:"drill"`   // of the vault: everything is decrypted, as a restore would
	Pruned  Stamp         `json:"pruned"`
	News    bool          `json:"news"` // something was stored since
	// Shrunk lists phones that suddenly held far fewer files: all their snapshots from before stay, until the owner says
	// that it is as it should be, which Accepted lists until the next prune.
	Shrunk   []usbhost.ID `json:"shrunk,omitempty"`
	Accepted []usbhost.ID `json:"accepted,omitempty"`
}

// Check is the pass over a drive that is under way or was the last, and the last one that came to its end.
type Check struct {
	Drive    string  `json:"drive"` // ID; "" in Upkeep.Drill
	Began    Stamp   `json:"began"`
	Fraction float64 `json:"fraction"` // read so far, 0 to 1
	Done     bool    `json:"done"`
	Bad      int     `json:"bad"`    // files damaged or missing, when they were read last
	Mended   int     `json:"mended"` // that were so, and are whole again
	Lost     int     `json:"lost"`   // blobs with damage here that no drives could bring back; of a drill, files of phones that are hit
	Urgent   bool    `json:"urgent"` // a drive was lost: this one should be whole, and soon known to be
	Full     *Full   `json:"full,omitempty"`

	busy time.Time // since when it is being read on, because it is new or lagged; zero while it is not
	wait time.Time // not read before
	look time.Time // what was damaged is not looked at again before
}

// Full is how a pass over a whole drive ended.
type Full struct {
	At     Stamp `json:"at"`
	Bad    int   `json:"bad"`    // files damaged or missing at its end
	Mended int   `json:"mended"` // that were, and were mended on the way
}

// Events of the upkeep.
type (
	// ScrubEnded ends one part of a pass over a drive, also when it was cancelled.
	ScrubEnded struct {
		Job      uint64
		Drive    string
		Fraction float64 // of the pass
		Done     bool
		Bad      int // see Check
		Lost     int
		Health   Health // asked afterwards; Known is false if it could not be
		Err      error
	}
	// PruneEnded ends a prune.
	PruneEnded struct {
		Job     uint64
		Removed int   // snapshots
		Freed   int64 // bytes
		Shrunk  []usbhost.ID
		Health  Health // as in ScrubEnded
		Err     error
	}
	// RefreshEnded ends bringing up to date what else lies on drives.
	RefreshEnded struct {
		Job  uint64
		Told []string // what could not be done, in words for the owner
		Err  error
	}
)

func (ScrubEnded) event()   {}
func (PruneEnded) event()   {}
func (RefreshEnded) event() {}

// AcceptShrunk says that a phone may hold far fewer files than before: its old snapshots are kept no longer than others.
type AcceptShrunk struct{ Phone usbhost.ID }

func (AcceptShrunk) command() {}

// CheckOf tells what is known of the passes over a drive.
func (s State) CheckOf(drive string) (Check, bool) {
	for _, c := range s.Upkeep.Checks {
		if c.Drive == drive {
			return c, true
		}
	}
	return Check{}, false
}

// ours reports whether a drive is attached and of the vault.
func (d Drive) ours() bool {
	switch d.State {
	case DriveOK, DriveFull, DriveReadOnly, DriveFailing:
		return true
	}
	return false
}

// check is a pointer into s.Upkeep.Checks, made where there is none.
func (s *State) check(drive string) *Check {
	i := slices.IndexFunc(s.Upkeep.Checks, func(c Check) bool { return c.Drive == drive })
	if i < 0 {
		i = len(s.Upkeep.Checks)
		s.Upkeep.Checks = append(s.Upkeep.Checks, Check{Drive: drive})
	}
	return &s.Upkeep.Checks[i]
}

// stamp is now.
func (s *State) stamp(now time.Time) Stamp { return Stamp{s.Upkeep.Powered, now} }

// rememberUpkeep takes over what the box remembers.
func (s *State) rememberUpkeep(now time.Time, u *Upkeep) {
	if u == nil {
		return
	}
	s.memory.upkeep = true
	s.Upkeep = *u
	s.Upkeep.Checks = slices.Clone(u.Checks)
	s.memory.poweredBefore, s.memory.bootedAt, s.memory.keepAt = u.Powered, now, now.Add(keepEvery)
	if s.Upkeep.Pruned == (Stamp{}) {
		s.Upkeep.Pruned = s.stamp(now)
	}
	s.memory.refresh = true
}

// countHours keeps the time that the box has been on.
func (s *State) countHours(now time.Time) {
	if !s.memory.upkeep {
		return
	}
	s.Upkeep.Powered = s.memory.poweredBefore + now.Sub(s.memory.bootedAt)
	if !now.Before(s.memory.keepAt) {
		s.keep(now)
	}
}

// keep has the Upkeep written down.
func (s *State) keep(now time.Time) {
	s.memory.kept++
	s.memory.keepAt = now.Add(keepEvery)
}

// stir notes that something happened: upkeep that can wait waits.
func (s *State) stir(now time.Time, e Event) {
	switch e.(type) {
	case Booted, PhoneArrived, PhoneIdentified, PhoneLeft, Pressed, Asked, BackupEnded, RestoreEnded, DriveAdopted:
		s.memory.quietAt = now.Add(quietFor)
	}
}

// pickUpkeep is the most urgent upkeep that is due.
func (s *State) pickUpkeep(now time.Time) Job {
	if !s.memory.upkeep || !s.Health.Known {
		return Job{}
	}
	quiet := !now.Before(s.memory.quietAt)
	if j := s.pickScrub(now, quiet); j.Kind != NoJob {
		return j
	}
	if !quiet {
		return Job{}
	}
	if s.memory.refresh && !now.Before(s.memory.refreshAt) {
		return Job{Kind: JobRefresh}
	}
	if s.pruneDue(now) {
		return Job{Kind: JobPrune, Accepted: s.Upkeep.Accepted}
	}
	if s.drillDue(now) {
		return Job{Kind: JobDrill}
	}
	// After the prune, which may have made room.
	if s.Health.Uneven > 0 && !now.Before(s.memory.healAt) && !now.Before(s.memory.evenAt) {
		return Job{Kind: JobHeal}
	}
	return Job{}
}

// pickScrub is the drive to read on now: first those with damage that may have been mended, then those that must be
// known to be whole since another was lost, then those of which a pass lags or is due.
func (s *State) pickScrub(now time.Time, quiet bool) Job {
	best, drive := 0, ""
	for _, d := range s.Health.Drives {
		if !d.ours() {
			continue
		}
		if urgency := s.scrubUrgency(now, d.ID); urgency > best && (quiet || urgency > 1) {
			best, drive = urgency, d.ID
		}
	}
	if drive == "" {
		return Job{}
	}
	return Job{Kind: JobScrub, Drive: drive}
}

// scrubUrgency is how urgent it is to read on a drive; 0 is not at all, 1 can wait until all is quiet.
func (s *State) scrubUrgency(now time.Time, drive string) int {
	c, known := s.CheckOf(drive)
	switch {
	case !known:
		return 1
	case now.Before(c.wait):
		return 0
	case c.Bad > 0 && s.Health.Unhealed == 0 && !now.Before(c.look):
		return 3
	case c.Urgent:
		return 2
	case s.readOn(now, c):
		return 1
	}
	return 0
}

// readOn reports whether it is time to go on with a pass, or to begin a new one.
func (s *State) readOn(now time.Time, c Check) bool {
	return s.renewal(now, c) || !c.Done && (!c.busy.IsZero() || s.lag(now, c) >= scrubLag)
}

// renewal reports whether it is time for a new pass.
func (s *State) renewal(now time.Time, c Check) bool {
	return c.Done && s.stamp(now).Since(c.Began) >= ScrubEvery
}

// lag is how much more of a drive should have been read by now, as a fraction of it.
func (s *State) lag(now time.Time, c Check) float64 {
	return float64(s.stamp(now).Since(c.Began))/float64(scrubWithin) - c.Fraction
}

// beginScrub starts or goes on with the pass over a drive.
func (s *State) beginScrub(now time.Time, drive string) {
	_, known := s.CheckOf(drive)
	c := s.check(drive)
	if !known || s.renewal(now, *c) {
		*c = Check{Drive: drive, Began: s.stamp(now), Full: c.Full}
		s.keep(now)
	}
	if c.busy.IsZero() {
		c.busy = now
	}
	s.Job.Pass = c.Began
}

func (s *State) scrubEnded(now time.Time, e ScrubEnded) {
	if !s.ends(e.Job, JobScrub) {
		return
	}
	if e.Health.Known {
		s.setHealth(now, e.Health)
	}
	c := s.check(e.Drive)
	if e.Bad > c.Bad {
		s.say(now, fmt.Sprintf("Drive %s: %s. The box mends what it can.", s.driveLabel(e.Drive), damagedFiles(e.Bad)))
	}
	c.Mended += max(c.Bad-e.Bad, 0)
	if c.Bad > 0 && e.Bad == c.Bad { // not mended: looking again at once would be the same
		c.look = now.Add(againAfter)
	}
	c.Bad, c.Lost, c.Fraction = e.Bad, e.Lost, e.Fraction
	if e.Err != nil && !isCancelled(e.Err) {
		c.wait = now.Add(againAfter)
		c.busy = c.wait
		s.memory.checkDue = true
	}
	if e.Done && (!c.Done || c.Full == nil) {
		c.Done, c.Urgent, c.Fraction = true, false, 1
		c.Full = &Full{At: s.stamp(now)}
	}
	if c.Done && c.Full != nil {
		c.Full = &Full{c.Full.At, c.Bad, c.Mended}
	}
	s.rest(now, c)
	s.keep(now)
}

// rest lets a pass be for a while once it is over, or does not lag and was read on for long enough.
func (s *State) rest(now time.Time, c *Check) {
	if c.Done || s.lag(now, *c) <= 0 && now.Sub(c.busy) >= scrubBurst {
		c.busy = time.Time{}
	}
}

func damagedFiles(n int) string {
	if n == 1 {
		return "1 damaged file was found"
	}
	return fmt.Sprintf("%d damaged files were found", n)
}

func (s *State) driveLabel(id string) string {
	for _, d := range s.Health.Drives {
		if d.ID == id {
			return d.Label
		}
	}
	return id
}

// hurry has all drives read soon: after a loss no other drive should turn out to be rotten too.
func (s *State) hurry(now time.Time) {
	for _, d := range s.Health.Drives {
		if !d.ours() {
			continue
		}
		c := s.check(d.ID)
		switch recent := c.Began != (Stamp{}) && s.stamp(now).Since(c.Began) < 24*time.Hour; {
		case !recent:
			*c = Check{Drive: d.ID, Began: s.stamp(now), Urgent: true, Full: c.Full}
		case !c.Done:
			c.Urgent = true
		}
	}
	s.keep(now)
}

// pruneDue reports whether old snapshots should go now.
func (s *State) pruneDue(now time.Time) bool {
	u := s.Upkeep
	if now.Before(s.memory.pruneAt) || s.Health.Lost > 0 || s.Health.Now < 0 || !u.News && len(u.Accepted) == 0 {
		return false
	}
	since := s.stamp(now).Since(u.Pruned)
	full := slices.ContainsFunc(s.Health.Drives, func(d Drive) bool { return d.State == DriveFull })
	return since >= PruneEvery || len(u.Accepted) > 0 || full && since >= fullAfter
}

func (s *State) pruneEnded(now time.Time, e PruneEnded) {
	if !s.ends(e.Job, JobPrune) {
		return
	}
	if e.Health.Known {
		s.setHealth(now, e.Health)
	}
	if isCancelled(e.Err) {
		return // something more urgent; it goes on afterwards
	}
	s.memory.history = s.memory.history && e.Removed == 0 // the list of snapshots is another now
	s.memory.checkDue = s.memory.checkDue || e.Removed > 0
	if e.Err != nil {
		s.memory.pruneAt = now.Add(fullAfter)
		s.say(now, "Old backups could not be cleared away. The box tries again tomorrow.")
		return
	}
	s.Upkeep.Pruned, s.Upkeep.News, s.Upkeep.Accepted = s.stamp(now), false, nil
	if e.Removed > 0 {
		s.say(now, fmt.Sprintf("%s cleared away; %s are free again.", oldBackups(e.Removed), Bytes(max(e.Freed, 0))))
	}
	for _, id := range e.Shrunk {
		if !slices.Contains(s.Upkeep.Shrunk, id) {
			s.say(now, s.name(id)+" holds far fewer files than before. All its older backups are kept.")
		}
	}
	s.Upkeep.Shrunk = slices.Clone(e.Shrunk)
	s.keep(now)
}

func oldBackups(n int) string {
	if n == 1 {
		return "1 old backup was"
	}
	return fmt.Sprintf("%d old backups were", n)
}

func (s *State) refreshEnded(now time.Time, e RefreshEnded) {
	if !s.ends(e.Job, JobRefresh) {
		return
	}
	if isCancelled(e.Err) {
		s.memory.refresh = true
		return
	}
	for _, t := range e.Told {
		if !slices.Contains(s.memory.told, t) { // once, not every night
			s.say(now, cleanText(t))
		}
	}
	s.memory.told = slices.Clone(e.Told)
	if e.Err != nil {
		s.memory.refresh, s.memory.refreshAt = true, now.Add(againAfter)
	}
}

// drivesAre forgets what was known of drives that are not of the vault any more. changed: some came or went, so that what
// failed before may work now.
func (s *State) drivesAre(drives []Drive, changed bool) {
	s.Upkeep.Checks = slices.DeleteFunc(s.Upkeep.Checks, func(c Check) bool {
		return !slices.ContainsFunc(drives, func(d Drive) bool { return d.ID == c.Drive })
	})
	if !changed {
		return
	}
	for i := range s.Upkeep.Checks {
		s.Upkeep.Checks[i].wait, s.Upkeep.Checks[i].look = time.Time{}, time.Time{}
	}
	s.Upkeep.Drill.wait, s.Upkeep.Drill.look = time.Time{}, time.Time{}
	s.memory.refresh = s.memory.upkeep
}

func isCancelled(err error) bool { return errors.Is(err, context.Canceled) }

// upkeepFaults is what passes over the drives gave reason for.
func (s *State) upkeepFaults() []Fault {
	lost, away := max(s.Upkeep.Drill.Bad, s.Upkeep.Drill.Lost), false
	for _, c := range s.Upkeep.Checks {
		lost = max(lost, c.Lost) // what is lost on two drives may be the same
	}
	for _, d := range s.Health.Drives {
		away = away || d.State == DriveAway
	}
	switch {
	case lost == 0 || !s.Health.Known || s.Health.Lost > 0 || s.Health.Now < 0:
		return nil
	case away:
		return []Fault{newFault(DrivesNeeded, "", fmt.Sprintf("%d pieces are damaged", lost))}
	}
	return []Fault{newFault(DataLost, "", fmt.Sprintf("%d pieces", lost))}
}
