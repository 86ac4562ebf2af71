package firmware

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

func TestRestoreByButton(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: fresh, Name: "New"}).wait(AskFor).is(Idle)
	st.press(4 * time.Second).is(Arming)
	st.then(0, Pressed{Gesture{Release, 4 * time.Second}}).is(Stopping) // that was a shutdown
	st = tell(t, anna).plug(1, usbhost.Info{ID: fresh, Name: "New"})
	st.hold(11 * time.Second).is(Confirming)
	if want := st.now.Add(ConfirmFor); !st.s.Until.Equal(want) || st.s.Restore.Source != anna {
		t.Errorf("until %v, want %v; source %q", st.s.Until, want, st.s.Restore.Source)
	}
	st.double().is(Restoring).runs(JobRestore)
	if j := st.s.Job; j.Phone != fresh || j.Source != anna || j.Port != 1 {
		t.Errorf("job %+v", j)
	}
	st.then(time.Second, RestoreEnded{Job: st.s.Job.N, Report: whole(3)}).is(Restored).faults()
	told := len(st.s.Lines)
	if st.press(100*time.Millisecond).then(0, Pressed{Gesture{Kind: Release, Held: 100 * time.Millisecond}}).is(Restored); len(st.s.Lines) != told {
		t.Errorf("a press after the restore says: %s", st.s.Lines[told:][0].Text)
	}
	st.then(time.Minute, PhoneLeft{1}).is(Idle)
}

func TestTheRestoreGuard(t *testing.T) {
	target := usbhost.Info{ID: fresh, Name: "New"}
	for _, tt := range []struct {
		name string
		do   func(*testing.T) *story
		want Phase
	}{
		{"held too short", func(t *testing.T) *story {
			return tell(t, anna).plug(1, target).wait(AskFor).hold(9993 * time.Millisecond)
		}, Idle},
		{"no phone", func(t *testing.T) *story { return tell(t, anna).hold(11 * time.Second) }, Idle},
		{"two phones", func(t *testing.T) *story {
			return tell(t, anna).plug(1, target).plug(2, usbhost.Info{ID: ben}).wait(AskFor).is(Asking).wait(AskFor).hold(11 * time.Second)
		}, Idle},
		{"a second phone that has not said who it is", func(t *testing.T) *story {
			return tell(t, anna).plug(1, target).wait(AskFor).then(0, PhoneArrived{2}).hold(11 * time.Second)
		}, Idle},
		{"nothing to restore", func(t *testing.T) *story { return tell(t).plug(1, target).wait(AskFor).hold(11 * time.Second) }, Idle},
		{"a phone that the box backs up", func(t *testing.T) *story {
			return tell(t, anna, ben).plug(1, usbhost.Info{ID: ben}).backedUp(well()).hold(11 * time.Second)
		}, Done},
		{"a phone that has snapshots but is not enrolled", func(t *testing.T) *story {
			st := tell(t, anna)
			st.s = newState(st.now)
			return st.then(0, Booted{Backups: []Backup{snapshot(anna, 1, true)}, Health: well()}).plug(1, usbhost.Info{ID: anna}).wait(AskFor).hold(11 * time.Second)
		}, Idle},
		{"not let go", func(t *testing.T) *story { return tell(t, anna).plug(1, target).press(11 * time.Second).double() }, Arming},
		{"not confirmed", func(t *testing.T) *story {
			return tell(t, anna).plug(1, target).wait(AskFor).hold(11 * time.Second).wait(ConfirmFor)
		}, Idle},
		{"confirmed too late, before any tick", func(t *testing.T) *story {
			st := tell(t, anna).plug(1, target).wait(AskFor).hold(11 * time.Second)
			return st.then(ConfirmFor, Pressed{Gesture{Kind: DoubleTap}})
		}, Idle},
		{"confirmed by a single tap", func(t *testing.T) *story { return tell(t, anna).plug(1, target).hold(11 * time.Second).tap() }, Confirming},
		{"no source chosen", func(t *testing.T) *story {
			return tell(t, anna, ben).plug(1, target).hold(11 * time.Second).double()
		}, Confirming},
		{"called off", func(t *testing.T) *story {
			return tell(t, anna).plug(1, target).wait(AskFor).hold(11 * time.Second).hold(3503 * time.Millisecond)
		}, Idle},
		{"the phone was swapped", func(t *testing.T) *story {
			st := tell(t, anna).plug(1, target).hold(11 * time.Second)
			return st.then(0, PhoneLeft{1}).plug(2, usbhost.Info{ID: "mtp:OTHER"}).wait(AskFor).double()
		}, Idle},
		{"another phone came", func(t *testing.T) *story {
			st := tell(t, anna).plug(1, target).wait(AskFor).hold(11 * time.Second)
			return st.then(time.Second, PhoneArrived{2}).double()
		}, Idle},
		{"the vault is locked", func(t *testing.T) *story {
			st := tell(t, anna)
			st.then(0, Asked{CheckDrives{}}, Checked{Job: st.s.Job.N + 1, Err: ErrVaultLocked})
			return st.plug(1, target).hold(11 * time.Second)
		}, VaultLocked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := tt.do(t).is(tt.want)
			if st.s.Job.Kind == JobRestore {
				t.Error("restores")
			}
		})
	}
}

