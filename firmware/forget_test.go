package firmware

import (
	"errors"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// A phone that is forgotten is only charged, and nobody is asked about it before it is plugged in again. Its backups stay, and
// while they do no restore goes onto it.
func TestAForgottenPhoneIsOnlyCharged(t *testing.T) {
	st := tell(t, anna, ben).plug(1, usbhost.Info{ID: ben}).backedUp(well()).is(Done)
	st.then(time.Second, Asked{ForgetPhone{ben}}).runs(JobForget)
	st.then(time.Second, ForgetEnded{Job: st.s.Job.N, Phone: ben}).runs(NoJob).is(Idle)
	p, ok := st.s.Phone(ben)
	if !ok || p.Enrolled || p.Order != 0 || p.LastComplete == nil || p.Next {
		t.Errorf("the phone is %+v", p)
	}
	st.tap().double().runs(NoJob)
	st.hold(11 * time.Second).is(Idle)
	if st.s.Restore != nil {
		t.Error("a restore onto a phone that has backups is prepared")
	}
	st.then(time.Second, PhoneLeft{1})
	if _, ok := st.s.Phone(ben); !ok {
		t.Error("its backups are not shown any more")
	}
	st.plug(2, usbhost.Info{ID: ben}).is(Asking).tap().runs(JobEnrol)
}

// What cannot be forgotten now, and why.
func TestWhatCannotBeForgotten(t *testing.T) {
	st := tell(t, anna, ben).plug(1, usbhost.Info{ID: anna}).runs(JobBackup)
	for id, want := range map[usbhost.ID]string{
		"mtp:OTHER": "that phone is not enrolled",
		anna:        "that phone is being backed up: unplug it, or wait until that is done",
		ben:         "",
	} {
		err := st.s.Allows(ForgetPhone{id})
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %q", id, err, want)
		}
	}
	st.then(0, Asked{ForgetPhone{ben}}, Asked{ForgetPhone{ben}}, Asked{ForgetPhone{anna}}).backedUp(well()).runs(JobForget)
	st.then(0, ForgetEnded{st.s.Job.N, ben, errors.New("no room")}).runs(NoJob).faults(Internal)
	if p, _ := st.s.Phone(ben); !p.Enrolled {
		t.Error("forgotten, although the roster could not be written")
	}
	if p, _ := st.s.Phone(anna); !p.Enrolled {
		t.Error("forgotten, although that was refused")
	}
}

// The box forgets a phone for good: the roster does, and the next one to be enrolled does not get its number while others have
// higher ones.
func TestABoxForgets(t *testing.T) {
	onBench(t, func(b *bench) {
		b.plug(newHandset(ben, "x"))
		b.until(Done)
		if err := b.box.Do(b.Context(), ForgetPhone{anna}); err != nil {
			b.Fatal(err)
		}
		b.wait("forgotten", func(s State) bool { _, ok := s.Phone(anna); return !ok && s.Job.Kind == NoJob })
		if len(b.book.all) != 1 || b.book.all[0].ID != ben {
			b.Errorf("the roster has %+v", b.book.all)
		}
		b.plug(newHandset("mtp:C", "y"))
		b.until(Asking)
		b.tap()
		b.until(Done)
		if len(b.book.all) != 2 || b.book.all[1].Order != 3 {
			b.Errorf("the roster has %+v", b.book.all)
		}
	}, anna, ben)
}
