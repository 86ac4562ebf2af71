package firmware

import (
	"fmt"
	"testing"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// The power is back, and the drives are not up to speed yet: the box waits, and never says that they or the key are missing.
func TestDrivesThatSpinUpAreNotMissing(t *testing.T) {
	partly := well()
	partly.Drives[1].State, partly.Now = DriveAway, -1
	for name, e := range map[string]Booted{
		"none is here":          {Err: fmt.Errorf("bays: %w", ErrDrivesAway)},
		"the stick came first":  {Err: fmt.Errorf("bays: %w", ErrStickAlone)},
		"too few to open":       {Err: fmt.Errorf("array: %w", storage.ErrUnavailable)},
		"too few to read":       {Health: partly},
		"one is a little later": {Health: without()},
	} {
		t.Run(name, func(t *testing.T) {
			e.Enrolled = []Enrolment{{ID: anna, Name: "Anna", Order: 1}}
			st := &story{t: t, now: time.Unix(1000, 0)}
			st.s = newState(st.now)
			st.then(0, e).is(Starting).faults()
			st.then(GatherFor-time.Second, Tick{}).is(Starting).faults()
			st.then(0, Asked{CheckDrives{}}).runs(JobCheck)
			st.then(0, Checked{Job: st.s.Job.N, Health: well(), Backups: []Backup{}}).is(Idle).faults()
			st.plug(1, usbhost.Info{ID: anna}).runs(JobBackup)
		})
	}
}

// Drives that do not come are told, by their own light, and nobody is asked for a key that is here.
func TestDrivesThatDoNotComeAreTold(t *testing.T) {
	for err, want := range map[error]Code{ErrDrivesAway: DrivesAway, ErrStickAlone: StickAlone, storage.ErrUnavailable: DrivesNeeded} {
		st := &story{t: t, now: time.Unix(1000, 0)}
		st.s = newState(st.now)
		st.then(0, Booted{Err: fmt.Errorf("x: %w", err), Enrolled: []Enrolment{{ID: anna, Name: "Anna", Order: 1}}})
		st.then(GatherFor, Tick{}).is(Problem).faults(want)
		if st.s.Faults[0].Light != 2 {
			t.Errorf("%s is shown by light %d", want, st.s.Faults[0].Light)
		}
	}
	st := tell(t).wait(GatherFor).then(0, Asked{CheckDrives{}})
	st.then(0, Checked{Job: st.s.Job.N, Err: ErrDrivesAway}).is(Problem).faults(DrivesAway) // all were unplugged
	if err := st.s.Allows(BackUpNow{}); err == nil {
		t.Error("it would back up to no drive")
	}
}

// What is known at once is told at once: no drive that is late makes a key fit, or a card keep anything.
func TestWhatIsNotAboutLateDrivesIsToldAtOnce(t *testing.T) {
	for err, want := range map[error]Phase{ErrVaultLocked: VaultLocked, ErrWrongKey: VaultLocked, ErrOtherBox: VaultLocked, ErrCardLost: Problem} {
		st := &story{t: t, now: time.Unix(1000, 0)}
		st.s = newState(st.now)
		st.then(0, Booted{Err: fmt.Errorf("x: %w", err)}).is(want)
		if len(st.s.Faults) != 1 {
			t.Errorf("%v: faults %v", err, st.s.Faults)
		}
	}
}