// The owner's Policy is asked when the button has been held long enough, and again when the restore is confirmed.
func TestThePolicyForRestoresByButton(t *testing.T) {
	target := usbhost.Info{ID: fresh, Name: "New"}
	start := func(answer ButtonRestore) *story {
		st := tell(t, anna)
		st.s = newState(st.now)
		return st.then(0, Booted{Policy: Policy{RestoreByButton: answer}, Health: well(), Backups: []Backup{snapshot(anna, 1, true)},
			Enrolled: []Enrolment{{anna, "Anna's", 1}}}).plug(1, target).wait(AskFor)
	}
	stick := func(st *story, in bool) *story {
		h := well()
		h.KeyStick = in
		return st.then(time.Second, Asked{CheckDrives{}}).then(0, Checked{Job: st.s.Job.N, Health: h})
	}
	start(ButtonYes).hold(11 * time.Second).is(Confirming).double().runs(JobRestore)
	start(ButtonNo).hold(11 * time.Second).is(Problem).faults(RestoreNotByButton).double().runs(NoJob)
	stick(start(ButtonNo), true).hold(11 * time.Second).is(Problem).faults(RestoreNotByButton)
	start(ButtonKeyStick).hold(11 * time.Second).is(Problem).faults(RestoreWantsStick).double().runs(NoJob)
	stick(start(ButtonKeyStick), true).hold(11 * time.Second).is(Confirming).double().runs(JobRestore)
	st := stick(start(ButtonKeyStick), true).hold(11 * time.Second).is(Confirming)
	stick(st, false).double().is(Problem).faults(RestoreWantsStick).runs(NoJob)
}

func TestAPhoneThatIsNotEmptyIsRefused(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: fresh}).then(time.Second, Pressed{Gesture{Kind: Press}})
	st.then(2*time.Second, Pressed{Gesture{Hold, 2 * time.Second}}).is(Arming).runs(JobProbe)
	st.then(time.Second, Probed{Job: st.s.Job.N, Port: 1, Why: "it holds files"}).faults(RestoreRefused)
	st.then(7*time.Second, Pressed{Gesture{Hold, 10 * time.Second}}, Pressed{Gesture{Release, 10 * time.Second}}).runs(NoJob)
	if f, _ := st.s.Fault(); !strings.Contains(f.Detail, "it holds files") {
		t.Errorf("fault %+v", f)
	}
	st.double().runs(NoJob)
}

func TestALateLookIntoThePhoneArms(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: fresh}).then(time.Second, Pressed{Gesture{Kind: Press}})
	st.then(2*time.Second, Pressed{Gesture{Hold, 2 * time.Second}})
	st.then(9*time.Second, Probed{Job: st.s.Job.N, Port: 1, Fresh: true})
	if !st.s.Restore.Armed {
		t.Fatal("not armed")
	}
	st.then(0, Pressed{Gesture{Release, 11 * time.Second}}).is(Confirming)
}

func TestTapsStepThroughTheSources(t *testing.T) {
	st := tell(t, anna, ben, "mtp:CARL").plug(1, usbhost.Info{ID: fresh}).hold(11 * time.Second).is(Confirming)
	var got []int
	for range 4 {
		got = append(got, st.tap().s.Restore.Order)
	}
	if want := []int{1, 2, 3, 1}; !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	st.tap().double().is(Restoring)
	if st.s.Job.Source != ben {
		t.Errorf("source %q", st.s.Job.Source)
	}
}

func TestHowARestoreEnds(t *testing.T) {
	begin := func(t *testing.T) *story {
		return tell(t, anna).plug(1, usbhost.Info{ID: fresh}).wait(AskFor).hold(11 * time.Second).double().is(Restoring)
	}
	for _, tt := range []struct {
		name   string
		report usbhost.Report
		err    error
		want   Code
	}{
		{"phone full", usbhost.Report{}, fmt.Errorf("mtp: %w", usbhost.ErrNoSpace), TargetFull},
		{"unplugged", usbhost.Report{Listed: 3, Stored: 1}, usbhost.ErrUnplugged, TargetUnplugged},
		{"a file refused", usbhost.Report{Listed: 3, Stored: 2, Problems: []usbhost.Problem{{Listed: true}}}, nil, RestoreIncomplete},
		{"a file forgotten", usbhost.Report{Listed: 3, Stored: 2}, nil, Internal},
		{"not empty after all", usbhost.Report{}, fmt.Errorf("x: %w", errNotFresh), RestoreRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := begin(t)
			st.then(time.Second, RestoreEnded{Job: st.s.Job.N, Report: tt.report, Err: tt.err}).is(Problem).faults(tt.want).tap().is(Idle).faults()
		})
	}
	t.Run("called off by holding", func(t *testing.T) {
		st := begin(t).hold(3503 * time.Millisecond).is(Restoring)
		if !st.s.Job.Cancel {
			t.Error("goes on")
		}
		st.then(time.Second, RestoreEnded{Job: st.s.Job.N, Err: context.Canceled}).is(Idle).faults(Interrupted)
	})
	t.Run("cut short, it goes on without a second look", func(t *testing.T) {
		st := begin(t)
		st.then(time.Second, RestoreEnded{Job: st.s.Job.N, Report: usbhost.Report{Listed: 3, Stored: 1}, Err: usbhost.ErrUnplugged}, PhoneLeft{1})
		st.plug(2, usbhost.Info{ID: fresh}).hold(11 * time.Second).is(Confirming).double().is(Restoring)
		if !st.s.Job.Resume {
			t.Error("looks into the phone again, which is not empty any more")
		}
	})
}
