package firmware

import (
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// While one phone is copied the lights cannot ask about another. It is asked about when they can, and has its whole time then; what
// its page says meanwhile is true.
func TestASecondPhoneIsAskedAboutWhenTheFirstIsDone(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna}).runs(JobBackup).plug(2, usbhost.Info{ID: ben, Name: "Ben's"}).is(Copying)
	st.wait(3 * time.Hour).is(Copying)
	if p, _ := st.s.Phone(ben); p.Need != "The box asks about it when it is done with the other phone." {
		t.Errorf("meanwhile: %q", p.Need)
	}
	st.tap().runs(JobBackup)
	if st.s.enrolling(ben) {
		t.Error("a tap enrols a phone that nobody was asked about, hours after it came")
	}
	st.backedUp(well()).is(Asking)
	if want := st.now.Add(AskFor); !st.s.Until.Equal(want) {
		t.Errorf("asks until %v, want %v", st.s.Until, want)
	}
	st.wait(AskFor - time.Second).is(Asking).wait(time.Second).is(Done)
	if p, _ := st.s.Phone(ben); p.Need == "" || p.Next {
		t.Errorf("nobody tapped: %+v", p)
	}
}

// The same with a drive: its two minutes are those in which the lights ask about it, not those in which a phone is copied or asked
// about.
func TestADriveIsAskedAboutWhenThePhonesAreDone(t *testing.T) {
	spare := well()
	spare.Drives = append(spare.Drives, Drive{ID: "d9", Label: "Stick", State: DriveUnknown})
	st := tell(t, anna, ben).plug(1, usbhost.Info{ID: anna}).plug(2, usbhost.Info{ID: ben}).runs(JobBackup)
	st.backedUp(spare).runs(JobBackup).is(Copying).wait(3 * time.Hour).is(Copying)
	if st.tap(); st.s.memory.adopt != "" {
		t.Error("a tap takes in a drive that nobody was asked about, hours after it came")
	}
	st.plug(3, usbhost.Info{ID: fresh}).backedUp(spare).is(Asking)
	st.wait(AskFor - time.Second).is(Asking).wait(time.Second).is(AskingDrive)
	if want := st.now.Add(AskFor); st.s.Adopt != "d9" || !st.s.Until.Equal(want) {
		t.Errorf("asks about %q until %v, want %v", st.s.Adopt, st.s.Until, want)
	}
	st.wait(AskFor - time.Second).is(AskingDrive).wait(time.Second).is(Done)
	if st.tap(); st.s.memory.adopt != "" {
		t.Error("a tap takes in a drive after its time")
	}
}

// Two phones were plugged in, and a tap means the first. The moment until that is remembered is none to ask about the second.
func TestASecondPhoneIsAskedAboutAfterTheFirstIsEnrolledAndBackedUp(t *testing.T) {
	st := tell(t).plug(1, usbhost.Info{ID: anna}).plug(2, usbhost.Info{ID: ben}).tap().runs(JobEnrol)
	if st.s.Current == ben {
		t.Errorf("%v about the second, for a moment", st.s.Phase)
	}
	st.then(50*time.Millisecond, EnrolEnded{st.s.Job.N, st.s.Job.Enrolment, nil}).runs(JobBackup).wait(3 * time.Hour).is(Copying)
	st.backedUp(well()).is(Asking)
	if st.s.Current != ben {
		t.Errorf("asks about %v", st.s.Current)
	}
}

// A tap soon after a phone was plugged in means that phone, whatever the lights show. It is next.
func TestATapMeansThePhoneThatWasJustPluggedIn(t *testing.T) {
	st := tell(t, anna).plug(1, usbhost.Info{ID: anna}).plug(2, usbhost.Info{ID: ben}).tap().is(Copying)
	if p, _ := st.s.Phone(ben); !p.Next || p.Need != "Leave it plugged in: it is next." {
		t.Errorf("tapped for: %+v", p)
	}
	st.backedUp(well()).runs(JobEnrol)
	st.then(time.Second, EnrolEnded{st.s.Job.N, st.s.Job.Enrolment, nil}).runs(JobBackup)
	if st.s.Job.Phone != ben {
		t.Errorf("runs %+v", st.s.Job)
	}
}

// Three phones are backed up one after the other, in order of arrival. The one whose cable comes out in the middle does not hold
// the others up, and goes on when it is back and they are done; no file is read twice, and the box says done when all are.
func TestSeveralPhonesTakeTurns(t *testing.T) {
	onBench(t, func(b *bench) {
		phones := []*handset{newHandset(anna, "a", "b", "c", "d"), newHandset(ben, "e", "f", "g"), newHandset("mtp:C", "h", "i")}
		first := b.plug(phones[0])
		for _, phone := range phones[1:] { // nobody plugs two in at once
			time.Sleep(53 * time.Millisecond)
			b.plug(phone)
		}
		s := b.wait("two files of the first", func(s State) bool { return s.Current == anna && s.Progress != nil && s.Progress.Files == 2 })
		for _, id := range []usbhost.ID{ben, "mtp:C"} {
			if p, _ := s.Phone(id); !p.Next {
				b.Errorf("%s is not next: %+v", id, p)
			}
		}
		first.pull()
		s = b.wait("the second", func(s State) bool { return s.Phase == Copying && s.Current == ben })
		if part, ok := b.attic.newest(anna); !ok || part.Complete || part.Files != 2 {
			b.Errorf("of the first is kept: %+v", part)
		}
		if s.Progress.Files > 1 {
			b.Errorf("the second begins with the progress of the first: %+v", s.Progress)
		}
		b.plug(phones[0])
		b.wait("the third", func(s State) bool { return s.Phase == Copying && s.Current == "mtp:C" })
		b.wait("the first again", func(s State) bool { return s.Phase == Copying && s.Current == anna })
		b.until(Done)
		for _, phone := range phones {
			if got, _ := b.attic.newest(phone.id); !got.Complete || got.Files != len(phone.files) {
				b.Errorf("%s: the vault has %+v", phone.id, got)
			}
			for name, n := range phone.read {
				if n != 1 {
					b.Errorf("%s was read %d times", name, n)
				}
			}
		}
	}, anna, ben, "mtp:C")
}

// A phone that is locked does not keep another from its turn, and takes its own once it is unlocked.
func TestALockedPhoneLetsOthersGoFirst(t *testing.T) {
	onBench(t, func(b *bench) {
		locked := newHandset(anna, "a")
		locked.setLocked(true)
		b.plug(locked)
		b.until(Waiting)
		b.plug(newHandset(ben, "b"))
		b.wait("the other", func(s State) bool { return s.Phase == Copying && s.Current == ben })
		s := b.wait("its end", func(s State) bool { p, _ := s.Phone(ben); return p.Outcome == Stored })
		if s.Phase != Waiting || s.Current != anna {
			b.Errorf("then the box shows %s for %q", s.Phase, s.Current)
		}
		locked.setLocked(false)
		b.until(Done)
	}, anna, ben)
}
