package firmware

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// caretaker does the upkeep of an attic: a drive takes readFor to read whole.
type caretaker struct {
	attic   *attic
	readFor time.Duration

	mu      sync.Mutex // guards what follows
	passes  map[string]caretaken
	slices  int
	drills  int
	refresh int
	bad     map[string]int // files damaged that a pass finds half way, by drive
	lost    int
	pages   []Upkeep
	err     error
}

type caretaken struct {
	began Stamp
	read  time.Duration
	full  []time.Time // when passes came to their end
}

func newCaretaker(a *attic, readFor time.Duration) *caretaker {
	return &caretaker{attic: a, readFor: readFor, passes: map[string]caretaken{}, bad: map[string]int{}}
}

func (c *caretaker) Scrub(ctx context.Context, drive string, began Stamp, span time.Duration) (Scrubbed, error) {
	c.mu.Lock()
	p := c.passes[drive]
	if !p.began.Is(began) {
		p = caretaken{began: began, full: p.full}
	}
	c.slices++
	err := c.err
	c.mu.Unlock()
	start := time.Now()
	if err == nil {
		t := time.NewTimer(min(span, c.readFor-p.read))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was := p.read
	p.read += time.Since(start)
	done := p.read >= c.readFor
	if done && was < c.readFor {
		p.full = append(p.full, time.Now())
	}
	c.passes[drive] = p
	r := Scrubbed{Fraction: float64(p.read) / float64(c.readFor), Done: done}
	if p.read > c.readFor/2 {
		r.Bad, r.Lost = c.bad[drive], c.lost
		c.attic.set(func(a *attic) {
			if r.Bad > 0 && c.lost == 0 {
				a.health.Unhealed = int64(r.Bad)
			}
		})
	}
	return r, err
}

func (c *caretaker) Drill(ctx context.Context, began Stamp, span time.Duration) (Drilled, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drills++
	return Drilled{Fraction: 1, Done: true}, c.err
}

func (c *caretaker) Prune(ctx context.Context, accepted []usbhost.ID) (Pruned, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Pruned{Removed: 2, Freed: 5e9, Shrunk: []usbhost.ID{anna}}
	if slices.Contains(accepted, anna) {
		r.Shrunk = nil
	}
	return r, c.err
}

func (c *caretaker) Refresh(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh++
	return []string{"Stick: 2 files do not fit."}, nil
}

func (c *caretaker) Remembered(context.Context) (Upkeep, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pages) == 0 {
		return Upkeep{}, nil
	}
	return c.pages[len(c.pages)-1], nil
}

func (c *caretaker) Write(_ context.Context, u Upkeep) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	u.Checks = slices.Clone(u.Checks)
	for i := range u.Checks { // what JSON does to an instant
		u.Checks[i].Began.Clock = u.Checks[i].Began.Clock.Round(0)
		u.Checks[i].busy, u.Checks[i].wait, u.Checks[i].look = time.Time{}, time.Time{}, time.Time{}
	}
	u.Pruned.Clock = u.Pruned.Clock.Round(0)
	u.Drill.Began.Clock = u.Drill.Began.Clock.Round(0)
	u.Drill.busy, u.Drill.wait, u.Drill.look = time.Time{}, time.Time{}, time.Time{}
	c.pages = append(c.pages, u)
	return nil
}

