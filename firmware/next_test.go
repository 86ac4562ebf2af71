package firmware

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// After a power cut at night the phone is there before the box has read its drives.
func TestAPhoneThatIsThereBeforeTheBoxIsReady(t *testing.T) {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	st.plug(1, usbhost.Info{ID: "mtp:OTHER"}).plug(2, usbhost.Info{ID: ben}).is(Starting)
	st.then(time.Second, Booted{Health: well(), Enrolled: []Enrolment{{anna, "Anna", 1}, {ben, "Ben", 2}}})
	st.runs(JobBackup)
	if st.s.Job.Phone != ben || st.s.Phones[0].ID != anna || st.s.Phones[1].ID != ben {
		t.Errorf("%+v, phones %+v", st.s.Job, st.s.Phones)
	}
}

func TestAnEnrolledPhoneIsBackedUpByItself(t *testing.T) {
	st := tell(t, anna).is(Idle).plug(1, usbhost.Info{ID: anna, Name: "Anna's"}).is(Copying).runs(JobBackup)
	st.then(time.Second, Progressed{st.s.Job.N, usbhost.Progress{Phase: usbhost.Copying, Bytes: 100, BytesTotal: 1000}})
	if p := st.s.Progress; p.Rate != 100 || p.Left != 9*time.Second || p.Fraction() != 0.1 {
		t.Errorf("progress %+v", p)
	}
	b := snapshot(anna, 7, true)
	st.then(time.Second, BackupCommitted{st.s.Job.N, b}).is(Verifying)
	st.then(time.Second, Verified{st.s.Job.N, 5, 10}).is(Verifying)
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Report: whole(3), Backup: &b, Verified: true, Health: well()})
	st.is(Done).runs(NoJob).faults()
	if p, _ := st.s.CurrentPhone(); p.LastComplete == nil || p.LastComplete.ID != b.ID || p.Outcome != Stored {
		t.Errorf("phone %+v", p)
	}
	st.then(time.Minute, PhoneLeft{1}).is(Idle)
}

func TestAnUnknownPhoneIsEnrolledByATap(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: ben, Name: "Ben's"}).is(Asking).runs(NoJob)
	if want := st.now.Add(AskFor); !st.s.Until.Equal(want) {
		t.Errorf("asks until %v, want %v", st.s.Until, want)
	}
	st.tap().runs(JobEnrol).is(Copying)
	if e := st.s.Job.Enrolment; e != (Enrolment{ben, "Ben's", 2}) {
		t.Errorf("enrols %+v", e)
	}
	st.then(time.Second, EnrolEnded{st.s.Job.N, st.s.Job.Enrolment, nil}).runs(JobBackup).is(Copying)
}

func TestAnUnknownPhoneIsOnlyChargedWhenNobodyTaps(t *testing.T) {
	st := tell(t).plug(1, usbhost.Info{ID: ben}).is(Asking).wait(AskFor).is(Idle)
	st.tap().runs(NoJob).is(Idle)
	if p, _ := st.s.Phone(ben); p.Enrolled || p.Need == "" {
		t.Errorf("phone %+v", p)
	}
	st.then(0, PhoneLeft{1})
	if len(st.s.Phones) != 0 {
		t.Errorf("a stranger is remembered: %+v", st.s.Phones)
	}
}

func TestALockedPhoneIsWaitedFor(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna, Locked: true}).is(Waiting).runs(NoJob).faults(PhoneLocked)
	st.then(time.Second, PhoneIdentified{1, usbhost.Info{ID: anna, Locked: true}}).is(Waiting)
	st.then(time.Second, PhoneIdentified{1, usbhost.Info{ID: anna}}).is(Copying).runs(JobBackup).faults()
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: fmt.Errorf("mtp: %w", usbhost.ErrLocked), Health: well()}).is(Waiting).runs(NoJob)
	st.then(time.Second, PhoneIdentified{1, usbhost.Info{ID: anna}}).runs(JobBackup)
}

