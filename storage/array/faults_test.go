package array_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// files lists a drive's blobs' files.
func files(t testing.TB, d *vdrive.Drive) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"heal/", "parity/", "shards/", "vault/"} {
		for info, err := range d.List(t.Context(), dir) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, info.Name)
		}
	}
	return names
}

func repair(t testing.TB, a *array.Array) array.RepairReport {
	t.Helper()
	report, err := a.Repair(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func scrub(t testing.TB, a *array.Array) array.ScrubReport {
	t.Helper()
	report, err := a.Scrub(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func wantHealthy(t testing.TB, a *array.Array) array.Health {
	t.Helper()
	h, err := a.Health(t.Context())
	if err != nil || !h.Healthy() {
		t.Fatalf("not healthy: %+v, %v", h, err)
	}
	if s := scrub(t, a); len(s.Damaged) > 0 {
		t.Fatalf("not as the ledger says: %+v", s)
	}
	return h
}

var sizes = []int{0, 77, 70_000, 256 << 10, 400_001}

func fill(t testing.TB, a *array.Array, from int) {
	t.Helper()
	for i, size := range sizes {
		mustPut(t, a, packName(from+i), pack(size, uint64(from+i)))
	}
	mustSync(t, a)
}

func wantFill(t testing.TB, a *array.Array, from int) {
	t.Helper()
	for i, size := range sizes {
		wantBlob(t, a, packName(from+i), pack(size, uint64(from+i)))
	}
}

// Any damage to the files of one drive is found by a scrub, named, and mended, and reads are right all the time.
func TestScrubAndRepair(t *testing.T) {
	for n := 1; n <= 4; n++ {
		r := newRig(t, 3, n, min(1, n-1))
		fill(t, r.a, 0)
		for _, file := range files(t, r.drives[0]) {
			info, err := r.drives[0].Stat(t.Context(), file)
			if err != nil || info.Size == 0 {
				continue
			}
			for what, hurt := range map[string]func() bool{
				"rot":      func() bool { return r.drives[0].Rot(file, info.Size*8-9) },
				"truncate": func() bool { return r.drives[0].Truncate(file, int(info.Size)/2) },
				"lose":     func() bool { return r.drives[0].Lose(file) },
			} {
				a := r.reopen()
				if n == 1 && what != "rot" && file[:6] == "vault/" && info.Size > 65536 {
					continue // more than side parity can bring back
				}
				if !hurt() {
					t.Fatalf("%s: cannot %s", file, what)
				}
				wantFill(t, a, 0)
				s := scrub(t, a)
				if len(s.Damaged) != 1 || s.Damaged[0].File != file || s.Damaged[0].Drive != "drive-0" || len(s.Unreadable) > 0 {
					t.Fatalf("%d drives, %s %s: scrub says %+v", n, what, file, s)
				}
				if rep := repair(t, a); rep.Mended+rep.Rebuilt != 1 || len(rep.Lost) > 0 {
					t.Fatalf("%d drives, %s %s: repair says %+v", n, what, file, rep)
				}
				wantHealthy(t, a)
				wantFill(t, a, 0)
			}
		}
	}
}

// One drive alone brings back a run of bad blocks of a sixteenth of a blob.
func TestBadSectors(t *testing.T) {
	r := newRig(t, 3, 1, 0)
	p := pack(10<<20+5, 1)
	mustPut(t, r.a, packName(1), p)
	mustSync(t, r.a)
	for b := range 10 {
		r.drives[0].Rot("vault/"+packName(1), int64(30+b)*65536*8)
	}
	wantBlob(t, r.a, packName(1), p)
	repair(t, r.a)
	wantHealthy(t, r.reopen())
	for b := range 30 {
		r.drives[0].Rot("vault/"+packName(1), int64(30+b)*65536*8)
	}
	if _, err := storage.ReadAll(t.Context(), r.a, packName(1), 1<<30); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("more bad blocks than parity: %v", err)
	}
	if rep := repair(t, r.a); len(rep.Lost) != 1 || rep.Lost[0] != packName(1) {
		t.Errorf("repair says %+v", rep)
	}
	if _, err := r.drives[0].Stat(t.Context(), "vault/"+packName(1)); err != nil {
		t.Errorf("the last copy, though damaged, is gone: %v", err)
	}
}

func TestErrorsApart(t *testing.T) {
	r := newRig(t, 5, 3, 1)
	p := pack(300_000, 1)
	mustPut(t, r.a, packName(1), p)
	mustSync(t, r.a)
	get := func(a *array.Array) error {
		_, err := storage.ReadAll(t.Context(), a, packName(1), 1<<20)
		return err
	}
	r.drives[0].Unplug()
	r.drives[1].Unplug()
	if err := get(r.a); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("two unplugged: %v", err)
	}
	r.drives[0].Plug()
	r.drives[1].Plug()
	for _, d := range r.drives {
		for _, f := range files(t, d) {
			d.Rot(f, 3)
		}
	}
	if err := get(r.reopen()); !errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("all rotten: %v", err)
	}
	a := r.reopen(1, 2)
	if err := a.Remove(t.Context(), "drive-0"); err != nil {
		t.Fatal(err)
	}
	if err := a.Remove(t.Context(), "drive-1"); err != nil {
		t.Fatal(err)
	}
	h, err := a.Health(t.Context())
	if err != nil || len(h.Lost) != 1 || h.Lost[0] != packName(1) {
		t.Errorf("two removed: %+v, %v", h, err)
	}
	if err := get(a); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("lost for good: %v", err)
	}
	if err := a.Remove(t.Context(), "drive-2"); err == nil {
		t.Error("the last drive was removed")
	}
}