func (c *caretaker) get(f func(*caretaker)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// withCaretaker runs a box that does its upkeep for as long as f takes.
func withCaretaker(t *testing.T, c *caretaker, enrolled []usbhost.ID, f func(b *bench)) {
	b := &bench{T: t, hub: &hub{make(chan usbhost.Phone), make(chan error)}, attic: c.attic, book: &book{}, ended: make(chan error, 1)}
	b.shed = &shed{attic: b.attic}
	for i, id := range enrolled {
		b.book.all = append(b.book.all, Enrolment{id, string(id), i + 1})
	}
	b.box = New(Config{Bus: b.hub, Vault: b.attic, Roster: b.book, Drives: b.shed, Keeper: c, Diary: c})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { b.ended <- b.box.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-b.ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	}()
	f(b)
}

// A life is a story with upkeep: jobs take the time that they would, and the vault is as told.
type life struct {
	*story
	health Health
	drives map[string]*caretaken
	hours  time.Duration // that a drive takes to be read whole
	prunes int
	heals  int
	drill  caretaken
	found  func(DrillEnded) DrillEnded // what drills find
	stays  int64                       // bytes that a heal cannot even out
	ends   func(ScrubEnded) ScrubEnded // what passes find
}

func newLife(t *testing.T, hours time.Duration) *life {
	l := &life{story: &story{t: t, now: time.Unix(1e9, 0)}, health: well(), drives: map[string]*caretaken{}, hours: hours}
	for _, d := range l.health.Drives {
		l.drives[d.ID] = &caretaken{}
	}
	l.ends = func(e ScrubEnded) ScrubEnded { return e }
	l.found = func(e DrillEnded) DrillEnded { return e }
	l.boot(Upkeep{})
	return l
}

func (l *life) boot(u Upkeep) {
	l.s = newState(l.now)
	l.then(0, Booted{Health: l.health, Upkeep: &u, Enrolled: []Enrolment{{anna, "Anna", 1}}})
}

// live lets d pass, a minute at a time.
func (l *life) live(d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); {
		switch job := l.s.Job; job.Kind {
		case JobCheck:
			l.then(0, Checked{Job: job.N, Health: l.health, Backups: []Backup{}})
		case JobHeal:
			l.heals++
			l.health.Unhealed, l.health.Now, l.health.Hurt = 0, l.health.Want, false
			l.health.Uneven = min(l.health.Uneven, l.stays)
			l.then(10*time.Minute, HealEnded{Job: job.N, Health: l.health})
		case JobScrub:
			l.scrubs(job)
		case JobDrill:
			l.drills(job)
		case JobPrune:
			l.prunes++
			l.then(time.Minute, PruneEnded{Job: job.N, Health: l.health})
		case JobRefresh:
			l.then(time.Second, RefreshEnded{Job: job.N})
		default:
			l.then(time.Minute, Tick{})
		}
	}
}

func (l *life) scrubs(job Job) {
	p := l.drives[job.Drive]
	if !p.began.Is(job.Pass) {
		p.began, p.read = job.Pass, 0
	}
	span := min(scrubSlice, l.hours-p.read)
	p.read += span
	if p.read == l.hours && span > 0 {
		p.full = append(p.full, l.now.Add(span))
	}
	l.then(span, l.ends(ScrubEnded{Job: job.N, Drive: job.Drive, Fraction: float64(p.read) / float64(l.hours), Done: p.read == l.hours, Health: l.health}))
}

// drills takes as long to decrypt everything as reading a drive takes.
func (l *life) drills(job Job) {
	p := &l.drill
	if !p.began.Is(job.Pass) {
		p.began, p.read = job.Pass, 0
	}
	span := min(scrubSlice, l.hours-p.read)
	p.read += span
	if p.read == l.hours && span > 0 {
		p.full = append(p.full, l.now.Add(span))
	}
	l.then(span, l.found(DrillEnded{Job: job.N, Drilled: Drilled{Fraction: float64(p.read) / float64(l.hours), Done: p.read == l.hours}, Health: l.health}))
}

const day = 24 * time.Hour

// night backs a phone up.
func (l *life) night() {
	l.plug(1, usbhost.Info{ID: anna})
	switch job := l.s.Job; job.Kind {
	case JobCheck:
		l.then(0, Checked{Job: job.N, Health: l.health})
	case JobScrub:
		l.then(0, ScrubEnded{Job: job.N, Drive: job.Drive, Err: context.Canceled})
	}
	l.runs(JobBackup).backedUp(l.health).then(time.Hour, PhoneLeft{1})
}

// In 70 days every drive is read whole at least twice; a little each day and not in one go.
func TestDrivesAreReadWholeEveryMonth(t *testing.T) {
	l := newLife(t, 10*time.Hour)
	begin := l.now
	for d := range 70 {
		before := *l.drives["d1"]
		l.live(day)
		if after := l.drives["d1"]; d > 2 && after.began.Is(before.began) && after.read-before.read > time.Hour {
			t.Errorf("day %d: read for %v", d, after.read-before.read)
		}
	}
	for id, d := range l.drives {
		if len(d.full) != 2 || d.full[0].Sub(begin) > 25*day || d.full[1].Sub(d.full[0]) > 31*day {
			t.Errorf("%s was read whole on %v", id, d.full)
			continue
		}
		if k, ok := l.s.CheckOf(id); !ok || k.Full == nil || k.Full.Bad > 0 || !k.Full.At.Clock.Equal(d.full[1]) {
			t.Errorf("%s: %+v", id, k)
		}
	}
}