func TestAnUnpluggedPhoneGoesOnWhenItReturns(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna}).runs(JobBackup)
	job := st.s.Job.N
	st.then(time.Second, PhoneLeft{1}).is(Copying) // what it gave is still being committed
	b := snapshot(anna, 7, false)
	st.then(time.Second, BackupCommitted{job, b}, BackupEnded{Job: job, Phone: anna, Report: usbhost.Report{Listed: 9, Stored: 2},
		Backup: &b, Err: fmt.Errorf("mtp: %w", usbhost.ErrUnplugged), Health: well()}).is(Problem).faults(PhoneUnplugged).runs(NoJob)
	if p, _ := st.s.Phone(anna); p.LastPartial == nil || p.LastPartial.ID != b.ID || p.LastComplete == nil {
		t.Errorf("phone %+v", p)
	}
	st.plug(2, usbhost.Info{ID: anna}).runs(JobBackup).is(Copying).faults().backedUp(well()).is(Done)
	if p, _ := st.s.Phone(anna); p.LastPartial != nil {
		t.Errorf("an older incomplete snapshot is still shown: %+v", p)
	}
}

// Every way in which a run can fall short keeps the box from saying done.
func TestWhatIsNotDone(t *testing.T) {
	good := BackupEnded{Phone: anna, Report: whole(3), Backup: new(snapshot(anna, 7, true)), Verified: true, Health: well()}
	for _, tt := range []struct {
		name string
		but  func(*BackupEnded)
		want Code
	}{
		{"not read back", func(e *BackupEnded) { e.Verified = false }, FilesLeftOut},
		{"read back and found wrong", func(e *BackupEnded) { e.Verified, e.Err = false, storage.ErrCorrupt }, DataLost},
		{"a file left out", func(e *BackupEnded) {
			e.Report.Stored--
			e.Report.Problems = []usbhost.Problem{{Name: "x", Reason: "short", Listed: true}}
		}, FilesLeftOut},
		{"a folder not listed", func(e *BackupEnded) { e.Report.Problems = []usbhost.Problem{{Name: "x"}} }, FilesLeftOut},
		{"a file not accounted for", func(e *BackupEnded) { e.Report.Listed++ }, Internal},
		{"no snapshot", func(e *BackupEnded) { e.Backup = nil }, FilesLeftOut},
		{"an incomplete snapshot", func(e *BackupEnded) { e.Backup = new(snapshot(anna, 7, false)) }, FilesLeftOut},
		{"drives full", func(e *BackupEnded) { e.Err = fmt.Errorf("vault: %w", storage.ErrFull) }, DrivesFull},
		{"drives read-only", func(e *BackupEnded) { e.Err = storage.ErrReadOnly }, DriveReadOnlyCode},
		{"drives away", func(e *BackupEnded) { e.Err = storage.ErrUnavailable }, DrivesNeeded},
		{"cancelled", func(e *BackupEnded) { e.Err = context.Canceled }, Interrupted},
		{"an error nobody knows", func(e *BackupEnded) { e.Err = fmt.Errorf("no idea") }, Internal},
		{"one drive gone", func(e *BackupEnded) { e.Health = without() }, DriveMissing},
		{"too few drives", func(e *BackupEnded) { e.Health.Now = 0 }, TooFewDrives},
		{"something lost", func(e *BackupEnded) { e.Health.Lost = 1 }, DataLost},
		{"something out of reach", func(e *BackupEnded) { e.Health.Now = -1 }, DrivesNeeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := tell(t, anna).plug(1, usbhost.Info{ID: anna})
			e := good
			e.Job = st.s.Job.N
			tt.but(&e)
			st.then(time.Second, e).is(Problem).faults(tt.want)
		})
	}
	t.Run("health unknown", func(t *testing.T) {
		st := tell(t, anna).plug(1, usbhost.Info{ID: anna})
		e := good
		e.Job, e.Health = st.s.Job.N, Health{}
		st.then(time.Second, e).is(Problem).runs(JobCheck)
		st.then(time.Second, Checked{Job: st.s.Job.N, Health: well()}).is(Done)
	})
}

func TestDegradedBecomesDoneWhenADriveIsAddedAndHealed(t *testing.T) {
	st := tell(t, anna).then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	st.then(time.Second, Checked{Job: st.s.Job.N, Health: without()}).is(Problem).faults(DriveMissing)
	st.plug(1, usbhost.Info{ID: anna}).is(Copying).backedUp(without()).is(Problem).faults(DriveMissing).runs(NoJob)
	added := without()
	added.Healable = true
	added.Drives = append(added.Drives, Drive{ID: "d4", Label: "D", State: DriveOK})
	st.then(time.Second, Asked{CheckDrives{}}).then(time.Second, Checked{Job: st.s.Job.N, Health: added}).runs(JobHeal).is(Problem)
	st.then(time.Second, HealProgressed{st.s.Job.N, 10, 1000})
	if st.s.Heal.Done != 10 || st.s.Heal.Total != 1000 {
		t.Errorf("heal %+v", st.s.Heal)
	}
	added.Now, added.Unhealed = 1, 0
	st.then(time.Second, HealEnded{Job: st.s.Job.N, Health: added}).is(Done).runs(NoJob).faults()
}