// A drive dies in the middle, or fills up: puts go on, Health says what it costs, a new drive heals it.
func TestDriveDiesWhileWriting(t *testing.T) {
	for name, hurt := range map[string]func(*vdrive.Drive){
		"unplugged": (*vdrive.Drive).Unplug,
		"read-only": func(d *vdrive.Drive) { d.ReadOnly(true) },
		"failing":   func(d *vdrive.Drive) { d.ErrorOn(vdrive.OpSync, -1, errors.New("no")) },
		"full":      func(d *vdrive.Drive) { d.Full(100_000) }, // a drive keeps some room for the ledger
	} {
		r := newRig(t, 9, 3, 1)
		fill(t, r.a, 0)
		mustPut(t, r.a, packName(50), pack(500_000, 50))
		hurt(r.drives[1])
		fill(t, r.a, 10)
		mustSync(t, r.a)
		wantBlob(t, r.a, packName(50), pack(500_000, 50))
		// What was on its way to the drive does not count as being there.
		h, err := r.a.Health(t.Context())
		if lost := name != "full"; err != nil || h.Protected() == lost {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		r.drives = append(r.drives, vdrive.New(77))
		a := r.reopen(0, 2)
		wantFill(t, a, 10)
		wantBlob(t, a, packName(50), pack(500_000, 50))
		if err := errors.Join(a.Add(t.Context(), r.members(3)[0]), a.Remove(t.Context(), "drive-1")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		repair(t, a)
		if h := wantHealthy(t, a); h.Spare[0] != 0 {
			t.Errorf("%s: %+v", name, h)
		}
		for _, left := range [][]int{{0, 2}, {0, 3}, {2, 3}} {
			a := r.reopen(left...)
			wantFill(t, a, 0)
			wantFill(t, a, 10)
			wantBlob(t, a, packName(50), pack(500_000, 50))
		}
	}
}

// A Sync loses a blob and then fails before it could say so: the next one that ends says it.
func TestLostIsToldByTheNextSync(t *testing.T) {
	r := newRig(t, 9, 2, 0)
	mustPut(t, r.a, packName(50), pack(500_000, 50)) // a half on each drive
	r.drives[0].ErrorOn(vdrive.OpSync, 1, errors.New("no"))
	r.drives[1].ErrorOn(vdrive.OpPut, 1, errors.New("no")) // the ledger's segment
	if err := r.a.Sync(t.Context()); err == nil {
		t.Fatal("no drive took the segment")
	}
	array.Revive(r.a)
	if err := r.a.Sync(t.Context()); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), packName(50)) {
		t.Errorf("the blob is lost and nobody was told: %v", err)
	}
	if err := r.a.Sync(t.Context()); err != nil {
		t.Errorf("told twice: %v", err)
	}
}

func TestAllFull(t *testing.T) {
	r := newRig(t, 9, 3, 1)
	fill(t, r.a, 0)
	for _, d := range r.drives {
		d.Full(100_000)
	}
	if err := r.a.Put(t.Context(), packName(60), pack(1<<20, 1)); !errors.Is(err, storage.ErrFull) {
		t.Errorf("put on full drives: %v", err)
	}
	if _, err := r.a.Stat(t.Context(), packName(60)); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("after a put that failed: %v", err)
	}
	for i := range sizes {
		if err := r.a.Delete(t.Context(), packName(i)); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, r.a)
	mustPut(t, r.a, packName(61), pack(300_000, 1))
	mustSync(t, r.a)
	wantHealthy(t, r.reopen())
}

func TestAddAndDrain(t *testing.T) {
	r := newRig(t, 19, 1, 1)
	fill(t, r.a, 0)
	if h, err := r.a.Health(t.Context()); err != nil || h.Protected() {
		t.Errorf("one drive is to survive the loss of one: %+v, %v", h, err)
	}
	for i := 1; i < 4; i++ {
		r.drives = append(r.drives, vdrive.New(uint64(500+i)))
		if err := r.a.Add(t.Context(), r.members(i)[0]); err != nil {
			t.Fatal(err)
		}
		repair(t, r.a)
		fill(t, r.a, 10*i)
		wantHealthy(t, r.a)
	}
	for i := range 2 {
		if rep, err := r.a.Drain(t.Context(), fmt.Sprint("drive-", i), nil); err != nil {
			t.Fatalf("%+v, %v", rep, err)
		}
		wantHealthy(t, r.a)
		if left := files(t, r.drives[i]); len(left) > 0 {
			t.Errorf("drained drive holds %v", left)
		}
	}
	for _, left := range []int{2, 3} {
		a := r.reopen(left)
		for from := 0; from < 40; from += 10 {
			wantFill(t, a, from)
		}
	}
}

