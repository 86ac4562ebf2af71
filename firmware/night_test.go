package firmware

import (
	"fmt"
	"testing"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// evening begins a story with Anna's phone plugged in and backed up once; the run began at the hour and minute given.
func evening(t *testing.T, zone *time.Location, month time.Month, day, hour, minute int) *story {
	t.Helper()
	st := tell(t, anna)
	st.now = time.Date(2026, month, day, hour, minute, 0, 0, zone)
	st.wait(0).plug(1, usbhost.Info{ID: anna}).runs(JobBackup)
	return st.then(29*time.Minute + 57*time.Second).backedUp(well()).is(Done)
}

// until lets minutes pass, the clock trusted or not, until a backup runs, and returns how long that took.
func (st *story) until(trusted bool, most time.Duration) (waited time.Duration) {
	for st.s.Job.Kind != JobBackup && waited < most {
		waited += time.Minute
		st.then(time.Minute, Tick{trusted})
		if st.s.Job.Kind == JobCheck {
			st.then(0, Checked{Job: st.s.Job.N, Health: st.s.Health})
		}
	}
	return waited
}

func TestThePhoneIsBackedUpAgainAtNight(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones on this machine")
	}
	for _, tt := range []struct {
		name                     string
		zone                     *time.Location
		month                    time.Month
		day, hour, minute        int
		trusted                  bool
		wantDay, wantHour, wantM int
	}{
		{"plugged in in the evening", time.UTC, 11, 24, 21, 10, true, 25, 2, 30},
		{"plugged in after midnight", time.UTC, 11, 24, 0, 50, true, 24, 2, 30},
		{"the first run is still on at half past two", time.UTC, 11, 24, 2, 10, true, 24, 2, 40},
		{"plugged in after half past two", time.UTC, 11, 24, 2, 31, true, 25, 2, 30},
		{"another zone", time.FixedZone("", -9*3600), 11, 24, 21, 10, true, 25, 2, 30},
		{"the last of a month", time.UTC, 11, 30, 21, 10, true, 1, 2, 30},
		{"the night when clocks go back", berlin, 10, 24, 21, 10, true, 25, 2, 30},
		{"the night when half past two is left out", berlin, 3, 28, 21, 10, true, 29, 3, 30},
		{"nobody knows what time it is", time.UTC, 11, 24, 21, 10, false, 25, 3, 39},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := evening(t, tt.zone, tt.month, tt.day, tt.hour, tt.minute)
			st.until(tt.trusted, 48*time.Hour)
			if got := st.now; got.Day() != tt.wantDay || got.Hour() != tt.wantHour || got.Minute() != tt.wantM {
				t.Errorf("backed up again at %v", got)
			}
			if !st.s.Job.Again || st.s.Phase != Copying {
				t.Errorf("job %+v, phase %s", st.s.Job, st.s.Phase)
			}
			st.backedUp(well()).is(Done).faults()
			if wait := st.until(tt.trusted, 72*time.Hour); wait < 22*time.Hour || wait > 25*time.Hour {
				t.Errorf("and once more after %v", wait)
			}
		})
	}
}

// Whatever keeps the box from backing a phone up again is nothing that a person must hear of, unless it is about the drives.
func TestANightThatComesToNothing(t *testing.T) {
	night := func(t *testing.T) *story {
		st := evening(t, time.UTC, 11, 24, 21, 10)
		st.until(true, 24*time.Hour)
		return st.runs(JobBackup)
	}
	t.Run("unplugged before", func(t *testing.T) {
		st := evening(t, time.UTC, 11, 24, 21, 10).then(time.Hour, PhoneLeft{1}).is(Idle).faults()
		if st.until(true, 48*time.Hour); st.s.Job.Kind == JobBackup {
			t.Errorf("job %+v", st.s.Job)
		}
		st.faults()
	})
	for _, leftFirst := range []bool{true, false} {
		t.Run(fmt.Sprint("unplugged meanwhile, ", leftFirst), func(t *testing.T) {
			st := night(t)
			end := BackupEnded{Job: st.s.Job.N, Phone: anna, Err: fmt.Errorf("mtp: %w", usbhost.ErrUnplugged), Health: well(),
				Backup: new(snapshot(anna, 900, false)), Report: usbhost.Report{Listed: 9, Stored: 2}}
			if leftFirst {
				st.then(time.Second, PhoneLeft{1}, end)
			} else {
				st.then(time.Second, end, PhoneLeft{1})
			}
			st.is(Idle).faults().runs(NoJob)
			if p, _ := st.s.Phone(anna); p.LastComplete == nil || p.LastComplete.Generation >= 900 {
				t.Errorf("phone %+v", p)
			}
			st.plug(2, usbhost.Info{ID: anna}).runs(JobBackup)
			if st.s.Job.Again {
				t.Error("the first run after it was plugged in is taken for one at night")
			}
		})
	}
	t.Run("locked when asked", func(t *testing.T) {
		st := night(t)
		st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: fmt.Errorf("mtp: %w", usbhost.ErrLocked), Health: well()}).is(Done).faults()
		st.then(time.Second, PhoneIdentified{1, usbhost.Info{ID: anna, Locked: true}}).is(Done).faults()
		if st.until(true, 5*time.Hour); st.s.Job.Kind == JobBackup {
			t.Error("a locked phone is asked")
		}
		st.is(Done).then(time.Second, PhoneIdentified{1, usbhost.Info{ID: anna}}, Tick{true}).is(Copying).runs(JobBackup)
	})
	t.Run("locked just before", func(t *testing.T) {
		st := evening(t, time.UTC, 11, 24, 21, 10).then(time.Hour, PhoneIdentified{1, usbhost.Info{ID: anna, Locked: true}}).is(Done)
		st.until(true, 24*time.Hour)
		st.is(Done).faults().runs(NoJob)
	})
	t.Run("the drives are full", func(t *testing.T) {
		st := night(t)
		st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Err: storage.ErrFull, Health: well()}).is(Problem).faults(DrivesFull)
	})
}

func TestAppsAreShownPerPhone(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna})
	b := snapshot(anna, 500, true)
	b.Apps = []App{{Name: "WhatsApp", Media: 1200}}
	st.then(time.Second, BackupCommitted{st.s.Job.N, b})
	st.then(time.Second, BackupEnded{Job: st.s.Job.N, Phone: anna, Report: whole(3), Backup: &b, Verified: true, Health: well()}).is(Done)
	if p, _ := st.s.Phone(anna); len(p.Apps) != 1 || p.Apps[0].Name != "WhatsApp" {
		t.Errorf("phone %+v", p)
	}
}
