//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/plain"
	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/folder"
)

// lane is a bus on which a test puts phones.
type lane chan usbhost.Phone

func (l lane) Accept(ctx context.Context) (usbhost.Phone, error) {
	select {
	case p := <-l:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// slot is a memory card in the box, until it is pulled.
type slot struct {
	usbhost.Phone
	gone chan struct{}
}

func (s slot) Gone() <-chan struct{} { return s.gone }

// lab is a whole box over folders, in a bubble of fake time.
type lab struct {
	*testing.T
	site
	state string
	bays  *bays
	box   *firmware.Box
	lane  lane

	updater firmware.Updater // nil: it takes no updates
}

// run runs the box for as long as f takes.
func (l *lab) run(f func()) {
	l.Helper()
	key, err := readKey(l.key)
	if err != nil {
		l.Fatal(err)
	}
	b := &bays{password: key, policy: vault.DefaultPolicy, state: l.state}
	for _, dir := range append(l.drives, filepath.Join(l.dir, "plain")) {
		b.plug(dir)
	}
	l.runOn(b, f)
}

// runOn runs the box on these bays.
func (l *lab) runOn(b *bays, f func()) {
	l.Helper()
	l.bays = b
	l.lane = make(lane)
	l.box = firmware.New(firmware.Config{Bus: l.lane, Vault: l.bays, Roster: roster{filepath.Join(l.state, enrolledName)}, Drives: l.bays,
		Keeper: l.bays, Diary: diary{l.state}, Updater: l.updater})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.box.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			l.Error(err)
		}
		if err := l.bays.Eject(context.Background()); err != nil {
			l.Error(err)
		}
	}()
	f()
}

// until waits for a State, for six hours of its time at most.
func (l *lab) until(what string, ok func(firmware.State) bool) firmware.State {
	l.Helper()
	states, stop := l.box.Subscribe()
	defer stop()
	late := time.After(6 * time.Hour)
	for {
		select {
		case s := <-states:
			if ok(s) {
				return s
			}
		case <-late:
			s := l.box.State()
			l.Fatalf("never came to %s: phase %s, job %+v, faults %v, checks %+v, phones %+v, lines %v", what, s.Phase, s.Job, s.Faults, s.Upkeep.Checks, s.Phones, s.Lines)
		}
	}
}

// backUp puts the folder in as a card, waits until it is done, and pulls it.
func (l *lab) backUp(dir string) {
	l.Helper()
	p, err := folder.Open(dir)
	if err != nil {
		l.Fatal(err)
	}
	s := slot{p, make(chan struct{})}
	l.lane <- s
	l.until("done", func(s firmware.State) bool { return s.Phase == firmware.Done })
	close(s.gone)
	l.until("idle", func(s firmware.State) bool { return s.Phase == firmware.Idle })
}

// checked reports whether all drives were read to the end in this run's passes, and nothing is left to do.
func checked(s firmware.State) bool {
	for _, d := range s.Health.Drives {
		if c, ok := s.CheckOf(d.ID); d.State == firmware.DriveOK && (!ok || !c.Done || c.Bad > 0) {
			return false
		}
	}
	return s.Health.Known && s.Job.Kind == firmware.NoJob
}

// stamps tells of everything below a folder when it was changed last, and how large it is.
func stamps(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", p, info.ModTime().UnixNano(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func newLab(t *testing.T, n int) *lab {
	l := &lab{T: t, site: newSite(t, n, 1)}
	l.state = filepath.Join(l.dir, "state")
	if err := os.Mkdir(l.state, 0o700); err != nil {
		t.Fatal(err)
	}
	return l
}

