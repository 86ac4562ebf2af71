package firmware

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
)

// bench is a running box with everything around it.
type bench struct {
	*testing.T
	box   *Box
	hub   *hub
	attic *attic
	book  *book
	shed  *shed
	stop  context.CancelFunc
	ended chan error
}

// onBench runs f with a running box in a bubble of fake time, then stops the box and waits for it.
func onBench(t *testing.T, f func(b *bench), enrolled ...usbhost.ID) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, hub: &hub{make(chan usbhost.Phone), make(chan error)}, attic: newAttic(), book: &book{}, ended: make(chan error, 1)}
		b.shed = &shed{attic: b.attic}
		for i, id := range enrolled {
			b.book.all = append(b.book.all, Enrolment{id, string(id), i + 1})
		}
		b.box = New(Config{Bus: b.hub, Vault: b.attic, Roster: b.book, Drives: b.shed})
		ctx, cancel := context.WithCancel(context.Background())
		b.stop = cancel
		go func() { b.ended <- b.box.Run(ctx) }()
		b.until(Idle)
		f(b)
		cancel()
		if err := <-b.ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		if b.attic.writers != 0 {
			t.Errorf("%d drafts were not closed", b.attic.writers)
		}
	})
}

// until waits for a phase, for an hour at most.
func (b *bench) until(want Phase) State {
	b.Helper()
	return b.wait(string(want), func(s State) bool { return s.Phase == want })
}

func (b *bench) wait(what string, ok func(State) bool) State {
	b.Helper()
	states, cancel := b.box.Subscribe()
	defer cancel()
	late := time.After(time.Hour)
	for {
		select {
		case s := <-states:
			if ok(s) {
				return s
			}
		case <-late:
			s := b.box.State()
			b.Fatalf("never came to %s; phase %s, job %+v, faults %v", what, s.Phase, s.Job, s.Faults)
		}
	}
}

func (b *bench) plug(h *handset) *cable {
	c := h.plug()
	b.hub.arrivals <- c
	return c
}

// press holds the button for d.
func (b *bench) press(d time.Duration) {
	b.Helper()
	for _, down := range []bool{true, false} {
		if err := b.box.Edge(b.Context(), down, time.Now()); err != nil {
			b.Error(err)
		}
		if down {
			time.Sleep(d)
		}
	}
	time.Sleep(53 * time.Millisecond)
}

func (b *bench) tap() { b.press(101 * time.Millisecond); time.Sleep(DoubleGap) }

func (b *bench) double() { b.press(101 * time.Millisecond); b.press(101 * time.Millisecond) }

func TestAStrangerBecomesAPhoneThatIsBackedUp(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "DCIM/1.jpg", "DCIM/2.jpg", "x")
		b.plug(phone)
		b.until(Asking)
		time.Sleep(time.Minute)
		if len(phone.read) != 0 {
			b.Fatal("a stranger is read")
		}
		b.tap()
		b.until(Copying)
		b.until(Verifying)
		s := b.until(Done)
		if got, ok := b.attic.newest(anna); !ok || !got.Complete || got.Files != 3 {
			b.Errorf("the vault has %+v", got)
		}
		if len(b.book.all) != 1 || b.book.all[0].ID != anna || b.book.all[0].Order != 1 {
			b.Errorf("the roster has %+v", b.book.all)
		}
		if p, _ := s.CurrentPhone(); p.LastComplete == nil || !p.Enrolled {
			b.Errorf("the phone is %+v", p)
		}
	})
}

func TestUnpluggedWhileCopyingThenBack(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a", "b", "c", "d")
		c := b.plug(phone)
		b.wait("two files", func(s State) bool { return s.Progress != nil && s.Progress.Files == 2 })
		c.pull()
		s := b.until(Problem)
		if f, _ := s.Fault(); f.Code != PhoneUnplugged {
			b.Errorf("fault %+v", f)
		}
		part, ok := b.attic.newest(anna)
		if !ok || part.Complete || part.Files != 2 {
			b.Fatalf("what came is not kept as incomplete: %+v", part)
		}
		b.plug(phone)
		b.until(Done)
		for name, n := range phone.read {
			if n != 1 {
				b.Errorf("%s was read %d times", name, n)
			}
		}
		if got, _ := b.attic.newest(anna); !got.Complete || got.Files != 4 {
			b.Errorf("the vault has %+v", got)
		}
	}, anna)
}

