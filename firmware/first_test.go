package firmware

import (
	"fmt"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// unborn is a new box, with these drives plugged in that it does not know.
func unborn(ids ...string) Health {
	h := Health{Known: true, NoVault: true, Want: 1}
	for _, id := range ids {
		h.Drives = append(h.Drives, Drive{ID: id, Label: id, State: DriveUnknown})
	}
	return h
}

// A new box asks for a drive, takes it in by a tap, and then backs up the phone that was enrolled before there was one.
func TestANewBoxBeginsWithItsFirstDrive(t *testing.T) {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.then(0, Booted{Health: unborn()}).is(Problem).faults(NoDriveYet).runs(NoJob)
	st.plug(1, usbhost.Info{ID: anna}).is(Asking).tap().runs(JobEnrol)
	st.then(time.Second, EnrolEnded{st.s.Job.N, st.s.Job.Enrolment, nil}).is(Problem).faults(NoDriveYet).runs(NoJob)
	if err := st.s.Allows(BackUpNow{}); err == nil {
		t.Error("it would back up to no drive")
	}
	st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	st.then(time.Second, Checked{Job: st.s.Job.N, Health: unborn("new")}).is(AskingDrive).tap().runs(JobAdopt)
	one := well()
	one.Drives, one.Now, one.Healable = one.Drives[:1], 0, false
	st.then(time.Second, DriveAdopted{Job: st.s.Job.N, Drive: "new", Health: one}).runs(JobBackup).is(Copying)
	st.backedUp(one).is(Problem).faults(TooFewDrives) // one drive alone is not yet what was promised
}

// Nobody tapped: the box goes on asking for a drive, and a later tap takes nothing in.
func TestANewBoxAsksForTwoMinutes(t *testing.T) {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.then(0, Booted{Health: unborn("new")}).is(AskingDrive).wait(AskFor).is(Problem).faults(NoDriveYet)
	st.tap().runs(NoJob)
}

// A new box that finds another's drives takes nothing in, not even a drive that was asked about, until they are gone.
func TestANewBoxTouchesNoOtherBoxesDrives(t *testing.T) {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.then(0, Booted{Health: unborn("new")}).is(AskingDrive)
	st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	st.then(0, Checked{Job: st.s.Job.N, Err: fmt.Errorf("bays: %w", ErrOtherBox)})
	st.is(VaultLocked).faults(KeyOfAnother).tap().runs(NoJob)
	if err := st.s.Allows(AdoptDrive{"new"}); err == nil {
		t.Error("a page may have the drive taken in all the same")
	}
	st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	st.then(0, Checked{Job: st.s.Job.N, Health: unborn("new")}).is(AskingDrive).runs(NoJob)
}

// The key stick makes a new card the old box: what the vault holds is listed then.
func TestTheKeyStickBringsTheHistory(t *testing.T) {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.then(0, Booted{Err: fmt.Errorf("bays: %w", ErrOtherBox)}).is(VaultLocked)
	st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	if !st.s.Job.History {
		t.Error("the history is not asked for")
	}
	st.then(0, Checked{Job: st.s.Job.N, Health: well(), Backups: []Backup{snapshot(anna, 3, true)}}).is(Idle)

	st.s = newState(st.now)
	st.then(0, Booted{Health: unborn()}).then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	st.then(0, Checked{Job: st.s.Job.N, Health: well()}).then(0, Asked{CheckDrives{}}).runs(JobCheck)
	if !st.s.Job.History {
		t.Error("a new box that got its vault does not ask for the history")
	}
}

// While the key is nowhere but in the box, done is done, and says so; a double tap at an empty stick ends that. A tap would have
// taken it in for backups.
func TestADoubleTapMakesTheKeyStick(t *testing.T) {
	in, asks := well(), well()
	in.WordsIn, asks.WordsIn = true, true
	asks.Drives = append(asks.Drives, Drive{ID: "stick", Label: "stick", State: DriveUnknown})
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna}).backedUp(in).is(Done).faults(WordsInBox)
	st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	st.then(0, Checked{Job: st.s.Job.N, Health: asks}).is(AskingDrive)
	st.then(time.Second, Pressed{Gesture{Kind: DoubleTap}}).runs(JobStick)
	st.then(time.Second, StickMade{Job: st.s.Job.N, Drive: "stick", Err: fmt.Errorf("bays: %w", ErrNotEmpty)})
	st.then(0, Checked{Job: st.s.Job.N, Health: asks}).faults(WordsInBox, StickNotEmpty).is(AskingDrive)
	st.then(time.Second, Pressed{Gesture{Kind: DoubleTap}}).runs(JobStick)
	st.then(time.Second, StickMade{Job: st.s.Job.N, Drive: "stick", Health: well()}).is(Done).faults().runs(NoJob)
}

// Without a vault there is no key to be put on a stick, and a phone that is asked about is nothing that a double tap may answer.
func TestADoubleTapMakesNoKeyStickOtherwise(t *testing.T) {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.then(0, Booted{Health: unborn("stick")}).is(AskingDrive).then(time.Second, Pressed{Gesture{Kind: DoubleTap}}).runs(NoJob)
	if err := st.s.Allows(MakeStick{"stick"}); err == nil {
		t.Error("a page may ask for it")
	}
	asks := well()
	asks.Drives = append(asks.Drives, Drive{ID: "stick", Label: "stick", State: DriveUnknown})
	st.s = newState(st.now)
	st.then(0, Booted{Health: asks}).plug(1, usbhost.Info{ID: ben}).is(Asking)
	st.then(time.Second, Pressed{Gesture{Kind: DoubleTap}}).runs(NoJob)
}
