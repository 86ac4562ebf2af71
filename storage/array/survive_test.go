package array_test

import (
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// After a higher number and a repair any two drives may die; a lower one is kept too, and takes nothing away.
func TestSetSurvive(t *testing.T) {
	for n := 3; n <= 5; n++ {
		r := newRig(t, 20, n, 1)
		fill(t, r.a, 0)
		wantHealthy(t, r.a)
		for _, bad := range []int{-1, 4} {
			if err := r.a.SetSurvive(t.Context(), bad); err == nil {
				t.Errorf("%d drives may die", bad)
			}
		}
		if err := r.a.SetSurvive(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		if h, err := r.a.Health(t.Context()); err != nil || h.Survive != 2 || h.Protected() {
			t.Fatalf("%d drives: before a repair %+v, %v", n, h, err)
		}
		fill(t, r.a, 10)
		if rep := repair(t, r.a); len(rep.Lost) > 0 {
			t.Fatalf("%+v", rep)
		}
		wantHealthy(t, r.a)
		for i := range n {
			for j := range i {
				var left []int
				for k := range n {
					if k != i && k != j {
						left = append(left, k)
					}
				}
				r.reopen(left...)
				wantFill(t, r.a, 0)
				wantFill(t, r.a, 10)
			}
		}
		r.reopen()
		if err := r.a.SetSurvive(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if h := wantHealthy(t, r.reopen()); h.Survive != 1 {
			t.Errorf("%+v", h)
		}
		before := r.power.Ops()
		if err := r.a.SetSurvive(t.Context(), 1); err != nil || r.power.Ops() != before {
			t.Errorf("the same number again: %v, %d writes", err, r.power.Ops()-before)
		}
		for _, d := range r.drives {
			d.ErrorOn(vdrive.OpPut, -1, storage.ErrUnavailable)
		}
		if err := r.a.SetSurvive(t.Context(), 2); err == nil || health(t, r.a).Survive != 1 {
			t.Errorf("a change that failed: %v, and %d drives may die", err, health(t, r.a).Survive)
		}
	}
}

// The power fails at every write of a change of how many drives may die, also with blobs on their way, a drive that has to catch
// up, drives that were used apart and a ledger that is due to be folded. The number is the old or the new one, once the change was
// acknowledged the new one, and each drive alone says the same: it may be the only one left.
func TestPowerFailsWhileSurviveChanges(t *testing.T) {
	starts := map[string]func(seed uint64) *rig{
		"": func(seed uint64) *rig { return newRig(t, seed, 3, 1) },
		"behind": func(seed uint64) *rig {
			r := newRig(t, seed, 3, 1)
			r.reopen(0, 1)
			fill(t, r.a, 0)
			r.reopen()
			return r
		},
		"apart": func(seed uint64) *rig {
			r := newRig(t, seed, 3, 1)
			for i, drives := range [][]int{{0, 1}, {2}} {
				r.reopen(drives...)
				mustPut(t, r.a, packName(70+i), pack(100, 70))
				mustSync(t, r.a)
			}
			r.reopen()
			return r
		},
	}
	for name, start := range starts {
		for _, to := range []int{0, 2} {
			for nth, cut := 1, true; cut; nth++ {
				for fate := range uint64(2) {
					r := start(uint64(nth) + 100*fate)
					array.SetFold(r.a, 1)
					mustPut(t, r.a, packName(60), pack(300_000, 60))
					r.power.Cut(nth)
					err := r.a.SetSurvive(t.Context(), to)
					cut = err != nil
					if h := health(t, r.a); h.Survive != to && err == nil {
						t.Errorf("%s: changed to %d: %v, and it says %d", name, to, err, h.Survive)
					}
					if !cut {
						r.power.Cut(1)
						if r.a.Put(t.Context(), packName(61), pack(300_000, 61)) == nil && r.a.Sync(t.Context()) == nil {
							t.Fatal("no power cut")
						}
					}
					r.power.Restore()
					got := health(t, r.reopen()).Survive
					if got != to && (!cut || got != 1) {
						t.Errorf("%s: %d after the power failed in write %d of a change from 1 to %d (%v)", name, got, nth, to, err)
					}
					mustPut(t, r.a, packName(62), pack(300_000, 62))
					mustSync(t, r.a)
					for i := range r.drives {
						if alone := health(t, r.reopen(i)).Survive; alone != got {
							t.Errorf("%s: write %d, to %d: drive %d alone says %d, all of them %d", name, nth, to, i, alone, got)
						}
					}
					if t.Failed() {
						return
					}
				}
				if !cut && nth < 5 {
					t.Errorf("only %d writes", nth)
				}
			}
		}
	}
}