func TestAHealGivesWayToAPhoneAndGoesOnAfterwards(t *testing.T) {
	h := without()
	h.Healable = true
	st := tell(t, anna).then(time.Second, Asked{CheckDrives{}})
	st.then(time.Second, Checked{Job: st.s.Job.N, Health: h}).runs(JobHeal)
	st.plug(1, usbhost.Info{ID: anna}).runs(JobHeal)
	if !st.s.Job.Cancel {
		t.Fatal("the heal is not called off")
	}
	st.then(time.Second, HealEnded{Job: st.s.Job.N, Err: context.Canceled}).runs(JobBackup).backedUp(h).runs(JobHeal)
	st.then(time.Second, HealEnded{Job: st.s.Job.N, Health: h}).runs(NoJob) // it did not help
	st.then(healAgain, Tick{}).runs(JobCheck).then(0, Checked{Job: st.s.Job.N, Health: h}).runs(JobHeal)
}

func TestAnUnknownDriveIsAdoptedByATap(t *testing.T) {
	h := well()
	h.Drives = append(h.Drives, Drive{ID: "d9", Label: "Stick", State: DriveUnknown})
	st := tell(t).then(time.Second, Asked{CheckDrives{}})
	st.then(0, Checked{Job: st.s.Job.N, Health: h}).is(AskingDrive)
	if st.s.Adopt != "d9" {
		t.Errorf("asks about %q", st.s.Adopt)
	}
	// A phone that comes meanwhile is asked about first.
	st.plug(1, usbhost.Info{ID: ben}).is(Asking).tap().runs(JobEnrol)
	st.then(0, EnrolEnded{st.s.Job.N, st.s.Job.Enrolment, nil}).runs(JobBackup).backedUp(h).is(AskingDrive)
	st.tap().runs(JobAdopt)
	h.Drives[3].State = DriveOK
	st.then(0, DriveAdopted{st.s.Job.N, "d9", h, nil}).is(Done)
}

func TestShutDown(t *testing.T) {
	st := tell(t, anna).hold(3503 * time.Millisecond).is(Stopping).runs(JobEject)
	st.then(time.Second, Ejected{Job: st.s.Job.N}).is(Off).hold(3503 * time.Millisecond).is(Off).runs(NoJob)
	st = tell(t, anna).plug(1, usbhost.Info{ID: anna}).hold(3503 * time.Millisecond).is(Stopping).runs(JobBackup)
	if !st.s.Job.Cancel {
		t.Error("the backup goes on")
	}
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: context.Canceled}).runs(JobEject)
	st.then(time.Second, Ejected{Job: st.s.Job.N, Err: storage.ErrUnavailable}).is(Problem)
}

func TestRetries(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna})
	for _, minutes := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		st.runs(JobBackup).then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: fmt.Errorf("odd"), Health: well()}).faults(Internal)
		from := st.now
		for st.s.Job.Kind != JobBackup && st.now.Sub(from) < 3*time.Hour {
			st.wait(time.Second)
		}
		if got := st.now.Sub(from); got != time.Duration(minutes)*time.Minute {
			t.Errorf("tried again after %v, want %d min", got, minutes)
		}
	}
	st = tell(t, anna).plug(1, usbhost.Info{ID: anna})
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: ErrIncomplete, Health: well()}).runs(NoJob).double().runs(JobBackup)
}

func TestDriveFaultsAreTriedAgainWhenADriveComes(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna})
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: storage.ErrFull, Health: well()}).is(Problem).faults(DrivesFull)
	more := well()
	more.Drives = append(more.Drives, Drive{ID: "d4", Label: "D", State: DriveOK})
	st.then(time.Second, Asked{CheckDrives{}}).then(0, Checked{Job: st.s.Job.N, Health: more}).runs(JobBackup)
}

