package firmware

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// A world throws random events at a State and keeps, in its own way, the few facts that the promises rest on.
type world struct {
	r   *rand.Rand
	now time.Time
	s   State

	ports   map[int]usbhost.ID // what is plugged in; "" before it said who it is
	next    int
	good    map[usbhost.ID]bool // the last run since it was plugged in ended with every file stored and read back
	clock   bool                // is trusted
	healthy bool                // what the vault said last
	backed  map[usbhost.ID]bool // has a snapshot, or is enrolled

	// The guard, followed by hand from the gestures alone.
	lone     time.Time // since when the same single stranger has been the only thing attached
	armedAt  time.Time // when a hold of ArmAfter was let go with that stranger attached
	looked   bool      // it was found new
	confirms bool      // a double tap came within ConfirmFor of that

	seen   map[Phase]bool
	nights int   // runs at night that came to nothing and must do no harm
	err    error // the first broken promise
}

func newWorld(seed uint64) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1e6, 0), ports: map[int]usbhost.ID{}, good: map[usbhost.ID]bool{}, backed: map[usbhost.ID]bool{}, seen: map[Phase]bool{}}
	w.s = newState(w.now)
	w.s.memory.updates = seed%4 == 0
	b := Booted{Health: w.health()}
	if w.r.IntN(2) == 0 {
		b.Upkeep = &Upkeep{}
	}
	for i, id := range []usbhost.ID{anna, ben} {
		if w.r.IntN(3) > 0 {
			b.Enrolled = append(b.Enrolled, Enrolment{id, "P", i + 1})
			w.backed[id] = true
			if w.r.IntN(3) > 0 {
				b.Backups = append(b.Backups, snapshot(id, uint64(i+1), w.r.IntN(2) == 0))
			}
		}
	}
	w.tell(b)
	return w
}

// tell lets e happen and looks at once for a broken promise.
func (w *world) tell(e Event) {
	was := w.s.Job
	w.s = w.s.Next(w.now, e)
	w.seen[w.s.Phase] = true
	if w.err == nil {
		w.err = w.check()
	}
	if job := w.s.Job; job.Again && job.N != was.N && !w.good[job.Phone] && w.err == nil {
		w.err = fmt.Errorf("backs %s up again that was not backed up", job.Phone)
	}
	if w.s.Job.Kind == JobRestore && w.backed[w.s.Job.Phone] && w.err == nil {
		w.err = fmt.Errorf("restores onto %s, which is backed up or was", w.s.Job.Phone)
	}
	if w.s.Job.Kind == JobRestore && w.s.Job.N != was.N && !w.confirms && !w.s.Job.Resume && w.err == nil {
		w.err = fmt.Errorf("restores without the full guard: lone %v, armed %v, looked %v", w.lone, w.armedAt, w.looked)
	}
}

// health is what the vault says next; most of the time all is well.
func (w *world) health() Health {
	h := well()
	switch w.r.IntN(8) {
	case 0:
		h = without()
	case 1:
		h.Lost = 1
	case 2:
		h.Now = -1
	case 3:
		h.Drives[0].State, h.Healable, h.Unhealed = DriveFailing, true, 5
	}
	w.healthy = h.Lost == 0 && h.Now >= h.Want
	return h
}

var someErrors = []error{usbhost.ErrUnplugged, usbhost.ErrLocked, storage.ErrFull, storage.ErrCorrupt, storage.ErrUnavailable, context.Canceled, fmt.Errorf("odd"), ErrIncomplete}

func (w *world) anError() error { return someErrors[w.r.IntN(len(someErrors))] }

