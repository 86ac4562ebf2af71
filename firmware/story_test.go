package firmware

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// story is a State and the time that has passed in it.
type story struct {
	t   *testing.T
	now time.Time
	s   State
}

// well is a healthy vault over three drives.
func well() Health {
	return Health{Known: true, Want: 1, Now: 1, Healable: true, Drives: []Drive{
		{ID: "d1", Label: "A", State: DriveOK}, {ID: "d2", Label: "B", State: DriveOK}, {ID: "d3", Label: "C", State: DriveOK}}}
}

// without is a healthy vault with one drive gone.
func without() Health {
	h := well()
	h.Now, h.Unhealed, h.Healable = 0, 1000, false
	h.Drives[1].State = DriveAway
	return h
}

const (
	anna  = usbhost.ID("mtp:ANNA")
	ben   = usbhost.ID("mtp:BEN")
	fresh = usbhost.ID("mtp:NEW")
)

func snapshot(id usbhost.ID, gen uint64, complete bool) Backup {
	return Backup{ID: fmt.Sprintf("%s-%d", id, gen), Phone: id, Name: string(id), Generation: gen, Files: 3, Complete: complete}
}

// tell begins a story with a box that knows the phones given, in order of enrolment; each has a complete snapshot.
func tell(t *testing.T, enrolled ...usbhost.ID) *story {
	b := Booted{Health: well()}
	for i, id := range enrolled {
		b.Enrolled = append(b.Enrolled, Enrolment{id, string(id), i + 1})
		b.Backups = append(b.Backups, snapshot(id, uint64(i+1), true))
	}
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	return st.then(0, b)
}

func (st *story) then(after time.Duration, events ...Event) *story {
	st.now = st.now.Add(after)
	for _, e := range events {
		st.s = st.s.Next(st.now, e)
	}
	return st
}

func (st *story) plug(port int, info usbhost.Info) *story {
	return st.then(time.Second, PhoneArrived{port}, PhoneIdentified{port, info})
}

// wait lets d pass with nothing happening: the vault, when asked, is as before.
func (st *story) wait(d time.Duration) *story {
	st.then(d, Tick{})
	if st.s.Job.Kind == JobCheck {
		st.then(0, Checked{Job: st.s.Job.N, Health: st.s.Health})
	}
	return st
}

func (st *story) is(want Phase) *story {
	st.t.Helper()
	if st.s.Phase != want {
		st.t.Fatalf("phase %q, want %q; job %+v, faults %v", st.s.Phase, want, st.s.Job, st.s.Faults)
	}
	return st
}

func (st *story) runs(want JobKind) *story {
	st.t.Helper()
	if st.s.Job.Kind != want {
		st.t.Fatalf("runs %q, want %q; phase %s", st.s.Job.Kind, want, st.s.Phase)
	}
	return st
}

func (st *story) faults(want ...Code) *story {
	st.t.Helper()
	var got []Code
	for _, f := range st.s.Faults {
		got = append(got, f.Code)
	}
	if !slices.Equal(got, want) {
		st.t.Fatalf("faults %v, want %v", got, want)
	}
	return st
}

func (st *story) tap() *story { return st.then(time.Second, Pressed{Gesture{Kind: Tap}}) }

func (st *story) double() *story { return st.then(time.Second, Pressed{Gesture{Kind: DoubleTap}}) }

// hold presses for d, telling what a recogniser would.
func (st *story) hold(d time.Duration) *story {
	st.press(d)
	return st.then(0, Pressed{Gesture{Release, d}})
}

// press presses for d and does not let go; looks into phones find them new.
func (st *story) press(d time.Duration) *story {
	st.then(time.Second, Pressed{Gesture{Kind: Press}})
	for h := HoldStep; h <= d; h += HoldStep {
		st.then(HoldStep, Pressed{Gesture{Hold, h}})
		if st.s.Job.Kind == JobProbe {
			st.then(0, Probed{Job: st.s.Job.N, Port: st.s.Job.Port, Fresh: true})
		}
	}
	return st.then(d % HoldStep)
}

func whole(n int) usbhost.Report { return usbhost.Report{Listed: n, Stored: n, Bytes: 1000} }

// backedUp is the end of the running backup, all well.
func (st *story) backedUp(h Health) *story {
	b := snapshot(st.s.Job.Phone, 100+st.s.Job.N, true)
	return st.then(time.Second, BackupCommitted{st.s.Job.N, b},
		BackupEnded{Job: st.s.Job.N, Phone: st.s.Job.Phone, Report: whole(3), Backup: &b, Verified: true, Health: h})
}