// Switched off every morning and on in the evening, with a clock that wakes in 1970 each time, the box reads its drives all
// the same, by the hours that it was on.
func TestUpkeepCountsTheHoursThatTheBoxIsOn(t *testing.T) {
	l := newLife(t, 5*time.Minute)
	kept := Upkeep{}
	for range 70 {
		l.now = time.Unix(0, 0)
		l.boot(kept)
		l.live(12 * time.Hour)
		kept = l.s.Upkeep
	}
	for id, d := range l.drives {
		if len(d.full) != 2 {
			t.Errorf("in 35 days of 24 hours, %s was read whole %d times", id, len(d.full))
		}
	}
	if kept.Powered < 35*day || kept.Powered > 35*day+day/2 {
		t.Errorf("was on for %v", kept.Powered)
	}
}

// On for an hour a day only, but with a clock that goes on, the box reads its drives every month.
func TestUpkeepCountsTheDaysThatTheBoxIsOff(t *testing.T) {
	l := newLife(t, 20*time.Minute)
	for range 90 {
		l.live(time.Hour)
		l.now = l.now.Add(23 * time.Hour)
		l.boot(l.s.Upkeep)
	}
	for id, d := range l.drives {
		if n := len(d.full); n < 3 || n > 4 {
			t.Errorf("in 90 days %s was read whole %d times", id, n)
		}
	}
}

// A phone never waits for upkeep.
func TestABackupCancelsAScrubAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaretaker(newAttic(), time.Hour)
		withCaretaker(t, c, []usbhost.ID{anna}, func(b *bench) {
			b.wait("a scrub", func(s State) bool { return s.Job.Kind == JobScrub })
			time.Sleep(20 * time.Second)
			from := time.Now()
			b.plug(newHandset(anna, "a", "b"))
			b.until(Copying)
			if took := time.Since(from); took > time.Second {
				t.Errorf("the phone waited %v", took)
			}
			b.until(Done)
			s := b.box.State()
			if k, _ := s.CheckOf("d1"); k.Fraction < 0.005 || k.Done {
				t.Errorf("what was read before is forgotten: %+v", k)
			}
			time.Sleep(quietFor - time.Minute)
			if s := b.box.State(); s.Job.Kind != NoJob {
				t.Errorf("%s as soon as the phone is done", s.Job.Kind)
			}
		})
	})
}

// What a scrub finds is mended, looked at again, and told.
func TestAScrubThatFindsDamageLeadsToAHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaretaker(newAttic(), time.Minute)
		c.bad["d2"] = 3
		withCaretaker(t, c, nil, func(b *bench) {
			b.wait("a heal", func(s State) bool { return s.Heal != nil })
			if k, _ := b.box.State().CheckOf("d2"); k.Bad != 3 {
				t.Errorf("%+v", k)
			}
			c.get(func(c *caretaker) { c.bad["d2"] = 0 }) // the heal mends them
			s := b.wait("all is well", func(s State) bool {
				k, _ := s.CheckOf("d2")
				return s.Heal == nil && k.Done && k.Bad == 0
			})
			if k, _ := s.CheckOf("d2"); k.Full.Mended != 3 || k.Full.Bad != 0 {
				t.Errorf("%+v %+v", k, k.Full)
			}
			if len(s.Faults) > 0 || !strings.Contains(lines(s), "3 damaged files were found") {
				t.Errorf("faults %v, lines:\n%s", s.Faults, lines(s))
			}
		})
		// After a restart it still knows.
		withCaretaker(t, c, nil, func(b *bench) {
			b.until(Idle)
			if k, _ := b.box.State().CheckOf("d2"); k.Full == nil || k.Full.Mended != 3 {
				t.Errorf("after a restart %+v", k)
			}
		})
	})
}

func lines(s State) string {
	var b strings.Builder
	for _, l := range s.Lines {
		fmt.Fprintln(&b, l.Text)
	}
	return b.String()
}

// Damage beyond all parity is no secret, and the box does not wear itself out over it.
func TestAScrubThatFindsALossSaysSo(t *testing.T) {
	l := newLife(t, time.Minute)
	looks := 0
	l.ends = func(e ScrubEnded) ScrubEnded {
		if e.Drive == "d2" && e.Done {
			looks++
			e.Bad, e.Lost = 1, 1
		}
		return e
	}
	l.live(day)
	l.is(Problem).faults(DataLost)
	looks = 0
	l.live(day)
	if looks > 26 {
		t.Errorf("looked %d times in a day", looks)
	}
	l.health = without()
	l.health.Unhealed, l.health.Now = 0, 1
	l.live(2 * time.Minute)
	l.faults(DrivesNeeded)
	l.health, l.ends = well(), func(e ScrubEnded) ScrubEnded { return e }
	l.live(2 * time.Hour)
	l.is(Idle).faults()
}

