//go:build !rescue

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/image/update"
)

// flash is an SD card in memory, with the system of counter 3 in slot A.
type flash struct {
	slots map[update.Slot]*chip
	line  *chip
	trial *chip
	dir   string // of the record
}

// chip is an update.Medium.
type chip struct{ b []byte }

func (c *chip) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(c.b).ReadAt(p, at) }
func (c *chip) WriteAt(p []byte, at int64) (int, error) {
	return copy(c.b[at:], p), nil
}
func (c *chip) Sync() error { return nil }

func newFlash(t *testing.T) *flash {
	line := []byte("root=PARTUUID=b0c5b0c5-02 ro")
	return &flash{slots: map[update.Slot]*chip{update.SlotA: {bytes.Repeat([]byte("a"), 4096)}, update.SlotB: {make([]byte, 4096)}},
		line: &chip{bytes.Clone(line)}, trial: &chip{bytes.Clone(line)}, dir: t.TempDir()}
}

// start starts the system in a slot, of a counter.
func (f *flash) start(t *testing.T, from *chip, counter string) *updates {
	t.Helper()
	_, slot, err := update.Root(from.b)
	if err != nil {
		t.Fatal(err)
	}
	updateCounter = counter
	u, err := newUpdates(update.Card{Running: slot, Spare: f.slots[slot.Other()], Room: 4096, Line: f.line, Trial: f.trial}, f.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	u.room = func(string) (int64, error) { return spareRoom + 5000, nil }
	began := time.Now()
	u.ages = func() time.Duration { return time.Since(began) }
	return u
}

// maker signs updates, and is the one whom this boxd believes while the test runs.
func maker(t *testing.T) ed25519.PrivateKey {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	oldKey, oldCounter := updateKey, updateCounter
	t.Cleanup(func() { updateKey, updateCounter = oldKey, oldCounter })
	updateKey = base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	return key
}

func signed(t *testing.T, key ed25519.PrivateKey, version string, counter uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := update.Write(&b, update.Header{Version: version, Counter: counter}, strings.NewReader(strings.Repeat(version, 300)), key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// onFlash runs a box without drives, which takes updates, for as long as f takes.
func onFlash(t *testing.T, u *updates, well func(context.Context) error, f func(states func(string, func(firmware.State) bool) firmware.State)) error {
	t.Helper()
	l := &lab{T: t, state: t.TempDir()}
	var err error
	l.updater = u
	l.runOn(&bays{}, func() {
		u.box = l.box
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- u.run(ctx, well) }()
		f(l.until)
		stop()
		err = <-done
	})
	return err
}

func fine(context.Context) error { return nil }

func updated(s firmware.State) bool { return s.Restart == firmware.ToUpdate && s.LetGo }

// A drive with several updates: the newest is installed, what is none of ours is told, and once. The box starts anew from it, is
// well, and keeps it; the same drive is no reason for anything then.
func TestAnUpdateOnADriveIsTaken(t *testing.T) {
	key, f, drive := maker(t), newFlash(t), t.TempDir()
	writeFile(t, filepath.Join(drive, "BOXD-1.1.UPDATE"), signed(t, key, "1.1", 4), time.Now())
	writeFile(t, filepath.Join(drive, "boxd-1.2.update"), signed(t, key, "1.2", 5), time.Now())
	writeFile(t, filepath.Join(drive, "boxd-0.9.update"), signed(t, key, "0.9", 2), time.Now())
	writeFile(t, filepath.Join(drive, "holiday.update"), []byte("none"), time.Now())
	if err := os.Mkdir(filepath.Join(drive, "boxd-folder.update"), 0o700); err != nil {
		t.Fatal(err)
	}
	places := func() []place { return []place{{1, drive}} }
	synctest.Test(t, func(t *testing.T) {
		u := f.start(t, f.line, "3")
		u.places = places
		if again, err := u.begin(); again || err != nil {
			t.Fatal(again, err)
		}
		err := onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
			if s := until("a restart", updated); s.Update != "1.2" || len(s.Faults) != 1 || s.Faults[0].Code != firmware.KeyMissing {
				t.Errorf("update %q, faults %v", s.Update, s.Faults)
			}
		})
		if err != nil || !bytes.HasPrefix(f.slots[update.SlotB].b, []byte("1.21.2")) {
			t.Fatalf("%v; slot B: %q", err, f.slots[update.SlotB].b[:20])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		u := f.start(t, f.trial, "5")
		u.places = places
		if again, err := u.begin(); again || err != nil || u.stand != update.OnTrial {
			t.Fatal(again, err, u.stand)
		}
		err := onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
			time.Sleep(update.HealthyFor + time.Minute)
			if s := until("something", func(firmware.State) bool { return true }); s.Update != "" || len(s.Faults) != 1 {
				t.Errorf("update %q, faults %v", s.Update, s.Faults)
			}
		})
		if _, kept, _ := update.Root(f.line.b); err != nil || kept != update.SlotB {
			t.Error(err, kept)
		}
		if r, err := update.ReadRecord(f.dir); err != nil || r.Floor != 5 || r.Trial != nil {
			t.Error(r, err)
		}
	})
}

