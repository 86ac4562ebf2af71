package array_test

import "testing"

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
	}
}