func TestUnpluggedBeforeAnythingMakesNoSnapshot(t *testing.T) {
	onBench(t, func(b *bench) {
		c := b.plug(newHandset(anna, "a"))
		b.until(Copying)
		c.pull()
		b.until(Problem)
		if got, ok := b.attic.newest(anna); ok {
			b.Errorf("the vault has %+v", got)
		}
	}, anna)
}

func TestALockedPhoneIsAskedOnceASecond(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a")
		phone.setLocked(true)
		b.plug(phone)
		b.until(Waiting)
		time.Sleep(10*time.Minute + 3*time.Millisecond)
		phone.setLocked(false)
		from := time.Now()
		b.until(Copying)
		if took := time.Since(from); took > LockedPoll+20*time.Millisecond {
			b.Errorf("noticed after %v", took)
		}
		b.until(Done)
	}, anna)
}

func TestALockedPhoneThatDoesNotSaySo(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a", "b", "c")
		phone.shy = true
		phone.setLocked(true)
		b.plug(phone)
		b.until(Waiting)
		time.Sleep(10*time.Minute + 3*time.Millisecond)
		phone.setLocked(false)
		from := time.Now()
		b.until(Done)
		if took := time.Since(from); took > 10*time.Second {
			b.Errorf("took %v", took)
		}
		if n := len(b.box.State().Lines); n > 10 {
			b.Errorf("%d lines tell of it", n)
		}
	}, anna)
}

func TestWhatWasStoredWrongIsNotDone(t *testing.T) {
	onBench(t, func(b *bench) {
		b.attic.set(func(a *attic) { a.rot = true })
		b.plug(newHandset(anna, "a"))
		b.until(Verifying)
		if f, _ := b.until(Problem).Fault(); f.Code != DataLost {
			b.Errorf("fault %+v", f)
		}
	}, anna)
}

func TestAFileThatCannotBeReadIsNotDone(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a", "b")
		phone.broken["b"] = true
		b.plug(phone)
		s := b.until(Problem)
		if f, _ := s.Fault(); f.Code != FilesLeftOut || f.Detail != "1 of 2 files" {
			b.Errorf("fault %+v", f)
		}
		phone.mu.Lock()
		phone.broken["b"] = false
		phone.mu.Unlock()
		b.double() // try again
		b.until(Done)
	}, anna)
}

// A box that died while copying left files in no snapshot. They are kept, not read again, and must get into one even if
// the rest of the phone cannot be read.
func TestWhatADeadBoxStoredGetsIntoASnapshot(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a", "b")
		phone.broken["b"] = true
		b.attic.resume = map[string]string{"a": phone.files["a"]}
		b.plug(phone)
		b.until(Problem)
		got, ok := b.attic.newest(anna)
		if !ok || got.Complete || got.Files != 1 {
			b.Errorf("the vault has %+v", got)
		}
		time.Sleep(10 * time.Hour) // many tries later
		if again, _ := b.attic.newest(anna); !reflect.DeepEqual(again, got) {
			b.Errorf("another snapshot of the same: %+v", again)
		}
	}, anna)
}

func TestFullDrives(t *testing.T) {
	onBench(t, func(b *bench) {
		b.attic.set(func(a *attic) { a.full = true })
		b.plug(newHandset(anna, "a"))
		if f, _ := b.until(Problem).Fault(); f.Code != DrivesFull {
			b.Errorf("fault %+v", f)
		}
		b.attic.set(func(a *attic) { a.full = false })
		b.until(Done) // it tries again by itself
	}, anna)
}

func TestADriveDiesAndANewOneIsAdopted(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a")
		c := b.plug(phone)
		b.until(Done)
		b.attic.set(func(a *attic) { a.health = without() })
		if err := b.box.Do(b.Context(), CheckDrives{}); err != nil {
			b.Fatal(err)
		}
		b.until(Problem) // the phone is still attached: not done any more
		phone.add("b")
		c.pull()
		time.Sleep(time.Second)
		b.plug(phone)
		b.until(Copying)
		s := b.until(Problem)
		if f, _ := s.Fault(); f.Code != DriveMissing {
			b.Errorf("fault %+v", f)
		}
		if p, _ := s.Phone(anna); p.Outcome != Stored {
			b.Errorf("phone %+v", p)
		}
		b.attic.set(func(a *attic) {
			a.health.Drives = append(slices.Clone(a.health.Drives), Drive{ID: "d9", Label: "New", State: DriveUnknown})
		})
		b.until(AskingDrive) // seen by the routine check
		b.tap()
		b.wait("healing", func(s State) bool { return s.Heal != nil })
		b.until(Done)
	}, anna)
}

