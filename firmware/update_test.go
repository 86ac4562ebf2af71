package firmware

import (
	"context"
	"errors"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// updatable begins a story with a box that takes updates.
func updatable(t *testing.T, enrolled ...usbhost.ID) *story {
	st := tell(t, enrolled...)
	st.s.memory.updates = true
	return st
}

func (st *story) ask(c Command) *story {
	st.t.Helper()
	if err := st.s.Allows(c); err != nil {
		st.t.Fatal(err)
	}
	return st.then(time.Second, Asked{c})
}

func TestAnUpdateIsInstalledAndStarted(t *testing.T) {
	st := updatable(t, anna).ask(UpdateFound{"1.2"}).runs(JobUpdate).is(Updating)
	if st.s.Allows(UpdateFound{"1.3"}) == nil {
		t.Error("another one is taken meanwhile")
	}
	st.then(time.Minute, UpdateEnded{Job: st.s.Job.N}).runs(JobCheck).is(Updating) // of the drives, once a minute
	st.then(time.Second, Checked{Job: st.s.Job.N, Health: well()}).runs(JobEject).is(Updating)
	st.then(time.Second, Ejected{Job: st.s.Job.N, Err: errors.New("a drive was pulled out")}).runs(NoJob).is(Updating).faults()
	if st.s.Restart != ToUpdate {
		t.Errorf("restart %q", st.s.Restart)
	}
}

// Whoever plugs a phone in does not wait for an update; it comes afterwards.
func TestPhonesComeBeforeUpdates(t *testing.T) {
	st := updatable(t, anna).plug(1, usbhost.Info{ID: anna}).runs(JobBackup).ask(UpdateFound{"1.2"}).runs(JobBackup).is(Copying)
	st.backedUp(well()).runs(JobUpdate).is(Updating)
	st.then(time.Second, PhoneLeft{1}).plug(2, usbhost.Info{ID: anna})
	if !st.s.Job.Cancel {
		t.Fatal("the update goes on")
	}
	st.then(time.Second, UpdateEnded{st.s.Job.N, context.Canceled}).runs(JobBackup).faults().backedUp(well()).runs(JobUpdate)
	st.then(time.Second, UpdateEnded{Job: st.s.Job.N}, PhoneLeft{2}).runs(JobEject)

	st = updatable(t, anna).plug(1, usbhost.Info{ID: anna, Locked: true}).is(Waiting).ask(UpdateFound{"1.2"}).runs(NoJob).is(Waiting)
	st.then(time.Second, PhoneLeft{1}).runs(JobUpdate)
	st.then(time.Second, UpdateEnded{Job: st.s.Job.N}, PhoneArrived{2}).runs(JobEject) // let go of before the phone said who it is

	st = updatable(t, anna).plug(1, usbhost.Info{ID: ben}).is(Asking).ask(UpdateFound{"1.2"}).runs(NoJob).is(Asking)
	st.wait(AskFor).runs(JobUpdate)
}

// Upkeep writes to the drives, so it ends before an update begins; a vault that cannot be opened may need just the update.
func TestUpdatesAndUpkeep(t *testing.T) {
	st := updatable(t)
	h := well()
	h.Unhealed = 5
	st.then(time.Second, Asked{CheckDrives{}})
	st.then(time.Second, Checked{Job: st.s.Job.N, Health: h}).runs(JobHeal).ask(UpdateFound{"1.2"}).runs(JobHeal)
	if !st.s.Job.Cancel {
		t.Fatal("the drives are healed on")
	}
	st.then(time.Second, HealEnded{Job: st.s.Job.N, Err: context.Canceled}).runs(JobUpdate)

	st = &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.s.memory.updates = true
	st.then(0, Booted{Err: ErrVaultLocked}).is(VaultLocked).ask(UpdateFound{"1.2"}).runs(JobUpdate)
	if tell(t).s.Allows(UpdateFound{"1.2"}) == nil {
		t.Error("a box without updates takes one")
	}
}

func TestABadUpdateIsToldOnce(t *testing.T) {
	st := updatable(t).ask(UpdateFound{"1.2"})
	st.then(time.Second, UpdateEnded{st.s.Job.N, errors.New("the update file is damaged")}).runs(NoJob).is(Problem).faults(UpdateRefusedFault)
	if st.s.Faults[0].Detail != "the update file is damaged" {
		t.Errorf("%+v", st.s.Faults[0])
	}
	st.wait(time.Minute).runs(NoJob).tap().is(Idle).faults()
	st.ask(UpdateFailed{"1.2"}).faults(UpdateFailedFault).tap().faults()
	st.ask(UpdateRefused{"not signed"}).faults(UpdateRefusedFault).tap().faults()
}

// switchedOn is a box whose power came just now.
func switchedOn(t *testing.T) *story {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.s.memory.powerOn = true
	return st
}

func (st *story) down(after time.Duration) *story {
	return st.then(after, Pressed{Gesture{Kind: Press}})
}

// up lets go of a button that was held for d, with the steps that a recogniser tells.
func (st *story) up(d time.Duration) *story {
	st.t.Helper()
	at := time.Duration(0)
	for ; at+HoldStep <= d; at += HoldStep {
		st.then(HoldStep, Pressed{Gesture{Hold, at + HoldStep}})
	}
	return st.then(d-at, Pressed{Gesture{Release, d}})
}

func TestSettingsAreErasedAtPowerOn(t *testing.T) {
	st := switchedOn(t).down(time.Second).is(Starting).then(ResetAfter, Pressed{Gesture{Hold, HoldStep}}).is(Resetting)
	st.then(time.Second, Booted{Health: well()}).is(Resetting).runs(NoJob)
	st.then(time.Second, Pressed{Gesture{Release, 4 * time.Second}}).runs(JobReset)
	st.then(time.Second, ResetEnded{Job: st.s.Job.N}).runs(JobEject)
	st.then(time.Second, Ejected{Job: st.s.Job.N})
	if st.s.Restart != ToReset {
		t.Errorf("%+v", st.s)
	}

	st = switchedOn(t).down(0).up(3*time.Second).then(time.Second, Booted{Health: well()}).runs(JobReset)
	st.then(time.Second, ResetEnded{st.s.Job.N, errors.New("the words have not left the box")}).runs(NoJob).faults(ResetRefused)
	if st.s.Restart != NoRestart {
		t.Error("it starts anew all the same")
	}
}

func TestSettingsAreNotErased(t *testing.T) {
	for name, press := range map[string]func(*story) *story{
		"too short":        func(st *story) *story { return st.down(0).up(ResetAfter - time.Millisecond) },
		"too long":         func(st *story) *story { return st.down(0).up(ResetUntil) },
		"much too long":    func(st *story) *story { return st.down(0).up(3 * ResetUntil) },
		"once it is ready": func(st *story) *story { return st.down(pressAtOnce + time.Millisecond).up(4 * time.Second) },
		"later":            func(st *story) *story { return st.down(pressWithin + time.Millisecond).up(5 * time.Second) },
		"the second press": func(st *story) *story { return st.down(0).up(time.Second).down(0).up(2500 * time.Millisecond) },
		"no power-on":      func(st *story) *story { st.s.memory.powerOn = false; return st.down(0).up(2500 * time.Millisecond) },
		"not let go of":    func(st *story) *story { return st.down(0).then(10 * time.Second) },
	} {
		st := press(switchedOn(t).then(0, Booted{Health: well()}))
		if st.wait(time.Second); st.s.Job.Kind == JobReset || st.s.memory.reset || st.s.Restart != NoRestart {
			t.Errorf("%s: %+v", name, st.s.Job)
		}
	}
}

// A backup that began while the button was held gives way.
func TestAResetDoesNotWaitForABackup(t *testing.T) {
	st := switchedOn(t).down(0).then(time.Second, Booted{Health: well(), Enrolled: []Enrolment{{anna, "Anna", 1}}}).plug(1, usbhost.Info{ID: anna}).runs(JobBackup)
	if st.up(4 * time.Second); !st.s.Job.Cancel {
		t.Fatal("the backup goes on")
	}
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: context.Canceled, Health: well()}).runs(JobReset)
}