// After a drive was lost and its shards were made anew, all others are read at once.
func TestAfterALossAllDrivesAreRead(t *testing.T) {
	l := newLife(t, 2*time.Hour)
	l.live(40 * day)
	before := len(l.drives["d1"].full)
	l.health.Unhealed, l.health.Now, l.health.Hurt = 1000, 0, true
	l.live(8 * time.Hour)
	for id, d := range l.drives {
		if k, _ := l.s.CheckOf(id); len(d.full) != before+1 || !k.Done || k.Urgent {
			t.Errorf("%s was read on %v: %+v", id, d.full, k)
		}
	}
	if l.heals != 1 {
		t.Errorf("%d heals", l.heals)
	}
	// A few rotten files, or a drive that was away and has to catch up, are no reason to read everything.
	l.health.Unhealed, l.health.Now = 3, 0
	l.live(8 * time.Hour)
	if n := len(l.drives["d1"].full); n != before+1 || l.heals != 2 {
		t.Errorf("read %d times, %d heals", n, l.heals)
	}
}

// Drives with room for all that comes are left alone. Where room is short and uneven they are evened out once nobody wants
// anything, and what cannot be moved is not tried again before a day, or before a drive comes.
func TestDrivesAreEvenedOutWhenAllIsQuiet(t *testing.T) {
	for _, tt := range []struct {
		name          string
		uneven, stays int64
		change        func(*Health)
		soon, days    int // heals in the first minutes, and in three days
	}{
		{"even drives", 0, 0, nil, 0, 0},
		{"all can be moved", 5 << 30, 0, nil, 0, 1},
		{"some of it cannot", 5 << 30, 1 << 30, nil, 0, 3},
		{"and it is protected too little", 5 << 30, 1 << 30, func(h *Health) { h.Unhealed, h.Now = 7, 0 }, 1, 3},
		{"with a drive away", 5 << 30, 5 << 30, func(h *Health) { h.Drives[2].State = DriveAway }, 0, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLife(t, 0)
			l.live(day)
			l.night()
			l.health.Uneven, l.stays = tt.uneven, tt.stays
			if tt.change != nil {
				tt.change(&l.health)
			}
			l.live(quietFor - 2*time.Minute)
			if l.heals != tt.soon {
				t.Errorf("%d heals while somebody may want something", l.heals)
			}
			l.live(3*day - time.Hour)
			if l.heals != tt.days {
				t.Errorf("%d heals in three days, want %d", l.heals, tt.days)
			}
		})
	}
	l := newLife(t, 0)
	l.health.Uneven, l.stays = 5<<30, 5<<30
	l.live(2 * time.Hour)
	l.health.Drives = append(slices.Clone(l.health.Drives), Drive{ID: "d4", Label: "D", State: DriveOK})
	l.drives["d4"], l.stays = &caretaken{}, 0
	l.live(time.Hour)
	if l.heals != 2 || l.health.Uneven > 0 {
		t.Errorf("%d heals once a drive came, %d bytes uneven", l.heals, l.health.Uneven)
	}
}

// Evening out gives way to a phone, and is called what it is.
func TestEveningOutGivesWayToAPhone(t *testing.T) {
	l := newLife(t, 0)
	l.live(day)
	l.health.Uneven = 5 << 30
	for range 10 {
		if job := l.s.Job; job.Kind == JobCheck {
			l.then(0, Checked{Job: job.N, Health: l.health})
		} else if job.Kind == NoJob {
			l.then(time.Minute, Tick{})
		}
	}
	l.runs(JobHeal)
	if l.s.Heal == nil || !l.s.Heal.Even {
		t.Errorf("%+v", l.s.Heal)
	}
	job := l.s.Job.N
	l.plug(1, usbhost.Info{ID: anna})
	if !l.s.Job.Cancel {
		t.Fatal("it goes on")
	}
	l.then(time.Second, HealEnded{Job: job, Err: context.Canceled}).runs(JobBackup).backedUp(l.health).runs(NoJob).then(time.Minute, PhoneLeft{1})
	l.live(quietFor + 2*time.Minute)
	if l.heals != 1 {
		t.Errorf("%d heals afterwards", l.heals)
	}
}

// What is found to be damaged right after a heal is mended at once.
func TestAHealAfterAHeal(t *testing.T) {
	st := tell(t)
	h := well()
	h.Unhealed = 5
	for range 3 {
		st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck).then(0, Checked{Job: st.s.Job.N, Health: h})
		st.runs(JobHeal).then(time.Second, HealEnded{Job: st.s.Job.N, Health: well()}).runs(NoJob)
	}
}