// An update that is never well goes back by itself within a quarter of an hour, is tried once more, and is then told of.
func TestAnUpdateThatIsNotWellIsTakenBack(t *testing.T) {
	key, f := maker(t), newFlash(t)
	u := f.start(t, f.line, "3")
	if _, err := u.card.Install(t.Context(), bytes.NewReader(signed(t, key, "1.2", 5)), u.keys, nil); err != nil {
		t.Fatal(err)
	}
	for try := range update.MaxTries {
		synctest.Test(t, func(t *testing.T) {
			u := f.start(t, f.trial, "5")
			if again, err := u.begin(); again || err != nil || u.stand != update.OnTrial {
				t.Fatal(again, err, u.stand)
			}
			err := onFlash(t, u, func(context.Context) error { return errors.New("no page") }, func(func(string, func(firmware.State) bool) firmware.State) {
				time.Sleep(15 * time.Minute)
			})
			if !errors.Is(err, errUnhealthy) {
				t.Error(err)
			}
			u = f.start(t, f.line, "3")
			if again, err := u.begin(); again != (try < update.MaxTries-1) || err != nil {
				t.Fatal(try, again, err)
			}
			if try < update.MaxTries-1 {
				return
			}
			err = onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
				until("its words", func(s firmware.State) bool { return told(s, firmware.UpdateFailedFault) })
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func told(s firmware.State, c firmware.Code) bool {
	return slices.ContainsFunc(s.Faults, func(f firmware.Fault) bool { return f.Code == c })
}

// What cannot be installed is told in words, and once: it stays on its drive.
func TestAnUpdateThatCannotBeTakenIsTold(t *testing.T) {
	key := maker(t)
	good := signed(t, key, "1.2", 5)
	short, other := good[:len(good)-1], signed(t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)), "1.2", 5)
	for name, file := range map[string]struct {
		content []byte
		words   error
		noKey   bool
	}{"cut short": {short, update.ErrDamaged, false}, "of another maker": {other, update.ErrSignature, false}, "no update": {[]byte("x"), update.ErrNotUpdate, false},
		"a box without a key": {good, update.ErrNoKey, true}} {
		t.Run(name, func(t *testing.T) {
			f, drive := newFlash(t), t.TempDir()
			writeFile(t, filepath.Join(drive, "boxd-1.2.update"), file.content, time.Now())
			if file.noKey {
				known := updateKey
				updateKey = ""
				defer func() { updateKey = known }()
			}
			synctest.Test(t, func(t *testing.T) {
				u := f.start(t, f.line, "3")
				u.places = func() []place { return []place{{1, drive}} }
				if _, err := u.begin(); err != nil {
					t.Fatal(err)
				}
				err := onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
					s := until("its words", func(s firmware.State) bool { return told(s, firmware.UpdateRefusedFault) })
					if i := slices.IndexFunc(s.Faults, func(f firmware.Fault) bool { return f.Code == firmware.UpdateRefusedFault }); s.Faults[i].Detail != file.words.Error() {
						t.Errorf("it says %q", s.Faults[i].Detail)
					}
					if err := u.box.Do(t.Context(), firmware.Acknowledge{}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Hour)
					if s := u.box.State(); told(s, firmware.UpdateRefusedFault) || s.Restart != firmware.NoRestart {
						t.Errorf("told again: %v", s.Faults)
					}
				})
				if _, kept, _ := update.Root(f.trial.b); err != nil || kept != update.SlotA {
					t.Error(err, kept)
				}
			})
		})
	}
}