func TestAHealIsInterruptedByAPhone(t *testing.T) {
	onBench(t, func(b *bench) {
		b.attic.set(func(a *attic) { a.health = without(); a.health.Healable = true })
		if err := b.box.Do(b.Context(), CheckDrives{}); err != nil {
			b.Fatal(err)
		}
		b.wait("healing", func(s State) bool { return s.Heal != nil && s.Heal.Done == 4 })
		b.plug(newHandset(anna, "a"))
		b.until(Copying)
		if b.attic.heals != 0 {
			b.Error("the phone had to wait")
		}
		b.until(Done)
		if b.attic.heals != 1 {
			b.Errorf("healed %d times", b.attic.heals)
		}
	}, anna)
}

func TestRestoreWithTheButton(t *testing.T) {
	onBench(t, func(b *bench) {
		c := b.plug(newHandset(anna, "a", "b", "c"))
		b.until(Done)
		c.pull()
		b.until(Idle)
		phone := newHandset(fresh)
		c = b.plug(phone)
		b.until(Asking)
		b.press(10403 * time.Millisecond)
		b.until(Confirming)
		b.double()
		b.until(Restoring)
		b.wait("a file", func(State) bool { return len(phone.names()) == 1 })
		c.pull() // it comes loose, and is put in again
		if f, _ := b.until(Problem).Fault(); f.Code != TargetUnplugged {
			b.Errorf("fault %+v", f)
		}
		b.plug(phone)
		b.wait("the phone", func(s State) bool { p, _ := s.Phone(fresh); return p.Attached() })
		b.press(10403 * time.Millisecond)
		b.until(Confirming)
		b.double()
		b.until(Restored)
		if got := phone.names(); !slices.Equal(got, []string{"a", "b", "c"}) {
			b.Errorf("the new phone has %q", got)
		}
	}, anna)
}

func TestAPhoneWithFilesIsNoTarget(t *testing.T) {
	onBench(t, func(b *bench) {
		c := b.plug(newHandset(anna, "a"))
		b.until(Done)
		c.pull()
		b.until(Idle)
		for _, file := range []string{".thumbs/1", "Android/data/x"} { // made by the phone itself
			c := b.plug(newHandset(fresh, file))
			b.until(Asking)
			b.press(10403 * time.Millisecond)
			b.until(Confirming)
			c.pull()
			b.wait("nothing", func(s State) bool { return s.Restore == nil })
		}
		phone := newHandset(fresh, "DCIM/theirs.jpg")
		b.plug(phone)
		b.until(Asking)
		b.press(10403 * time.Millisecond)
		b.double()
		s := b.wait("a refusal", func(State) bool { return true })
		if s.Phase == Restoring || s.Phase == Confirming {
			b.Errorf("phase %s", s.Phase)
		}
		time.Sleep(time.Minute)
		if got := phone.names(); len(got) != 1 {
			b.Errorf("the phone has %q", got)
		}
	}, anna)
}

func TestAPhoneThatWasFilledAfterTheLookIsNoTarget(t *testing.T) {
	onBench(t, func(b *bench) {
		c := b.plug(newHandset(anna, "a"))
		b.until(Done)
		c.pull()
		b.until(Idle)
		phone := newHandset(fresh)
		b.plug(phone)
		b.until(Asking)
		b.press(10403 * time.Millisecond)
		b.until(Confirming)
		phone.add("DCIM/first.jpg")
		b.double()
		s := b.wait("a refusal", func(s State) bool { return len(s.Faults) > 0 })
		if f, _ := s.Fault(); f.Code != RestoreRefused || len(phone.names()) != 1 {
			b.Errorf("fault %+v, the phone has %q", f, phone.names())
		}
	}, anna)
}

