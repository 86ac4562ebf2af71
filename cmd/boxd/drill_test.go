//go:build !rescue

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
)

// garble changes a byte of a pack as if that had been stored: each drive holds what was written to it, and only who decrypts it
// sees that it is wrong.
func garble(t *testing.T, s site) {
	t.Helper()
	ctx := t.Context()
	r, err := openArray(ctx, s.drives, writing)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	for info, err := range r.array.List(ctx, "data/") {
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, info.Size)
		if _, err := r.array.Get(ctx, info.Name, 0, p); err != nil {
			t.Fatal(err)
		}
		p[len(p)/3] ^= 1
		if err := errors.Join(r.array.Delete(ctx, info.Name), r.array.Put(ctx, info.Name, p), r.array.Sync(ctx)); err != nil {
			t.Fatal(err)
		}
		break
	}
}

// A month after all was well something is stored that nobody can decrypt. No drive is at fault and a scrub finds nothing; the box's
// own drill does, shows it as a loss, and remembers it when it is switched on again.
func TestTheDrillFindsWhatNoScrubCan(t *testing.T) {
	l := newLab(t, 3)
	card := filepath.Join(l.dir, "card")
	makePhone(t, card)
	must(t, exitOK, l.with("backup", "folder:"+card)...)
	garble(t, l.site)
	must(t, exitOK, l.with("vault", "scrub")...)
	synctest.Test(t, func(t *testing.T) {
		l.T = t
		at := func(s firmware.State) bool {
			return len(s.Faults) > 0 && s.Faults[0].Code == firmware.DataLost
		}
		l.run(func() {
			l.until("the fault", at)
			s := l.until("the end of the drill", func(s firmware.State) bool { return s.Upkeep.Drill.Done })
			if d := s.Upkeep.Drill; d.Bad != 1 || d.Lost == 0 || s.Phase != firmware.Problem {
				t.Errorf("phase %s: %+v", s.Phase, d)
			}
		})
		l.run(func() { l.until("the fault, after a restart", at) })
	})
}

// endVaultAt ends what is under way at its nth read of a pack; see endingStore.
func endVaultAt(t *testing.T, b *bays, nth int64) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := b.use(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ending := &endingStore{Store: r.array, end: cancel}
	ending.left.Store(nth)
	if r.vault, err = vault.Open(ctx, ending, b.password, vault.Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// A drill that a phone ends loses nothing: the box goes on after the packs that it has read, through a restart too. A new month's
// begins at the start, and so does one whose place is damaged.
func TestDrillGoesOn(t *testing.T) {
	l := newLab(t, 3)
	card := filepath.Join(l.dir, "card")
	makePhone(t, card)
	must(t, exitOK, l.with("backup", "folder:"+card)...)
	key, err := readKey(l.key)
	if err != nil {
		t.Fatal(err)
	}
	began := firmware.Stamp{Powered: time.Hour, Clock: time.Now()}
	box := func() *bays {
		b := &bays{password: key, policy: vault.DefaultPolicy, state: l.state}
		for _, dir := range l.drives {
			b.plug(dir)
		}
		t.Cleanup(func() {
			if err := b.Eject(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return b
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one pack after the other
	b := box()
	last := 0.0
	for nth := int64(2); last == 0; nth++ {
		got, err := b.Drill(endVaultAt(t, b, nth), began, time.Hour)
		if !errors.Is(err, context.Canceled) || got.Done || got.Bad > 0 {
			t.Fatalf("interrupted at read %d: %+v, %v", nth, got, err)
		}
		last = got.Fraction
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	b = box()
	r, err := b.use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := r.vault.ID()
	if p := b.drill(id, began); p.Packs == 0 || p.Next == "" {
		t.Errorf("after a restart: %+v", p)
	}
	if got, err := b.Drill(t.Context(), began, time.Hour); err != nil || !got.Done || got.Bad+got.Hit > 0 || got.Fraction != 1 {
		t.Errorf("to its end: %+v, %v", got, err)
	}
	if p := b.drill(id, firmware.Stamp{Powered: 2 * time.Hour}); p.Packs > 0 || p.Done {
		t.Errorf("a new one begins with %+v", p)
	}
	if err := os.WriteFile(filepath.Join(l.state, drillName), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.drilled = keptDrill{}
	if p := b.drill(id, began); p.Packs > 0 || p.Done {
		t.Errorf("a damaged place is believed: %+v", p)
	}
}

// A slice that has no time reads next to nothing, and many of them come to the end.
func TestDrillInSlices(t *testing.T) {
	l := newLab(t, 3)
	card := filepath.Join(l.dir, "card")
	makePhone(t, card)
	must(t, exitOK, l.with("backup", "folder:"+card)...)
	key, err := readKey(l.key)
	if err != nil {
		t.Fatal(err)
	}
	b := &bays{password: key, state: l.state}
	for _, dir := range l.drives {
		b.plug(dir)
	}
	defer func() {
		if err := b.Eject(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	began := firmware.Stamp{Powered: time.Hour}
	for span := time.Millisecond; ; span *= 2 {
		got, err := b.Drill(t.Context(), began, span)
		if err != nil || got.Bad+got.Hit > 0 {
			t.Fatalf("%v: %+v, %v", span, got, err)
		}
		if got.Done {
			break
		}
	}
}