// A month of a box: a card is backed up, the plain drive gets it too, all drives are read whole, and then nothing is
// written to any drive any more. A month later a file has rotted: it is found, mended and told, and a restart knows it.
func TestUpkeepOfAWholeBox(t *testing.T) {
	l := newLab(t, 3)
	card := filepath.Join(l.dir, "card")
	makePhone(t, card)
	d, err := plain.Create(filepath.Join(l.dir, "plain"), driveVault(t, l.drives[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	enrolCard(t, l, card)
	synctest.Test(t, func(t *testing.T) {
		l.T = t
		l.run(func() {
			l.backUp(card)
			s := l.until("everything was read", checked)
			for _, d := range s.Health.Drives {
				if c, _ := s.CheckOf(d.ID); d.State != firmware.DrivePlain && (c.Full == nil || c.Full.Bad+c.Full.Mended > 0) {
					t.Errorf("%s: %+v", d.Label, c)
				}
			}
			time.Sleep(time.Hour)
			if got := len(contents(t, filepath.Join(l.dir, "plain"))); got < 200 {
				t.Errorf("the plain drive holds %d files", got)
			}
			s = l.until("everything was decrypted", func(s firmware.State) bool { return s.Upkeep.Drill.Done })
			if at, verdict := s.Upkeep.LastDrill(); at.IsZero() || verdict != "all of it can be restored" || s.Upkeep.Drill.Bad+s.Upkeep.Drill.Lost > 0 {
				t.Errorf("the drill: %q, %+v", verdict, s.Upkeep.Drill)
			}
			before := ""
			for _, dir := range append(l.drives, filepath.Join(l.dir, "plain")) {
				before += stamps(t, dir)
			}
			time.Sleep(2 * 24 * time.Hour)
			after := ""
			for _, dir := range append(l.drives, filepath.Join(l.dir, "plain")) {
				after += stamps(t, dir)
			}
			if before != after {
				t.Errorf("an idle box writes:\n%s\nthen\n%s", before, after)
			}
		})
		if n, err := rot(l.drives[1], "shards", 1); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		aMonthAgo(t, l)
		l.run(func() {
			l.until("the rot is found", func(s firmware.State) bool {
				for _, c := range s.Upkeep.Checks {
					if c.Bad > 0 {
						return true
					}
				}
				return false
			})
			s := l.until("it is mended", checked)
			if n := l.bays.healed().Mended; n != 1 || len(s.Faults) > 0 {
				t.Errorf("%d mended, faults %v", n, s.Faults)
			}
		})
		l.run(func() {
			s := l.until("a restart", func(s firmware.State) bool { return s.Phase == firmware.Idle })
			mended := 0
			for _, c := range s.Upkeep.Checks {
				if c.Full != nil {
					mended += c.Full.Mended
				}
			}
			if mended != 1 {
				t.Errorf("after a restart it knows %+v", s.Upkeep.Checks)
			}
		})
	})
	l.T = t
	must(t, exitOK, l.with("vault", "scrub")...)
}

// enrolCard writes the roster as an enrolment would have.
func enrolCard(t *testing.T, l *lab, card string) {
	t.Helper()
	p, err := folder.Open(card)
	if err != nil {
		t.Fatal(err)
	}
	info, err := p.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := (roster{filepath.Join(l.state, enrolledName)}).Enrol(t.Context(), firmware.Enrolment{ID: info.ID, Name: "Card", Order: 1}); err != nil {
		t.Fatal(err)
	}
}

func driveVault(t *testing.T, dir string) string {
	t.Helper()
	id, ok := vaultOf(dir)
	if !ok {
		t.Fatal("no drive")
	}
	return id
}

// aMonthAgo makes what the diary tells a month older.
func aMonthAgo(t *testing.T, l *lab) {
	t.Helper()
	u, err := diary{l.state}.Remembered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u.Powered += firmware.ScrubEvery
	if err := (diary{l.state}).Write(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

// The box that is stopped in the middle of a drive goes on there, and a diary or a place that is lost or damaged costs
// nothing but reading again.
func TestUpkeepIsRemembered(t *testing.T) {
	l := newLab(t, 3)
	card := filepath.Join(l.dir, "card")
	makePhone(t, card)
	must(t, exitOK, l.with("backup", "folder:"+card)...)
	for _, lost := range []string{"", passesName, upkeepName} {
		b := &bays{state: l.state}
		began := firmware.Stamp{Powered: time.Hour, Clock: time.Now()}
		if lost != "" {
			if err := os.WriteFile(filepath.Join(l.state, lost), []byte("{torn"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := b.pass("d", began)
		p.Next = "data/12"
		if err := b.keepPass("d", p); err != nil {
			t.Fatal(err)
		}
		b = &bays{state: l.state}
		var back firmware.Stamp
		if raw, err := json.Marshal(began); err != nil || json.Unmarshal(raw, &back) != nil {
			t.Fatal(err)
		}
		if p := b.pass("d", back); p.Next != "data/12" {
			t.Errorf("the same pass, after a restart: %+v", p)
		}
		if p := b.pass("d", firmware.Stamp{Powered: 2 * time.Hour, Clock: time.Now()}); p.Next != "" {
			t.Errorf("a new pass goes on at %q", p.Next)
		}
	}
	if _, err := (diary{l.state}).Remembered(t.Context()); err == nil {
		t.Error("a damaged diary is believed")
	}
	synctest.Test(t, func(t *testing.T) {
		l.T = t
		l.run(func() { l.until("everything was read", checked) })
	})
}
