//go:build !rescue

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/image/update"
	"phonebackupbox/ui/web"
)

// empty fails where anything is left of what was taken in.
func (f *flash) empty(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(f.dir, incoming+"*"))
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// An update that comes over the network is taken in whole or not at all, and no file of it is left afterwards.
func TestAnUpdateFromThePage(t *testing.T) {
	key, f := maker(t), newFlash(t)
	good := signed(t, key, "1.2", 5)
	gone := errors.New("the cable came out")
	synctest.Test(t, func(t *testing.T) {
		u := f.start(t, f.line, "3")
		if _, err := u.begin(); err != nil {
			t.Fatal(err)
		}
		err := onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
			for name, tt := range map[string]struct {
				r    io.Reader
				want error
			}{
				"no update":      {strings.NewReader("not one"), update.ErrNotUpdate},
				"an old one":     {bytes.NewReader(signed(t, key, "0.1", 1)), update.ErrOld},
				"changed":        {bytes.NewReader(bytes.Replace(good, []byte("1.21.2"), []byte("1.21.3"), 1)), update.ErrDamaged},
				"another header": {bytes.NewReader(bytes.Replace(good, []byte("1.2"), []byte("9.9"), 1)), update.ErrSignature},
				"too large":      {bytes.NewReader(signed(t, key, strings.Repeat("x", 60), 9)), update.ErrTooLarge},
				"more follows":   {io.MultiReader(bytes.NewReader(good), strings.NewReader("x")), update.ErrDamaged},
				"its line drops": {io.MultiReader(bytes.NewReader(good[:len(good)-9]), iotest.ErrReader(gone)), gone},
			} {
				if _, err := u.Take(t.Context(), tt.r); !errors.Is(err, tt.want) {
					t.Errorf("%s: %v", name, err)
				}
				f.empty(t)
			}
			for n := range len(good) {
				if _, err := u.Take(t.Context(), bytes.NewReader(good[:n])); err == nil {
					t.Fatalf("cut after %d bytes, it was taken", n)
				}
			}
			f.empty(t)
			if s := u.Status(); s.Waiting != "" || s.Arriving != nil || u.box.State().Update != "" {
				t.Errorf("%+v", s)
			}
			if v, err := u.Take(t.Context(), bytes.NewReader(good)); err != nil || v != "1.2" {
				t.Error(v, err)
			}
			until("a restart", updated)
		})
		if err != nil || !bytes.HasPrefix(f.slots[update.SlotB].b, []byte("1.21.2")) {
			t.Error(err)
		}
	})
	f.empty(t)
}

// While one is being taken in there is no other, and how far it is can be seen. One that waits is not taken again, nor an older one; a
// newer one takes its place.
func TestOneUpdateAtATime(t *testing.T) {
	key, f := maker(t), newFlash(t)
	four, five := signed(t, key, "1.1", 4), signed(t, key, "1.2", 5)
	synctest.Test(t, func(t *testing.T) {
		u := f.start(t, f.line, "3")
		err := onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
			waits := candidate{filepath.Join(f.dir, incoming+"4"), update.Header{Version: "1.1", Counter: 4}}
			writeFile(t, waits.path, four, time.Now())
			u.mu.Lock()
			u.offer = waits
			u.mu.Unlock()
			if _, err := u.Take(t.Context(), bytes.NewReader(four)); err == nil || err.Error() != "version 1.1 waits to be installed already" {
				t.Error(err)
			}
			r, w := io.Pipe()
			ended := make(chan error, 1)
			go func() { _, err := u.Take(t.Context(), r); ended <- err }()
			if _, err := w.Write(five[:len(five)-10]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if s := u.Status(); s.Arriving == nil || *s.Arriving != (web.Arriving{Version: "1.2", Size: 900}) || s.Waiting != "1.1" || s.Slot != "A" || s.Counter != 3 {
				t.Errorf("%+v", s)
			}
			if _, err := u.Take(t.Context(), bytes.NewReader(five)); !errors.Is(err, web.ErrBusy) {
				t.Error(err)
			}
			_, err := w.Write(five[len(five)-10:])
			if err = errors.Join(err, w.Close(), <-ended); err != nil {
				t.Fatal(err)
			}
			until("a restart", updated)
			if _, err := u.Take(t.Context(), bytes.NewReader(signed(t, key, "1.3", 6))); err == nil { // it is shutting down
				t.Error(err)
			}
		})
		if err != nil || !bytes.HasPrefix(f.slots[update.SlotB].b, []byte("1.21.2")) {
			t.Error(err)
		}
	})
	f.empty(t)
}

// A card that is too full is found out before anything is written, or else leaves nothing.
func TestAnUpdateNeedsRoom(t *testing.T) {
	key, f := maker(t), newFlash(t)
	good := signed(t, key, "1.2", 5)
	u := f.start(t, f.line, "3")
	u.box = firmware.New(firmware.Config{Updater: u})
	for _, room := range []int64{0, spareRoom + 900} {
		u.room = func(string) (int64, error) { return room, nil }
		if _, err := u.Take(t.Context(), bytes.NewReader(good)); !errors.Is(err, web.ErrNoRoom) {
			t.Error(room, err)
		}
	}
	u = f.start(t, f.line, "3")
	u.box = firmware.New(firmware.Config{Updater: u})
	u.dir = filepath.Join(f.dir, "no folder") // what a file system says that went read-only is alike
	if _, err := u.Take(t.Context(), bytes.NewReader(good)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	f.empty(t)
	if room, err := roomIn(f.dir); err != nil || room <= 0 {
		t.Error(room, err)
	}
}

// The power is cut while one comes in, or before it was installed: the next start takes neither for an update.
func TestAnUpdateThatWasCutShortIsForgotten(t *testing.T) {
	key, f := maker(t), newFlash(t)
	good := signed(t, key, "1.2", 5)
	for _, name := range []string{"5.part", "5", "4"} {
		writeFile(t, filepath.Join(f.dir, incoming+name), good, time.Now())
	}
	synctest.Test(t, func(t *testing.T) {
		u := f.start(t, f.line, "3")
		if _, err := u.begin(); err != nil {
			t.Fatal(err)
		}
		f.empty(t)
		if err := onFlash(t, u, fine, func(func(string, func(firmware.State) bool) firmware.State) {
			time.Sleep(time.Hour)
			if s := u.box.State(); s.Update != "" || s.Restart != firmware.NoRestart {
				t.Errorf("update %q, %q", s.Update, s.Restart)
			}
		}); err != nil {
			t.Error(err)
		}
	})
}

// A box that was built without a key says so, and reads nothing.
func TestAnUploadToABoxWithoutAKey(t *testing.T) {
	maker(t)
	updateKey = ""
	f := newFlash(t)
	u := f.start(t, f.line, "3")
	if _, err := u.Take(context.Background(), iotest.ErrReader(errors.New("it was read"))); !errors.Is(err, update.ErrNoKey) {
		t.Error(err)
	}
	if s := u.Status(); s.Refuses != update.ErrNoKey.Error() {
		t.Errorf("%+v", s)
	}
}
