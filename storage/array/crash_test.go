package array_test

import (
	"errors"
	"fmt"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// night is a small backup with all that an array does: puts, deletes, folds of the ledger, repairs, a new drive and a
// lost one. It stops at the first error and tells what was acknowledged by then.
type night struct {
	acked, deleted map[int]bool
}

func (n *night) run(t *testing.T, r *rig) error {
	ctx := t.Context()
	array.SetFold(r.a, 3)
	size := func(i int) int { return []int{100, 262_144 + i, 40_000}[i%3] }
	var fresh []int
	for i := range 9 {
		if err := r.a.Put(ctx, packName(i), pack(size(i), uint64(i))); err != nil {
			return err
		}
		fresh = append(fresh, i)
		if i == 6 {
			n.deleted[1], n.deleted[2] = true, true
			if err := errors.Join(r.a.Delete(ctx, packName(1)), r.a.Delete(ctx, packName(2))); err != nil {
				return err
			}
		}
		if i%2 == 0 {
			if err := r.a.Sync(ctx); err != nil {
				return err
			}
			for _, i := range fresh {
				n.acked[i] = true
			}
		}
		if i == 4 {
			r.drives[0].Rot("vault/"+packName(0), 5)
			r.drives[1].Lose("vault/" + packName(2))
			if _, err := r.a.Scrub(ctx, nil); err != nil {
				return err
			}
			if _, err := r.a.Repair(ctx, nil); err != nil {
				return err
			}
		}
	}
	if err := r.a.Add(ctx, r.members(3)[0]); err != nil {
		return err
	}
	if err := r.a.Remove(ctx, "drive-2"); err != nil {
		return err
	}
	_, err := r.a.Repair(ctx, nil)
	return err
}

// The power fails in each write of a night, one after the other. Whatever was acknowledged is there afterwards, and
// the array is as good as new after a repair.
func TestPowerFailsAtEveryWrite(t *testing.T) {
	start := func(seed uint64) *rig {
		r := newRig(t, seed, 3, 1)
		r.drives = append(r.drives, vdrive.New(seed+9000))
		r.power.Feed(r.drives[3])
		return r
	}
	r := start(1)
	before := r.power.Ops()
	if err := (&night{map[int]bool{}, map[int]bool{}}).run(t, r); err != nil {
		t.Fatal(err)
	}
	wantHealthy(t, r.a)
	writes := r.power.Ops() - before
	if writes < 100 {
		t.Fatalf("only %d writes", writes)
	}
	for nth := 1; nth <= writes; nth++ {
		r := start(uint64(nth))
		n := &night{map[int]bool{}, map[int]bool{}}
		r.power.Cut(nth)
		failed := n.run(t, r)
		r.power.Restore()
		if err := n.after(t, r); err != nil {
			t.Errorf("power cut in write %d of %d (%v): %v", nth, writes, failed, err)
		}
	}
}

func (n *night) after(t *testing.T, r *rig) error {
	size := func(i int) int { return []int{100, 262_144 + i, 40_000}[i%3] }
	ctx := t.Context()
	a, err := array.Open(ctx, r.members(), array.Options{})
	if err != nil {
		return err
	}
	read := func() error {
		for i := range n.acked {
			got, err := storage.ReadAll(ctx, a, packName(i), 1<<20)
			if n.deleted[i] && errors.Is(err, storage.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if string(got) != string(pack(size(i), uint64(i))) {
				return fmt.Errorf("%s: other bytes", packName(i))
			}
		}
		return nil
	}
	if err := read(); err != nil {
		return err
	}
	for i := range 9 { // the next backup does it all again
		if err := a.Put(ctx, packName(i), pack(size(i), uint64(i))); err != nil {
			return err
		}
		n.acked[i] = true
	}
	clear(n.deleted)
	if err := a.Sync(ctx); err != nil {
		return err
	}
	if _, err := a.Scrub(ctx, nil); err != nil {
		return err
	}
	if rep, err := a.Repair(ctx, nil); err != nil || len(rep.Lost) > 0 {
		return fmt.Errorf("repair: %+v, %w", rep, err)
	}
	h, err := a.Health(ctx)
	if err != nil || !h.Healthy() {
		return fmt.Errorf("after repair: %+v, %w", h, err)
	}
	s, err := a.Scrub(ctx, nil)
	if err != nil || len(s.Damaged) > 0 {
		return fmt.Errorf("after repair: %+v, %w", s, err)
	}
	return read()
}

// The power fails while drives that were used apart, in three forks, are brought together. Whatever any three of the five
// drives could read before, three can read afterwards: a drive that has got a part of another's ledger only must not
// make the ledger look damaged.
func TestPowerFailsWhileForksMerge(t *testing.T) {
	apart := func(seed uint64) *rig {
		r := newRig(t, seed, 5, 2)
		array.SetFold(r.a, 100)
		put := func(i int) {
			mustPut(t, r.a, packName(i), pack(500+i, uint64(i)))
			mustSync(t, r.a)
		}
		put(0)
		for i, fork := range [][]int{{0, 1}, {2}, {3, 4}} {
			r.reopen(fork...)
			for j := range 4 {
				put(10*i + j + 1)
			}
		}
		r.reopen()
		return r
	}
	merge := func(r *rig) error {
		if err := r.a.Put(t.Context(), packName(99), pack(7, 99)); err != nil {
			return err
		}
		return r.a.Sync(t.Context())
	}
	r := apart(1)
	before := r.power.Ops()
	if err := merge(r); err != nil {
		t.Fatal(err)
	}
	writes := r.power.Ops() - before
	if writes < 40 {
		t.Fatalf("only %d writes", writes)
	}
	for nth := 1; nth <= writes; nth++ {
		r := apart(uint64(nth))
		r.power.Cut(nth)
		if merge(r) == nil {
			t.Fatalf("no power cut in write %d", nth)
		}
		r.power.Restore()
		for _, left := range [][]int{{0, 1, 2}, {0, 1, 3}, {0, 2, 4}, {1, 3, 4}, {2, 3, 4}} {
			a := r.reopen(left...)
			wantBlob(t, a, packName(0), pack(500, 0))
			for _, err := range a.List(t.Context(), "") {
				if err != nil {
					t.Fatalf("power cut in write %d of %d, drives %v: %v", nth, writes, left, err)
				}
			}
		}
	}
}

// A blob whose holders are away is put again on drives that were used apart, and the power fails while the fork is mended: the
// checkpoint comes before the record of the new copies, and must not leave out the old ones.
func TestPowerFailsWhileAForkIsMendedUnderAPut(t *testing.T) {
	start := func(seed uint64) *rig {
		r := newRig(t, seed, 4, 1)
		r.reopen(0, 1)
		mustPut(t, r.a, packName(0), pack(500, 0))
		mustSync(t, r.a)
		for i, drives := range [][]int{{0, 1, 2, 3}, {2}, {3}} {
			r.reopen(drives...)
			mustPut(t, r.a, packName(1+i), pack(600+i, uint64(1+i)))
			mustSync(t, r.a)
		}
		r.reopen(2, 3)
		return r
	}
	again := func(r *rig) error {
		if err := r.a.Put(t.Context(), packName(0), pack(500, 0)); err != nil {
			return err
		}
		return r.a.Sync(t.Context())
	}
	for nth, cut := 1, true; cut; nth++ {
		r := start(uint64(nth))
		r.power.Cut(nth)
		cut = again(r) != nil
		r.power.Restore()
		a := r.reopen()
		wantBlob(t, a, packName(0), pack(500, 0))
		repair(t, a)
		wantHealthy(t, r.reopen())
		if !cut && nth < 10 {
			t.Errorf("only %d writes", nth)
		}
	}
}

// A drive says that it flushed and did not, as some USB bridges do, and then the power goes: it counts as one that died.
func TestPowerFailsBehindABridgeThatLies(t *testing.T) {
	for seed := range uint64(40) {
		r := newRig(t, seed, 3, 1)
		fill(t, r.a, 0)
		r.drives[seed%3].IgnoreFlushes(true)
		fill(t, r.a, 10)
		r.power.Cut(1)
		if err := r.a.Put(t.Context(), packName(99), pack(400_000, 99)); err == nil {
			err = r.a.Sync(t.Context())
			if err == nil {
				t.Fatal("no power cut")
			}
		}
		r.power.Restore()
		r.drives[seed%3].IgnoreFlushes(false)
		a := r.reopen()
		wantFill(t, a, 0)
		wantFill(t, a, 10)
		scrub(t, a)
		repair(t, a)
		wantHealthy(t, a)
		wantFill(t, a, 10)
	}
}