func TestHoldingShutsDown(t *testing.T) {
	onBench(t, func(b *bench) {
		phone := newHandset(anna, "a", "b", "c")
		phone.perFile = 5 * time.Second
		b.plug(phone)
		b.wait("a file", func(s State) bool { return s.Progress != nil && s.Progress.Files == 1 })
		b.press(3503 * time.Millisecond)
		b.until(Off)
		if got, ok := b.attic.newest(anna); !ok || got.Complete || got.Files != 1 {
			b.Errorf("the vault has %+v", got)
		}
		if !b.shed.ejected {
			b.Error("the drives are not let go")
		}
	}, anna)
}

func TestStoppingTheBoxCommitsWhatItHas(t *testing.T) {
	onBench(t, func(b *bench) {
		b.plug(newHandset(anna, "a", "b", "c"))
		b.wait("a file", func(s State) bool { return s.Progress != nil && s.Progress.Files == 1 })
		b.stop()
		b.ended <- <-b.ended // wait here; onBench looks at it again
		if got, ok := b.attic.newest(anna); !ok || got.Complete || got.Files != 1 {
			b.Errorf("the vault has %+v", got)
		}
		if err := b.box.Do(context.Background(), CheckDrives{}); !errors.Is(err, ErrStopped) {
			b.Errorf("Do says %v", err)
		}
		if err := b.box.Edge(context.Background(), true, time.Now()); !errors.Is(err, ErrStopped) {
			b.Errorf("Edge says %v", err)
		}
		states, _ := b.box.Subscribe()
		<-states
		if _, open := <-states; open {
			b.Error("a subscription to a stopped box stays open")
		}
	}, anna)
}

func TestADeadBusEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{make(chan usbhost.Phone), make(chan error, 1)}
		box := New(Config{Bus: h, Vault: newAttic(), Roster: &book{}})
		dead := errors.New("bus: on fire")
		h.dead <- dead
		if err := box.Run(t.Context()); !errors.Is(err, dead) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// A subscriber that never reads holds nobody up, and then gets the newest State.
func TestSlowReadersGetTheNewest(t *testing.T) {
	onBench(t, func(b *bench) {
		states, cancel := b.box.Subscribe()
		b.plug(newHandset(anna, "a", "b", "c"))
		b.until(Done)
		if s := <-states; s.Phase != Done {
			b.Errorf("the newest is %s", s.Phase)
		}
		cancel()
		cancel() // twice does no harm
		if _, open := <-states; open {
			b.Error("a cancelled subscription stays open")
		}
	}, anna)
}

// Phones that come and go at any moment leave nothing behind, and the box always ends up done when one stays.
func TestALooseCable(t *testing.T) {
	for cut := time.Duration(0); cut < 9*time.Second; cut += 107 * time.Millisecond {
		onBench(t, func(b *bench) {
			phone := newHandset(anna, "a", "b", "c")
			c := b.plug(phone)
			time.Sleep(cut)
			c.pull()
			b.plug(phone)
			b.until(Done)
			if got, _ := b.attic.newest(anna); !got.Complete || got.Files != 3 {
				b.Errorf("cut at %v: the vault has %+v", cut, got)
			}
		}, anna)
	}
}

func TestTheVaultCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		box := New(Config{Bus: &hub{make(chan usbhost.Phone), make(chan error)}, Vault: sealed{newAttic()}, Roster: &book{}})
		ended := make(chan error, 1)
		go func() { ended <- box.Run(ctx) }()
		synctest.Wait()
		if s := box.State(); s.Phase != VaultLocked || s.Faults[0].Code != KeyWrong {
			t.Errorf("phase %s, faults %v", s.Phase, s.Faults)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// sealed is a vault that the key at hand does not open.
type sealed struct{ *attic }

func (sealed) Health(context.Context) (Health, error) {
	return Health{}, fmt.Errorf("sealed: %w", ErrWrongKey)
}

// The watchdog takes a Box that publishes nothing for a minute for hung.
func TestABoxThatLivesPublishesEverySecond(t *testing.T) {
	onBench(t, func(b *bench) {
		states, cancel := b.box.Subscribe()
		defer cancel()
		<-states
		for range 100 {
			from := time.Now()
			if <-states; time.Since(from) > tickEvery {
				b.Fatalf("nothing for %v", time.Since(from))
			}
		}
	})
}
