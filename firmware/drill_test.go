package firmware

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// newDriller is a life with snapshots to decrypt.
func newDriller(t *testing.T, hours time.Duration) *life {
	l := newLife(t, hours)
	l.health.Snapshots = 3
	return l
}

// comesTo lets time pass until a job begins.
func (l *life) comesTo(kind JobKind) {
	l.t.Helper()
	for end := l.now.Add(day); l.s.Job.Kind != kind; l.live(1) {
		if l.now.After(end) {
			l.t.Fatalf("no %s in a day", kind)
		}
	}
}

// Without a person, all that is stored is decrypted every month: a little each day, and never while a phone is being backed up.
func TestEverythingIsDecryptedEveryMonth(t *testing.T) {
	l := newDriller(t, 10*time.Hour)
	begin := l.now
	for d := range 70 {
		if d%7 == 0 {
			l.night()
		}
		before := l.drill
		l.live(day)
		if after := l.drill; d > 2 && after.began.Is(before.began) && after.read-before.read > time.Hour {
			t.Errorf("day %d: read for %v", d, after.read-before.read)
		}
	}
	full := l.drill.full
	if len(full) != 2 || full[0].Sub(begin) > 25*day || full[1].Sub(full[0]) > 31*day {
		t.Fatalf("decrypted on %v", full)
	}
	if at, verdict := l.s.Upkeep.LastDrill(); !at.Equal(full[1]) || verdict != "all of it can be restored" {
		t.Errorf("it remembers %v, %q", at, verdict)
	}
	if n := strings.Count(lines(l.s), "all of it can be restored"); n != 1 && n != 2 {
		t.Errorf("told %d times:\n%s", n, lines(l.s))
	}
}

// A vault without a snapshot, or with too few drives here to read it, is left alone.
func TestADrillNeedsSomethingToRead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Health)
	}{
		{"no snapshot", func(h *Health) { h.Snapshots = 0 }},
		{"too few drives", func(h *Health) { h.Now = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newDriller(t, time.Minute)
			tt.change(&l.health)
			l.live(2 * day)
			if l.drill.read > 0 {
				t.Errorf("read for %v", l.drill.read)
			}
		})
	}
}

// A phone ends a drill at once, and it goes on where it was once all is quiet.
func TestADrillGivesWayToAPhone(t *testing.T) {
	l := newDriller(t, 10*time.Minute)
	l.comesTo(JobDrill)
	job := l.s.Job
	l.plug(1, usbhost.Info{ID: anna})
	if !l.s.Job.Cancel {
		t.Fatal("it goes on")
	}
	l.then(time.Second, DrillEnded{Job: job.N, Drilled: Drilled{Fraction: 0.4}, Err: context.Canceled}).runs(JobBackup).backedUp(l.health)
	if got := l.s.Upkeep.Drill; got.Fraction < 0.4 || !got.Began.Is(job.Pass) {
		t.Errorf("what was read is forgotten: %+v", got)
	}
	l.then(time.Minute, PhoneLeft{1})
	l.live(time.Hour)
	if got := l.s.Upkeep.Drill; !got.Done || !got.Began.Is(job.Pass) {
		t.Errorf("it did not go on: %+v", got)
	}
}

// What cannot be decrypted is a fault from the moment it is met, through restarts, until a look that comes once a day finds it
// whole.
func TestADrillThatFindsDamage(t *testing.T) {
	l := newDriller(t, time.Minute)
	looks := 0
	l.found = func(e DrillEnded) DrillEnded {
		looks++
		e.Bad = 1
		if e.Done {
			e.Hit = 3
		}
		return e
	}
	l.comesTo(JobDrill)
	l.drills(l.s.Job)
	l.is(Problem).faults(DataLost)
	l.live(day / 2)
	l.is(Problem).faults(DataLost)
	if !strings.Contains(lines(l.s), "3 files could not be restored whole") {
		t.Errorf("not told:\n%s", lines(l.s))
	}
	kept := l.s.Upkeep
	l.boot(kept)
	l.is(Problem).faults(DataLost)
	if _, verdict := l.s.Upkeep.LastDrill(); verdict != "not all of it can be restored" {
		t.Errorf("after a restart it says %q", verdict)
	}
	looks = 0
	l.live(4 * day)
	if looks < 3 || looks > 6 {
		t.Errorf("looked %d times in four days", looks)
	}
	l.found = func(e DrillEnded) DrillEnded { return e }
	l.live(day + time.Hour)
	l.is(Idle).faults()
}

// Damage that is met while a drive goes is not believed, and a drill that fails is left for a while.
func TestADrillThatCannotKnow(t *testing.T) {
	l := newDriller(t, time.Minute)
	l.found = func(e DrillEnded) DrillEnded {
		l.health = without()
		l.health.Snapshots, l.health.Now = 3, -1
		e.Bad, e.Hit, e.Health = 5, 7, l.health
		return e
	}
	l.comesTo(JobDrill)
	l.live(2 * time.Minute)
	if c := l.s.Upkeep.Drill; c.Bad+c.Lost > 0 || c.Done {
		t.Errorf("%+v", c)
	}
	l.faults(DrivesNeeded)
	l = newDriller(t, time.Minute)
	tries := 0
	l.found = func(e DrillEnded) DrillEnded {
		tries++
		e.Done, e.Err = false, errors.New("the drives do not answer")
		return e
	}
	l.live(day)
	if tries < 10 || tries > 25 {
		t.Errorf("%d tries in a day", tries)
	}
	l.is(Idle).faults()
}
