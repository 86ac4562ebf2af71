package array_test

import (
	"errors"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// A drive that was away catches up by what the ledger says it lacks.
func TestStaleDriveReturns(t *testing.T) {
	r := newRig(t, 11, 3, 1)
	fill(t, r.a, 0)
	a := r.reopen(0, 1)
	fill(t, a, 10)
	if err := a.Delete(t.Context(), packName(4)); err != nil {
		t.Fatal(err)
	}
	mustSync(t, a)
	a = r.reopen()
	if _, err := a.Stat(t.Context(), packName(4)); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("deleted while a drive was away: %v", err)
	}
	wantFill(t, a, 10)
	rep := repair(t, a)
	if rep.Orphans != 2 { // the shard of the deleted blob and its side parity
		t.Errorf("%+v", rep)
	}
	wantHealthy(t, a)
	a = r.reopen(2)
	wantBlob(t, a, packName(11), pack(77, 11)) // small blobs are on every drive
}

// Drives used apart: what either one has is there, and no delete crosses the fork.
func TestFork(t *testing.T) {
	r := newRig(t, 13, 2, 1)
	fill(t, r.a, 0)
	a := r.reopen(0)
	fill(t, a, 10)
	if err := a.Delete(t.Context(), packName(3)); err != nil {
		t.Fatal(err)
	}
	mustSync(t, a)
	b := r.reopen(1)
	fill(t, b, 20)
	mustPut(t, b, packName(11), pack(77, 11)) // the same on both sides
	mustSync(t, b)
	for range 2 {
		both := r.reopen()
		for _, from := range []int{0, 10, 20} {
			wantFill(t, both, from)
		}
		repair(t, both)
		h := wantHealthy(t, both)
		for _, d := range h.Drives {
			if !d.Complete {
				t.Errorf("drive %s is not complete", d.Label)
			}
		}
	}
	for drive := range 2 {
		one := r.reopen(drive)
		for _, from := range []int{0, 10, 20} {
			wantFill(t, one, from)
		}
	}
}

func TestTwins(t *testing.T) {
	r := newRig(t, 15, 3, 1)
	fill(t, r.a, 0)
	ms := r.members()
	ms = append(ms, array.Member{ID: "drive-1", Label: "clone", Store: vdrive.New(5)})
	a, err := array.Open(t.Context(), ms, array.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFill(t, a, 0)
	h, err := a.Health(t.Context())
	if err != nil || h.Drives[1].State != array.Twin || h.Healthy() {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestForeign(t *testing.T) {
	one, two := newRig(t, 17, 2, 1), newRig(t, 18, 1, 0)
	ms := one.members()
	ms[1] = array.Member{ID: "other", Label: "other", Store: two.drives[0]}
	if _, err := array.Open(t.Context(), ms, array.Options{}); !errors.Is(err, array.ErrForeign) {
		t.Errorf("open with another array's drive: %v", err)
	}
	if err := one.a.Add(t.Context(), ms[1]); !errors.Is(err, array.ErrForeign) {
		t.Errorf("add another array's drive: %v", err)
	}
	if _, err := array.Create(t.Context(), ms[1:], array.Options{}); !errors.Is(err, array.ErrForeign) {
		t.Errorf("create over another array: %v", err)
	}
	blank := []array.Member{{ID: "x", Store: vdrive.New(1)}}
	if _, err := array.Open(t.Context(), blank, array.Options{}); !errors.Is(err, array.ErrNoLedger) {
		t.Errorf("open a blank drive: %v", err)
	}
	fill(t, one.a, 0)
	a, err := array.Open(t.Context(), append(one.members(), blank...), array.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Health(t.Context())
	if err != nil || len(h.Drives) != 3 || h.Drives[0].State != array.Blank {
		t.Errorf("%+v, %v", h, err)
	}
}

// Folding the ledger loses nothing, in whatever state it finds it.
func TestFold(t *testing.T) {
	for n := 1; n <= 3; n++ {
		r := newRig(t, 21, n, min(1, n-1))
		for i := range 40 {
			array.SetFold(r.a, 3)
			mustPut(t, r.a, packName(i), pack(i*9000, uint64(i)))
			if i >= 20 && i%2 == 0 {
				if err := r.a.Delete(t.Context(), packName(i-20)); err != nil {
					t.Fatal(err)
				}
			}
			mustSync(t, r.a)
			if i%7 == 6 {
				r.reopen()
			}
		}
		a := r.reopen()
		for i := range 40 {
			if i < 20 && i%2 == 0 {
				if _, err := a.Stat(t.Context(), packName(i)); !errors.Is(err, storage.ErrNotExist) {
					t.Errorf("deleted blob %d: %v", i, err)
				}
				continue
			}
			wantBlob(t, a, packName(i), pack(i*9000, uint64(i)))
		}
		wantHealthy(t, a)
		segments := 0
		for _, err := range r.drives[0].List(t.Context(), "ledger/") {
			if err != nil {
				t.Fatal(err)
			}
			segments++
		}
		if segments > 10 {
			t.Errorf("%d segments are left", segments)
		}
	}
}

// Rot in the ledger itself: each drive has it whole, and a drive alone has it twice.
func TestLedgerRots(t *testing.T) {
	for n := 1; n <= 2; n++ {
		r := newRig(t, 23, n, min(1, n-1))
		fill(t, r.a, 0)
		fill(t, r.a, 10)
		for info, err := range r.drives[0].List(t.Context(), "ledger/") {
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []int64{9, 100, info.Size/2 + 50, info.Size - 1} {
				r.drives[0].Rot(info.Name, at*8)
				a := r.reopen()
				wantFill(t, a, 0)
				wantFill(t, a, 10)
				if s := scrub(t, a); len(s.Damaged) > 1 {
					t.Errorf("%+v", s)
				}
				repair(t, a)
				wantHealthy(t, r.reopen())
			}
		}
	}
}

// With part of the ledger gone everywhere, an unknown name is not "not there", and nothing is written.
func TestLedgerIncomplete(t *testing.T) {
	r := newRig(t, 25, 2, 1)
	fill(t, r.a, 0)
	fill(t, r.a, 10)
	for _, d := range r.drives {
		n := 0
		for info, err := range d.List(t.Context(), "ledger/") {
			if n++; n == 2 && err == nil {
				d.Rot(info.Name, 77)
			}
		}
	}
	a := r.reopen()
	wantFill(t, a, 10)
	if _, err := a.Stat(t.Context(), packName(1)); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("stat: %v", err)
	}
	if err := a.Put(t.Context(), "config", nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	h, err := a.Health(t.Context())
	if err != nil || !h.LedgerIncomplete || h.Protected() {
		t.Errorf("%+v, %v", h, err)
	}
}