// step lets one random thing happen.
func (w *world) step() {
	w.now = w.now.Add([]time.Duration{3 * time.Millisecond, 707 * time.Millisecond, 2003 * time.Millisecond, 61 * time.Second}[min(w.r.IntN(40)/12, 3)])
	if w.s.memory.upkeep && w.r.IntN(30) == 0 {
		w.now = w.now.Add(time.Duration(w.r.IntN(9)) * 24 * time.Hour) // a dull week
	}
	switch n := w.r.IntN(20); {
	case n < 6 && w.s.Job.Kind != NoJob:
		w.jobEnds()
	case n < 8:
		w.plugs()
	case n < 9:
		w.unplugs()
	case n < 17:
		w.presses()
	case n < 18:
		w.tell(Asked{[]Command{BackUpNow{}, EnrolPhone{ben}, CheckDrives{}, Acknowledge{}, AdoptDrive{"d1"}, ForgetPhone{ben}}[w.r.IntN(6)]})
		if w.s.Allows(UpdateFound{"2"}) == nil {
			w.tell(Asked{UpdateFound{"2"}})
		}
	case n < 19:
		w.tell(Tick{w.clock})
	default:
		w.now = w.now.Add(time.Duration(w.r.IntN(9)) * time.Hour) // a night, or part of one
		w.clock = w.r.IntN(4) > 0
		w.tell(Tick{w.clock})
	}
	w.follow()
}

func (w *world) plugs() {
	for port, id := range w.ports {
		if id == "" {
			id = []usbhost.ID{anna, ben, fresh, fresh, fresh, "mtp:OTHER"}[w.r.IntN(6)]
			for _, o := range w.ports {
				if o == id {
					id = "" // two phones of one name have a test of their own
				}
			}
			w.ports[port] = id
			if id != "" {
				w.good[id] = false
				w.tell(PhoneIdentified{port, usbhost.Info{ID: id, Locked: w.r.IntN(4) == 0}})
			}
			return
		}
		if w.r.IntN(2) == 0 {
			w.tell(PhoneIdentified{port, usbhost.Info{ID: id, Locked: w.r.IntN(4) == 0}})
			return
		}
	}
	if len(w.ports) < 1+w.r.IntN(2) {
		w.next++
		w.ports[w.next] = ""
		w.tell(PhoneArrived{w.next})
	}
}

func (w *world) unplugs() {
	for port := range w.ports {
		delete(w.ports, port)
		w.tell(PhoneLeft{port})
		return
	}
}

// presses does something to the button; a long hold is told in steps, with time for other things to have happened before.
func (w *world) presses() {
	switch w.r.IntN(6) {
	case 0:
		w.tell(Pressed{Gesture{Kind: Tap}})
	case 1, 2:
		// The double tap that may confirm: noted before the State hears of it.
		if !w.armedAt.IsZero() && w.now.Sub(w.armedAt) < ConfirmFor && w.looked {
			w.confirms = true
		}
		w.tell(Pressed{Gesture{Kind: DoubleTap}})
	default:
		w.holds()
	}
}

func (w *world) holds() {
	start := w.now
	if w.armedAt.IsZero() {
		w.looked = false
	}
	w.tell(Pressed{Gesture{Kind: Press}})
	steps := w.r.IntN(8)
	for i := 1; i <= steps; i++ {
		w.now = start.Add(time.Duration(i) * HoldStep)
		w.tell(Pressed{Gesture{Hold, w.now.Sub(start)}})
		if w.s.Job.Kind == JobProbe {
			w.jobEnds()
		}
		if w.r.IntN(20) == 0 {
			w.unplugs()
		}
		if w.r.IntN(30) == 0 {
			w.plugs()
		}
		w.follow()
	}
	w.now = w.now.Add(500 * time.Millisecond)
	held := w.now.Sub(start)
	if held >= StopAfter && held < StopUntil { // shutting down would end the story too soon
		held = 2503 * time.Millisecond
	}
	w.follow()
	if held >= ArmAfter && w.looked && !w.lone.IsZero() && !w.lone.After(start.Add(HoldStep)) {
		w.armedAt = w.now
	} else if held >= StopAfter && held < ArmAfter {
		w.armedAt, w.confirms = time.Time{}, false
	}
	w.tell(Pressed{Gesture{Release, held}})
}

// follow keeps the guard's facts: a change of what is plugged in ends everything.
func (w *world) follow() {
	var only usbhost.ID
	for _, id := range w.ports {
		only = id
	}
	if len(w.ports) != 1 || only == "" || w.backed[only] {
		w.lone, w.armedAt, w.confirms, w.looked = time.Time{}, time.Time{}, false, false
	} else if w.lone.IsZero() {
		w.lone = w.now
	}
}

