package array_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// seeds is how often each power cut is tried, with other fates of what was not flushed; make soak tries more.
var (
	seeds    = flag.Int("seeds", 0, "how often each power cut is tried; 0: one in seven, once")
	fromSeed = flag.Int("from-seed", 0, "the first of the fates")
)

// upheaval is something that happens to an array, and what it may cost if the power fails in it.
type upheaval struct {
	name  string
	start func(t *testing.T, seed uint64) *rig
	run   func(t *testing.T, r *rig) error
	// may are the drives of which any one may die right after the cut: all that was there before is protected all the time.
	may []int
	// pairs: any two of them may.
	pairs bool
}

// base is what is there before an upheaval.
var base = map[int]int{0: 500, 1: 262_144, 2: 300_001, 3: 40_000, 4: 262_150}

func (r *rig) base() {
	r.t.Helper()
	for _, i := range slices.Sorted(maps.Keys(base)) {
		mustPut(r.t, r.a, packName(i), pack(base[i], uint64(i)))
	}
	mustSync(r.t, r.a)
}

// has reads what is there before an upheaval.
func has(t *testing.T, a *array.Array) error {
	for i, size := range base {
		got, err := storage.ReadAll(t.Context(), a, packName(i), 1<<20)
		if err != nil {
			return err
		}
		if string(got) != string(pack(size, uint64(i))) {
			return fmt.Errorf("%s: other bytes", packName(i))
		}
	}
	return nil
}

// plug gives a rig one more drive, that the array does not know yet.
func (r *rig) plug(seed uint64) array.Member {
	d := vdrive.New(seed + 7000 + uint64(len(r.drives)))
	r.power.Feed(d)
	r.drives = append(r.drives, d)
	return r.members(len(r.drives) - 1)[0]
}

func based(n, survive int) func(*testing.T, uint64) *rig {
	return func(t *testing.T, seed uint64) *rig {
		r := newRig(t, seed, n, survive)
		array.SetFold(r.a, 4)
		r.base()
		return r
	}
}

func repairs(t *testing.T, r *rig) error {
	rep, err := r.a.Repair(t.Context(), nil)
	if err == nil && len(rep.Lost) > 0 {
		err = fmt.Errorf("not repaired: %v", rep.Lost)
	}
	return err
}

// survives changes how many drives may die, with blobs on their way, and protects what is there so.
func survives(t *testing.T, r *rig, n int) error {
	for i, size := range []int{700, 262_190} {
		if err := r.a.Put(t.Context(), packName(80+i), pack(size, uint64(80+i))); err != nil {
			return err
		}
	}
	if err := r.a.SetSurvive(t.Context(), n); err != nil {
		return err
	}
	return repairs(t, r)
}

// away is a rig whose last drive travels, is away while things go on, and is back.
func away(home int) func(*testing.T, uint64) *rig {
	return func(t *testing.T, seed uint64) *rig {
		r := based(home+1, 1)(t, seed)
		mustPut(t, r.a, packName(50), pack(262_160, 50))
		mustPut(t, r.a, packName(51), pack(700, 51))
		travel(t, r.a, home, true)
		repair(t, r.a)
		var stay []int
		for i := range home {
			stay = append(stay, i)
		}
		a := r.reopen(stay...)
		if err := errors.Join(a.Delete(t.Context(), packName(50)), a.Delete(t.Context(), packName(51))); err != nil {
			t.Fatal(err)
		}
		mustPut(t, a, packName(60), pack(262_170, 60))
		mustPut(t, a, packName(61), pack(900, 61))
		mustSync(t, a)
		array.SetFold(r.reopen(), 4)
		return r
	}
}