// A heal that cannot help is tried ever more rarely.
func TestAHealThatDoesNotHelpIsTriedMoreRarely(t *testing.T) {
	st := tell(t)
	h := well()
	h.Unhealed = 5
	tries := 0
	for end := st.now.Add(10 * day); st.now.Before(end); {
		st.then(time.Minute, Tick{})
		switch st.s.Job.Kind {
		case JobCheck:
			st.then(0, Checked{Job: st.s.Job.N, Health: h})
		case JobHeal:
			tries++
			st.then(time.Minute, HealEnded{Job: st.s.Job.N, Health: h})
		}
	}
	if tries < 10 || tries > 25 {
		t.Errorf("tried %d times in ten days", tries)
	}
}

// Old backups go once a week, if there are new ones.
func TestPruneOnceAWeek(t *testing.T) {
	l := newLife(t, time.Minute)
	l.live(30 * day)
	if l.prunes != 0 {
		t.Errorf("%d prunes without a backup", l.prunes)
	}
	for range 28 {
		l.night()
		l.live(day - time.Hour)
	}
	if l.prunes != 4 && l.prunes != 5 {
		t.Errorf("%d prunes in four weeks of backups", l.prunes)
	}
	l.prunes = 0
	l.live(20 * day)
	if l.prunes > 1 {
		t.Errorf("%d prunes after the last backup", l.prunes)
	}
	l.prunes = 0
	for i := range l.health.Drives {
		l.health.Drives[i].State = DriveFull
	}
	for range 4 {
		l.night()
		l.live(day)
	}
	if l.prunes < 3 {
		t.Errorf("%d prunes in four days on full drives", l.prunes)
	}
}

// A phone that shrank keeps its old backups until its owner says otherwise. What a refresh has to tell is told once.
func TestWhatUpkeepTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaretaker(newAttic(), time.Minute)
		c.pages = []Upkeep{{Powered: 8 * day, Pruned: Stamp{Powered: time.Hour}}}
		withCaretaker(t, c, []usbhost.ID{anna}, func(b *bench) {
			b.plug(newHandset(anna, "a"))
			s := b.wait("a prune", func(s State) bool { return len(s.Upkeep.Shrunk) > 0 })
			if !slices.Equal(s.Upkeep.Shrunk, []usbhost.ID{anna}) || !strings.Contains(lines(s), "far fewer files") || !strings.Contains(lines(s), "2 old backups were cleared away; 5.0 GB are free again.") {
				t.Errorf("%v\n%s", s.Upkeep.Shrunk, lines(s))
			}
			if err := b.box.Do(b.Context(), AcceptShrunk{ben}); err == nil {
				t.Error("a phone that did not shrink was accepted")
			}
			if err := b.box.Do(b.Context(), AcceptShrunk{anna}); err != nil {
				t.Error(err)
			}
			b.wait("the owner's word is followed", func(s State) bool { return len(s.Upkeep.Shrunk)+len(s.Upkeep.Accepted) == 0 })
			b.double() // back up again
			time.Sleep(time.Hour)
			if n := strings.Count(lines(b.box.State()), "Stick: 2 files"); n != 1 || c.refresh < 2 {
				t.Errorf("told %d times of the plain drive, in %d refreshes", n, c.refresh)
			}
		})
	})
}

// Upkeep that fails is left for a while, and the rest goes on.
func TestUpkeepThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaretaker(newAttic(), time.Minute)
		c.err = fmt.Errorf("caretaker: %w", storage.ErrUnavailable)
		withCaretaker(t, c, []usbhost.ID{anna}, func(b *bench) {
			b.plug(newHandset(anna, "a"))
			b.until(Done)
			time.Sleep(4 * time.Hour)
			if c.slices > 3*5 {
				t.Errorf("%d tries in four hours", c.slices)
			}
			b.until(Done) // and nothing to frighten people with
			c.get(func(c *caretaker) { c.err = nil })
			time.Sleep(time.Hour)
			b.wait("the drives are read", func(s State) bool { k, _ := s.CheckOf("d3"); return k.Done })
		})
	})
}

func TestStampSince(t *testing.T) {
	at := func(hours int, clock int64) Stamp {
		return Stamp{time.Duration(hours) * time.Hour, time.Unix(clock, 0)}
	}
	for _, c := range []struct {
		now, then Stamp
		want      time.Duration
	}{
		{at(10, 36000), at(2, 7200), 8 * time.Hour}, // both clocks agree
		{at(10, 0), at(2, 1e9), 8 * time.Hour},      // the clock woke in 1970
		{at(10, 360000), at(9, 0), 100 * time.Hour}, // the box was off for days
		{at(9, 0), at(9, 3600), 0},                  // the clock was set back
	} {
		if got := c.now.Since(c.then); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.then, c.now, got, c.want)
		}
	}
}