// A drive that hangs costs one read a second, and then none, where parity can answer.
func TestHangingDriveDoesNotStallReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := 2; n <= 4; n++ {
			r := newRig(t, 27, n, 1)
			fill(t, r.a, 0)
			for _, d := range r.drives {
				d.Hang()
				began := time.Now()
				wantFill(t, r.a, 0)
				if took := time.Since(began); took > 2100*time.Millisecond {
					t.Errorf("%d drives: reading took %v", n, took)
				}
				d.Resume()
				time.Sleep(31 * time.Second) // in the bubble: until the drive is trusted again
			}
			if err := r.a.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestInterruptedPutAndGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 29, 3, 1)
		fill(t, r.a, 0)
		for _, d := range r.drives {
			d.Hang()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := r.a.Put(ctx, packName(70), pack(300_000, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put: %v", err)
		}
		if _, err := r.a.Get(ctx, packName(3), 0, make([]byte, 9)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
		for _, d := range r.drives {
			d.Resume()
		}
		mustPut(t, r.a, packName(70), pack(300_000, 1))
		mustSync(t, r.a)
		wantHealthy(t, r.a)
	})
}

// Stat tells that a blob cannot be read, so that whoever has the bytes puts them again: because drives are away, because
// they are gone for good, or because what is left was found damaged.
func TestStatTellsWhatCannotBeRead(t *testing.T) {
	r := newRig(t, 1, 3, 1)
	mustPut(t, r.a, packName(1), pack(300_000, 1)) // two shards and parity
	mustPut(t, r.a, packName(2), pack(300_000, 2))
	mustSync(t, r.a)
	want := func(a *array.Array, name string, why error) {
		t.Helper()
		info, err := a.Stat(t.Context(), name)
		if !errors.Is(err, why) || info.Size != 300_000 {
			t.Errorf("stat: %d bytes, %v; want 300000 and %v", info.Size, err, why)
		}
		n := 0
		for _, err := range a.List(t.Context(), "data/") {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != 2 {
			t.Errorf("%d blobs listed, want 2", n)
		}
	}
	want(r.a, packName(1), nil)
	want(r.reopen(0, 1), packName(1), nil)
	want(r.reopen(1), packName(1), storage.ErrUnavailable)
	a := r.reopen()
	for _, d := range r.drives {
		for info, err := range d.List(t.Context(), "shards/"+packName(1)) {
			if err != nil {
				t.Fatal(err)
			}
			for bit := range int64(64) { // in every block, and so past what side parity mends
				d.Rot(info.Name, bit*info.Size*8/64)
			}
		}
	}
	if _, err := storage.ReadAll(t.Context(), a, packName(1), 1<<20); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("a blob rotten all over: %v", err)
	}
	want(a, packName(1), storage.ErrCorrupt)
	want(a, packName(2), nil)
	if err := errors.Join(a.Remove(t.Context(), "drive-1"), a.Remove(t.Context(), "drive-2")); err != nil {
		t.Fatal(err)
	}
	want(a, packName(2), storage.ErrCorrupt)
}

// A repair reads what is left to make anew what is lost, and what it finds damaged on the way it mends, too: nobody asks it
// a second time.
func TestRepairMendsWhatItMeets(t *testing.T) {
	for from := range 2 {
		r := newRig(t, 23, 3, 1)
		fill(t, r.a, 0)
		rotten := 0
		for _, file := range files(t, r.drives[from]) {
			if strings.HasPrefix(file, "vault/") && r.drives[from].Rot(file, 8) {
				rotten++
			}
		}
		r.drives = append(r.drives, vdrive.New(777))
		a := r.reopen(0, 1, 3)
		if err := a.Add(t.Context(), r.members(3)[0]); err != nil {
			t.Fatal(err)
		}
		if err := a.Remove(t.Context(), "drive-2"); err != nil {
			t.Fatal(err)
		}
		rep := repair(t, a)
		if from == 0 && (rotten == 0 || rep.Mended == 0) {
			t.Errorf("%d rotten, %+v: nothing was met", rotten, rep)
		}
		if h, err := a.Health(t.Context()); err != nil || h.Damaged > 0 || !h.Protected() {
			t.Errorf("%d rotten: %v, %+v", rotten, err, h)
		}
		wantFill(t, a, 0)
	}
}