var upheavals = []upheaval{
	{
		name: "repair", may: []int{1},
		start: func(t *testing.T, seed uint64) *rig {
			r := based(3, 1)(t, seed)
			for i, f := range files(t, r.drives[1]) {
				if i%2 == 0 {
					r.drives[1].Rot(f, 77)
				} else {
					r.drives[1].Lose(f)
				}
			}
			return r
		},
		run: func(t *testing.T, r *rig) error {
			_, err := r.a.Scrub(t.Context(), nil)
			return errors.Join(err, repairs(t, r))
		},
	},
	{
		name: "evening out", may: []int{0, 1, 2, 3},
		start: func(t *testing.T, seed uint64) *rig {
			r := based(3, 1)(t, seed)
			for _, d := range r.drives {
				d.Capacity(800<<10, 32<<10) // 650 KB of it are in use
			}
			return r
		},
		run: func(t *testing.T, r *rig) error {
			m := r.plug(1)
			r.drives[3].Capacity(800<<10, 32<<10)
			if err := r.a.Add(t.Context(), m); err != nil {
				return err
			}
			if err := repairs(t, r); err != nil {
				return err
			}
			if h := health(t, r.a); h.Drives[3].Used < 200_000 {
				return fmt.Errorf("nothing was moved: %+v", h)
			}
			return nil
		},
	},
	{
		name: "drain", start: based(4, 1), may: []int{0, 1, 2, 3},
		run: func(t *testing.T, r *rig) error {
			_, err := r.a.Drain(t.Context(), "drive-2", nil)
			return err
		},
	},
	{
		name: "removal of a dead drive",
		start: func(t *testing.T, seed uint64) *rig {
			r := based(4, 2)(t, seed)
			array.SetFold(r.reopen(0, 1, 3), 4)
			return r
		},
		run: func(t *testing.T, r *rig) error {
			if err := r.a.Remove(t.Context(), "drive-2"); err != nil {
				return err
			}
			return repairs(t, r)
		},
		may: []int{0, 1, 3},
	},
	{
		name: "replacement", start: based(3, 1), may: []int{0, 1, 2, 3},
		run: func(t *testing.T, r *rig) error {
			if err := r.a.Add(t.Context(), r.plug(2)); err != nil {
				return err
			}
			if _, err := r.a.Drain(t.Context(), "drive-1", nil); err != nil {
				return err
			}
			return repairs(t, r)
		},
	},
	{name: "return to two", start: away(2), run: repairs, may: []int{0, 1, 2}},
	{name: "return to three", start: away(3), run: repairs, may: []int{0, 1, 2, 3}},
	{
		name: "beginning to travel", start: based(4, 1), may: []int{0, 1, 2, 3},
		run: func(t *testing.T, r *rig) error {
			if err := r.a.Travel(t.Context(), "drive-3", true); err != nil {
				return err
			}
			return repairs(t, r)
		},
	},
	{
		name: "more drives may die", start: based(4, 1), may: []int{0, 1, 2, 3},
		run: func(t *testing.T, r *rig) error { return survives(t, r, 2) },
	},
	{
		name: "as many as with copies only", start: based(3, 1), may: []int{0, 1, 2},
		run: func(t *testing.T, r *rig) error { return survives(t, r, 2) },
	},
	{
		name: "fewer drives may die", start: based(5, 2), may: []int{0, 1, 2, 3, 4}, pairs: true,
		run: func(t *testing.T, r *rig) error { return survives(t, r, 1) },
	},
	{
		name: "more drives may die, one of which was away", may: []int{0, 1, 2},
		start: func(t *testing.T, seed uint64) *rig {
			r := newRig(t, seed, 4, 1)
			r.reopen(0, 1, 2)
			r.base()
			array.SetFold(r.reopen(), 4)
			return r
		},
		run: func(t *testing.T, r *rig) error { return survives(t, r, 2) },
	},
	{
		name: "return of a drive that was used apart", may: []int{0, 1, 2, 3},
		start: func(t *testing.T, seed uint64) *rig {
			r := away(3)(t, seed)
			there := r.reopen(3)
			mustPut(t, there, packName(70), pack(262_180, 70))
			mustPut(t, there, packName(71), pack(80, 71))
			mustSync(t, there)
			array.SetFold(r.reopen(), 4)
			return r
		},
		run: func(t *testing.T, r *rig) error {
			if err := repairs(t, r); err != nil {
				return err
			}
			_, err := storage.ReadAll(t.Context(), r.a, packName(70), 1<<20)
			return err
		},
	},
}

// The power fails at each write of whatever may happen to an array, one after the other; what was written and not flushed is
// kept, lost or torn, in any order. Everything acknowledged is there afterwards although one drive more dies, and a repair
// makes the array as good as new.
func TestPowerFailsInUpheavals(t *testing.T) {
	for _, u := range upheavals {
		t.Run(u.name, func(t *testing.T) {
			r := u.start(t, 1)
			before := r.power.Ops()
			if err := u.run(t, r); err != nil {
				t.Fatal(err)
			}
			writes := r.power.Ops() - before
			if writes < 12 {
				t.Fatalf("only %d writes", writes)
			}
			for nth := 1; nth <= writes; nth++ {
				if *seeds == 0 && nth%7 != writes%7 {
					continue
				}
				for fate := *fromSeed; fate < *fromSeed+max(*seeds, 1); fate++ {
					u.cut(t, uint64(nth+1000*fate), nth)
					if t.Failed() {
						t.Fatalf("power cut in write %d of %d, fate %d", nth, writes, fate)
					}
				}
			}
		})
	}
}

func (u upheaval) cut(t *testing.T, seed uint64, nth int) {
	r := u.start(t, seed)
	r.power.Cut(nth)
	failed := u.run(t, r)
	r.power.Restore()
	var all []int
	for i := range r.drives {
		all = append(all, i)
	}
	if u.name == "removal of a dead drive" {
		all = []int{0, 1, 3}
	}
	for _, dies := range u.may {
		for _, too := range u.may {
			if too != dies && !u.pairs {
				continue
			}
			left := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return i == dies || i == too })
			a, err := array.Open(t.Context(), r.members(left...), array.Options{})
			if err == nil {
				err = has(t, a)
			}
			if err != nil {
				t.Errorf("after %v, drives %d and %d dead: %v", failed, dies, too, err)
			}
		}
	}
	a := r.reopen(all...)
	for _, d := range health(t, a).Drives { // a new drive that the cut kept out is offered again
		if d.State == array.Blank {
			if err := a.Add(t.Context(), r.members(len(r.drives) - 1)[0]); err != nil {
				t.Error(err)
			}
		}
	}
	scrub(t, a)
	if rep := repair(t, a); len(rep.Lost) > 0 {
		t.Errorf("repair: %+v", rep)
	}
	if err := has(t, a); err != nil {
		t.Error(err)
	}
	h := health(t, a)
	if !h.Protected() || h.Damaged > 0 || h.Unreadable > 0 {
		t.Errorf("after the repair: %+v", h)
	}
	if s := scrub(t, a); len(s.Damaged) > 0 {
		t.Errorf("after the repair: %+v", s.Damaged)
	}
}
