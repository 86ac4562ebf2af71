package vdrive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vdrive"
)

func TestCheck(t *testing.T) {
	if err := storage.Check(t.Context(), vdrive.New(1)); err != nil {
		t.Error(err)
	}
}

// A store that breaks a rule must not pass, or Check proves nothing.
func TestCheckFindsBrokenStores(t *testing.T) {
	for name, s := range map[string]storage.Store{
		"get flips a bit":           broken{Store: vdrive.New(1), get: func(p []byte) { p[0] ^= 1 }},
		"put keeps caller's buffer": &keeper{Store: vdrive.New(1)},
		"put twice is an error":     broken{Store: vdrive.New(1), put: errors.New("no")},
		"delete does nothing":       broken{Store: vdrive.New(1), noDelete: true},
	} {
		if storage.Check(t.Context(), s) == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

type broken struct {
	storage.Store
	get      func([]byte)
	put      error
	noDelete bool
}

func (b broken) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	n, err := b.Store.Get(ctx, name, off, p)
	if n > 0 && b.get != nil {
		b.get(p)
	}
	return n, err
}

func (b broken) Put(ctx context.Context, name string, p []byte) error {
	if _, err := b.Stat(ctx, name); err == nil && b.put != nil {
		return b.put
	}
	return b.Store.Put(ctx, name, p)
}

func (b broken) Delete(ctx context.Context, name string) error {
	if b.noDelete {
		return nil
	}
	return b.Store.Delete(ctx, name)
}

// keeper writes at Sync what the caller's buffer holds then.
type keeper struct {
	storage.Store
	name string
	p    []byte
}

func (k *keeper) Put(ctx context.Context, name string, p []byte) error {
	if len(p) == 5000 {
		k.name, k.p = name, p
	}
	return k.Store.Put(ctx, name, p)
}

func (k *keeper) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	n, err := k.Store.Get(ctx, name, off, p)
	if name == k.name {
		copy(p, k.p)
	}
	return n, err
}

func TestPowerCut(t *testing.T) {
	ctx := t.Context()
	lost, kept, torn := 0, 0, 0
	for seed := range uint64(300) {
		d := vdrive.New(seed)
		data := bytes.Repeat([]byte("acknowledged "), 200)
		if err := errors.Join(d.Put(ctx, "synced", data), d.Sync(ctx), d.Delete(ctx, "synced"), d.Put(ctx, "loose", data)); err != nil {
			t.Fatal(err)
		}
		d.CutPower(1)
		if err := d.Sync(ctx); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("sync in a power cut: %v", err)
		}
		if _, err := d.Stat(ctx, "synced"); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("stat without power: %v", err)
		}
		d.Plug()
		got, err := storage.ReadAll(ctx, d, "loose", 1<<20)
		switch {
		case errors.Is(err, storage.ErrNotExist):
			lost++
		case err != nil:
			t.Fatal(err)
		case bytes.Equal(got, data):
			kept++
		default:
			torn++
		}
		if got, err := storage.ReadAll(ctx, d, "synced", 1<<20); err == nil && !bytes.Equal(got, data) {
			t.Fatal("a synced blob was torn")
		}
	}
	if lost < 50 || kept < 50 || torn < 50 {
		t.Errorf("lost %d, kept %d, torn %d: want some of each", lost, kept, torn)
	}
}

func TestSyncedStays(t *testing.T) {
	ctx := t.Context()
	for n := 1; n <= 20; n++ {
		d := vdrive.New(uint64(n))
		d.CutPower(n)
		synced := 0
		for i := range 10 {
			if d.Put(ctx, fmt.Sprint(i), []byte("x")) != nil || d.Sync(ctx) != nil {
				break
			}
			synced = i + 1
		}
		d.Plug()
		for i := range synced {
			if _, err := d.Stat(ctx, fmt.Sprint(i)); err != nil {
				t.Errorf("cut at %d: %d was synced: %v", n, i, err)
			}
		}
		if want := (n - 1) / 2; synced != want {
			t.Errorf("cut at %d: %d blobs synced, want %d", n, synced, want)
		}
	}
}

func TestPowerIsShared(t *testing.T) {
	ctx := t.Context()
	p := vdrive.NewPower()
	a, b := vdrive.New(1), vdrive.New(2)
	p.Feed(a, b)
	p.Cut(2)
	if err := a.Put(ctx, "x", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(ctx, "x", nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("second write: %v", err)
	}
	if _, err := a.Stat(ctx, "x"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("other drive after the cut: %v", err)
	}
	p.Restore()
	if err := errors.Join(a.Put(ctx, "y", nil), a.Sync(ctx)); err != nil {
		t.Errorf("after the power is back: %v", err)
	}
	if p.Ops() != 4 {
		t.Errorf("%d writes counted, want 4", p.Ops())
	}
}

// A Store's Sync vouches for every Put before it; a drive that lost some in between must not.
func TestUnplugLosesWritesAndSaysSo(t *testing.T) {
	ctx := t.Context()
	for seed := range uint64(40) {
		d := vdrive.New(seed)
		if err := d.Put(ctx, "x", []byte("loose")); err != nil {
			t.Fatal(err)
		}
		d.Unplug()
		d.Plug()
		got, _ := storage.ReadAll(ctx, d, "x", 100)
		if err := d.Sync(ctx); err == nil && string(got) != "loose" {
			t.Fatalf("seed %d: sync vouches for a blob that is %q", seed, got)
		}
	}
}

func TestFaults(t *testing.T) {
	ctx := t.Context()
	d := vdrive.New(1)
	if err := d.Put(ctx, "a", []byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	d.Rot("a", 9)
	if got, err := storage.ReadAll(ctx, d, "a", 2); err != nil || !bytes.Equal(got, []byte{0, 2}) {
		t.Errorf("rotten: %v, %v", got, err)
	}
	d.Full(3)
	if err := d.Put(ctx, "b", make([]byte, 4)); !errors.Is(err, storage.ErrFull) {
		t.Errorf("full: %v", err)
	}
	if err := d.Put(ctx, "b", make([]byte, 3)); err != nil {
		t.Errorf("not yet full: %v", err)
	}
	d.ReadOnly(true)
	if err := d.Delete(ctx, "b"); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	d.ReadOnly(false)
	d.ErrorOn(vdrive.OpGet, 1, storage.ErrCorrupt)
	if _, err := d.Get(ctx, "a", 0, make([]byte, 1)); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("told to fail: %v", err)
	}
	if _, err := d.Get(ctx, "a", 0, make([]byte, 1)); err != nil {
		t.Errorf("told to fail once: %v", err)
	}
	d.Truncate("a", 1)
	if info, err := d.Stat(ctx, "a"); err != nil || info.Size != 1 {
		t.Errorf("truncated: %v, %v", info, err)
	}
	d.Lose("a")
	if _, err := d.Stat(ctx, "a"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("lost: %v", err)
	}
}

func TestSlowAndHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := vdrive.New(1)
		d.Slow(1003 * time.Millisecond)
		began := time.Now()
		if err := d.Put(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 1003*time.Millisecond {
			t.Errorf("slow put took %v", took)
		}
		d.Slow(0)
		d.Hang()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if err := d.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hanging sync: %v", err)
		}
		d.Resume()
		if err := d.Sync(t.Context()); err != nil {
			t.Errorf("resumed sync: %v", err)
		}
	})
}