func TestTheVaultIsLockedUntilItsKeyIsThere(t *testing.T) {
	st := tell(t)
	st.s = newState(st.now)
	st.then(0, Booted{Err: fmt.Errorf("x: %w", ErrVaultLocked)}).is(VaultLocked).faults(KeyMissing)
	st.plug(1, usbhost.Info{ID: anna}).is(VaultLocked).tap().runs(NoJob)
	st.then(time.Second, Asked{CheckDrives{}}).runs(JobCheck)
	if !st.s.Job.History {
		t.Error("the snapshots are not asked for")
	}
	st.then(0, Checked{Job: st.s.Job.N, Health: well(), Backups: []Backup{snapshot(ben, 1, true)}}).is(Asking).faults()
	if len(st.s.Backups) != 1 {
		t.Errorf("backups %v", st.s.Backups)
	}
}

func TestTwoPhones(t *testing.T) {
	st := tell(t, anna, ben).plug(1, usbhost.Info{ID: anna}).plug(2, usbhost.Info{ID: ben}).runs(JobBackup)
	if st.s.Job.Phone != anna {
		t.Errorf("begins with %s", st.s.Job.Phone)
	}
	st.backedUp(well()).runs(JobBackup).is(Copying)
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: ben, Err: fmt.Errorf("odd"), Health: well()}).is(Problem) // one of two is not done
	if st.s.Current != ben {
		t.Errorf("problem of %s", st.s.Current)
	}
	st.double().backedUp(well()).backedUp(well()).is(Done)
	// A phone that claims to be one that is here already is nothing to us.
	st.plug(3, usbhost.Info{ID: anna, Locked: true}).is(Done).then(0, PhoneLeft{3}).is(Done)
}

func TestACommandIsRefusedInWords(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: ben})
	for _, c := range []Command{BackUpNow{}, BackUpNow{ben}, BackUpNow{anna}, EnrolPhone{anna}, EnrolPhone{"x"}, AdoptDrive{"d1"}} {
		if err := st.s.Allows(c); err == nil {
			t.Errorf("%#v is allowed", c)
		}
	}
	for _, c := range []Command{EnrolPhone{ben}, CheckDrives{}, ShutDown{}, Acknowledge{}} {
		if err := st.s.Allows(c); err != nil {
			t.Errorf("%#v: %v", c, err)
		}
	}
}

// Next changes nothing in the State that it was given.
func TestNextIsPure(t *testing.T) {
	st := tell(t, anna, ben).plug(1, usbhost.Info{ID: anna}).then(0, PhoneArrived{2})
	before, err := json.Marshal(st.s)
	if err != nil {
		t.Fatal(err)
	}
	keep := st.s
	st.then(time.Second, PhoneIdentified{2, usbhost.Info{ID: "mtp:X", Name: "X"}}, Progressed{st.s.Job.N, usbhost.Progress{Files: 7, Name: "n"}}).
		backedUp(without()).tap().then(AskFor, Tick{}, PhoneLeft{1}, PhoneLeft{2})
	after, err := json.Marshal(keep)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

func TestStateSurvivesJSON(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna}).backedUp(without())
	b, err := json.Marshal(st.s)
	if err != nil {
		t.Fatal(err)
	}
	var back State
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != string(again) || !reflect.DeepEqual(back.Faults, st.s.Faults) {
		t.Errorf("%s\n%s", b, again)
	}
}

func TestHostileNames(t *testing.T) {
	st := tell(t).plug(1, usbhost.Info{ID: ben, Name: "a\x1b[2J\u202eb\n" + strings.Repeat("ü", 1000)})
	p, _ := st.s.Phone(ben)
	if !strings.HasPrefix(p.Name, "a[2Jbü") || len([]rune(p.Name)) != 64 {
		t.Errorf("name %q", p.Name)
	}
}

// Two phones that give one serial number are told after a while, and never while a job still puts away what came from the first.
func TestTwoPhonesThatSayTheyAreOne(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna, Name: "Anna's"}).runs(JobBackup)
	st.plug(2, usbhost.Info{ID: anna, Name: "Anna's"}).then(time.Hour, Tick{}).faults()
	b := snapshot(anna, 7, true)
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Report: whole(3), Backup: &b, Verified: true, Health: well()})
	st.then(time.Second, Tick{}).is(Problem).faults(PhonesAlike)
	st.then(time.Second, PhoneLeft{2}).is(Done).faults()
	st.plug(3, usbhost.Info{ID: anna, Name: "Anna's"}).then(alikeAfter/2, Tick{}).is(Done).faults()
	st.then(time.Second, PhoneLeft{1}).runs(JobBackup).faults() // the one that waited was the same phone, plugged in again
}