// jobEnds lets the running job end in some way.
func (w *world) jobEnds() {
	job := w.s.Job
	if w.r.IntN(12) == 0 {
		job.N += uint64(w.r.IntN(3)) - 1 // the end of another job, which must change nothing
	}
	fails := w.r.IntN(3) == 0 || job.Cancel
	switch job.Kind {
	case JobBackup:
		w.backupEnds(job, fails)
	case JobCheck:
		e := Checked{Job: job.N, Health: w.health()}
		if job.N != w.s.Job.N {
			w.healthy = w.s.Health.Protected()
		}
		w.tell(e)
	case JobEnrol:
		e := EnrolEnded{Job: job.N, Enrolment: job.Enrolment}
		if fails {
			e.Err = w.anError()
		} else if job.N == w.s.Job.N {
			w.backed[job.Phone] = true
		}
		w.tell(e)
	case JobForget:
		e := ForgetEnded{Job: job.N, Phone: job.Phone}
		if fails {
			e.Err = w.anError()
		} else if job.N == w.s.Job.N {
			w.backed[job.Phone] = slices.ContainsFunc(w.s.Backups, func(b Backup) bool { return b.Phone == job.Phone })
		}
		w.tell(e)
	case JobHeal:
		e := HealEnded{Job: job.N}
		if fails {
			e.Err = w.anError()
		} else if e.Health = w.health(); job.N != w.s.Job.N {
			w.healthy = w.s.Health.Protected()
		}
		w.tell(e)
	case JobScrub:
		e := ScrubEnded{Job: job.N, Drive: job.Drive, Fraction: w.r.Float64(), Done: w.r.IntN(2) == 0, Bad: w.r.IntN(3) / 2}
		if fails {
			e.Err, e.Done = w.anError(), false
		} else if e.Health = w.health(); job.N != w.s.Job.N {
			w.healthy = w.s.Health.Protected()
		}
		if e.Bad > 0 && w.r.IntN(8) == 0 && job.N == w.s.Job.N {
			e.Lost = 1
		}
		w.tell(e)
	case JobDrill:
		e := DrillEnded{Job: job.N, Drilled: Drilled{Fraction: w.r.Float64(), Done: w.r.IntN(2) == 0, Bad: w.r.IntN(8) / 7}}
		if fails {
			e.Err, e.Done = w.anError(), false
		} else if e.Health = w.health(); job.N != w.s.Job.N {
			w.healthy = w.s.Health.Protected()
		}
		w.tell(e)
	case JobPrune:
		e := PruneEnded{Job: job.N, Removed: w.r.IntN(2), Shrunk: []usbhost.ID{anna}[:w.r.IntN(2)]}
		if fails {
			e.Err = w.anError()
		}
		w.tell(e)
	case JobRefresh:
		e := RefreshEnded{Job: job.N}
		if fails {
			e.Err = w.anError()
		}
		w.tell(e)
	case JobUpdate: // it always fails: the start anew would end the story
		w.tell(UpdateEnded{job.N, w.anError()})
	case JobProbe:
		e := Probed{Job: job.N, Port: job.Port, Fresh: !fails, Why: "full"}
		if job.N == w.s.Job.N {
			w.looked = e.Fresh
		}
		w.tell(e)
	case JobRestore:
		e := RestoreEnded{Job: job.N, Report: whole(3)}
		if fails {
			e.Err = w.anError()
		}
		w.tell(e)
		if job.N == w.s.Job.N {
			w.armedAt, w.confirms = time.Time{}, false
		}
	}
}

func (w *world) backupEnds(job Job, fails bool) {
	e := BackupEnded{Job: job.N, Phone: job.Phone, Report: whole(3), Health: w.health(), Verified: true}
	if job.N != w.s.Job.N {
		w.healthy = w.s.Health.Protected()
	}
	good := true
	b := snapshot(job.Phone, 1000+w.s.Job.N, true)
	if fails {
		good = false
		switch w.r.IntN(4) {
		case 0:
			e.Err = w.anError()
		case 1:
			e.Report.Problems = []usbhost.Problem{{Name: "x", Listed: true}}
			e.Report.Stored--
			b.Complete = false
		case 2:
			e.Verified = false
		case 3:
			e.Report.Listed++
		}
	}
	if w.r.IntN(6) > 0 || good {
		e.Backup = &b
		w.backed[job.Phone] = true
	}
	// A run at night that is cut short by whoever takes the phone, or that meets it locked, leaves the earlier one standing.
	harmless := job.Again && e.Err != nil && (errors.Is(e.Err, usbhost.ErrUnplugged) || errors.Is(e.Err, usbhost.ErrLocked))
	if current := job.N == w.s.Job.N; current && !harmless {
		w.good[job.Phone] = good
	} else if current {
		w.nights++
		defer func() {
			if p, _ := w.s.Phone(job.Phone); p.Fault != nil && w.err == nil {
				w.err = fmt.Errorf("a phone that was done is at fault for its night: %+v", p.Fault)
			}
		}()
	}
	w.tell(e)
}

// check looks for a broken promise.
func (w *world) check() error {
	switch w.s.Phase {
	case Done:
		if !w.healthy {
			return fmt.Errorf("says done without protection")
		}
		for _, c := range w.s.Upkeep.Checks {
			if c.Lost > 0 {
				return fmt.Errorf("says done although a check found that something is lost")
			}
		}
		if w.s.Upkeep.Drill.Bad+w.s.Upkeep.Drill.Lost > 0 {
			return fmt.Errorf("says done although the drill found that something cannot be restored")
		}
		n := 0
		for _, id := range w.ports {
			if p, ok := w.s.Phone(id); ok && p.Enrolled {
				n++
				if !w.good[id] {
					return fmt.Errorf("says done, but %s is not", id)
				}
			}
		}
		if n == 0 {
			return fmt.Errorf("says done to nobody")
		}
	case Restoring:
		if w.s.Job.Kind != JobRestore {
			return fmt.Errorf("restoring without a job")
		}
	}
	if (w.s.Job.Kind.upkeep() || w.s.Job.Kind == JobUpdate) && !w.s.Job.Cancel {
		for _, p := range w.s.Phones {
			if p.due && p.Enrolled && !p.Locked && p.Attached() && w.s.Restore == nil && !w.s.memory.locked {
				return fmt.Errorf("%s waits for upkeep", p.ID)
			}
		}
	}
	if p, ok := w.s.CurrentPhone(); ok && w.s.Phase == Waiting && p.again {
		return fmt.Errorf("wakes the owner of %s for a run that can wait", p.ID)
	}
	if len(w.s.Lines) > MaxLines || len(w.s.Backups) > MaxBackups {
		return fmt.Errorf("grows")
	}
	return nil
}

// boxKeepsItsPromises plays one random life.
func boxKeepsItsPromises(seed uint64) (seen map[Phase]bool, nights int, err error) {
	w := newWorld(seed)
	for i := range 250 {
		w.step()
		if w.err != nil {
			return w.seen, 0, fmt.Errorf("seed %d, step %d: %w", seed, i, w.err)
		}
	}
	return w.seen, w.nights, nil
}

func TestBoxKeepsItsPromises(t *testing.T) {
	count, nights := map[Phase]int{}, 0
	for seed := range uint64(1000) {
		seen, n, err := boxKeepsItsPromises(seed)
		if err != nil {
			t.Fatal(err)
		}
		nights += n
		for p := range seen {
			count[p]++
		}
	}
	// A model that never gets anywhere proves nothing.
	for _, p := range []Phase{Idle, Asking, Waiting, Copying, Done, Problem, Arming, Confirming, Restoring, Restored, Updating} {
		if count[p] < 20 {
			t.Errorf("only %d of 1000 lives came to %q", count[p], p)
		}
	}
	if nights < 10 {
		t.Errorf("only %d runs at night came to nothing", nights)
	}
}

func FuzzBoxKeepsItsPromises(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		if _, _, err := boxKeepsItsPromises(seed); err != nil {
			t.Fatal(err)
		}
	})
}
