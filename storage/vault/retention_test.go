package vault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// nights are snapshots of one phone, one a day, the oldest first.
func nights(n int) []Snapshot {
	var list []Snapshot
	for i := range n {
		list = append(list, Snapshot{ID: fmt.Sprintf("%064x", i+1), Phone: "mtp:a", Generation: uint64(i + 1), Complete: true, Files: 1000, Bytes: 1e9,
			Time: time.Date(2025, 1, 1, 2, 0, 0, 0, time.UTC).AddDate(0, 0, i)})
	}
	return list
}

// kept tells the generations that a policy keeps, the newest first.
func kept(list []Snapshot, p Policy, accept ...string) string {
	choices, _ := choose(list, p, accept)
	var gens []int
	for _, c := range choices {
		if c.Keep {
			gens = append(gens, int(c.Snapshot.Generation))
		}
	}
	slices.Sort(gens)
	slices.Reverse(gens)
	return strings.Trim(fmt.Sprint(gens), "[]")
}

func TestPolicies(t *testing.T) {
	edit := func(list []Snapshot, do func(i int, s *Snapshot)) []Snapshot {
		for i := range list {
			do(i, &list[i])
		}
		return list
	}
	for _, tt := range []struct {
		name string
		list []Snapshot
		p    Policy
		want string
	}{
		{"the newest three", nights(10), Policy{Last: 3}, "10 9 8"},
		{"nothing asked for keeps the newest", nights(10), Policy{}, "10"},
		{"days", nights(10), Policy{Daily: 4}, "10 9 8 7"},
		{"weeks end on Sundays", nights(30), Policy{Weekly: 3}, "30 26 19"},
		{"months", nights(70), Policy{Monthly: 3}, "70 59 31"},
		{"years", nights(800), Policy{Yearly: 9}, "800 730 365"},
		{"all together", nights(400), Policy{Last: 2, Daily: 3, Weekly: 2, Monthly: 2, Yearly: 2}, "400 399 398 397 396 365"},
		{"two on one day count once", edit(nights(6), func(i int, s *Snapshot) {
			s.Time = time.Date(2025, 1, 1+i/2, 2+i%2, 0, 0, 0, time.UTC)
		}), Policy{Daily: 2}, "6 4"},
		{"a day is stood for by its complete snapshot", edit(nights(6), func(i int, s *Snapshot) {
			s.Time, s.Complete = time.Date(2025, 1, 1+i/2, 2+i%2, 0, 0, 0, time.UTC), i%2 == 0
		}), Policy{Daily: 3}, "6 5 3 1"},
		{"where none is complete, by its newest", edit(nights(4), func(_ int, s *Snapshot) { s.Complete = false }), Policy{Daily: 2}, "4 3"},
		{"the newest complete one stays", edit(nights(9), func(i int, s *Snapshot) { s.Complete = i < 2 }), Policy{Last: 2}, "9 8 2"},
		{"without a clock a generation is a day", edit(nights(20), func(_ int, s *Snapshot) { s.Undated, s.Time = true, time.Unix(int64(s.Generation), 0) }),
			Policy{Daily: 3, Weekly: 3}, "20 19 18 13 6"},
		{"a jump into the future and back", edit(nights(12), func(i int, s *Snapshot) {
			if i == 5 {
				s.Time = s.Time.AddDate(20, 0, 0)
			} else if i > 5 {
				s.Undated, s.Time = true, s.Time.AddDate(20, 0, 1)
			}
		}), Policy{Daily: 8}, "12 11 10 9 8 7 6 5"},
		{"those of stock restic and unreadable ones are left alone", edit(nights(4), func(i int, s *Snapshot) {
			s.Foreign = i == 0
			if i == 1 {
				s.Err = ErrDamaged
			}
		}), Policy{Last: 1}, "4 2 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(tt.list), func(i, j int) { tt.list[i], tt.list[j] = tt.list[j], tt.list[i] })
			if got := kept(tt.list, tt.p); got != tt.want {
				t.Errorf("kept %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAPhoneThatShrankKeepsWhatWasBefore(t *testing.T) {
	small := func(list []Snapshot, from int) []Snapshot {
		for i := from; i < len(list); i++ {
			list[i].Files, list[i].Bytes = 3, 1000
		}
		return list
	}
	p := Policy{Last: 2}
	if got := kept(small(nights(8), 5), p); got != "8 7 5 4 3 2 1" {
		t.Error("kept", got)
	}
	if got := kept(small(nights(8), 5), p, "mtp:a"); got != "8 7" {
		t.Error("accepted, yet kept", got)
	}
	back := append(small(nights(8), 5)[:7], nights(8)[7])
	if got := kept(back, p); got != "8 7" {
		t.Error("the files came back, yet kept", got)
	}
	few := nights(8)
	for i := range few {
		few[i].Files = max(1, 10-2*i)
	}
	if got := kept(few, p); got != "8 7" {
		t.Error("a handful of files; kept", got)
	}
	half := small(nights(8), 7)
	half[6].Complete = false
	choices, shrunk := choose(half, p, nil)
	if len(shrunk) != 1 || shrunk[0].Before.Generation != 6 || shrunk[0].After.Generation != 8 || len(choices) != 8 {
		t.Errorf("%+v", shrunk)
	}
}

// TestPoliciesAreStable prunes every night of simulated years: what a policy keeps today it would keep anew, each night
// removes few, and the oldest snapshot of each year stays as long as years are kept.
func TestPoliciesAreStable(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		p := Policy{r.IntN(4), r.IntN(15), r.IntN(9), r.IntN(25), r.IntN(10)}
		all, list := nights(900), []Snapshot(nil)
		for i := range all {
			all[i].Complete = r.IntN(4) > 0
			all[i].Undated = r.IntN(8) == 0
			list = append(list, all[i])
			choices, _ := choose(list, p, nil)
			list = list[:0]
			for _, c := range choices {
				if c.Keep {
					list = append(list, c.Snapshot)
				}
			}
			if again := kept(list, p); len(strings.Fields(again)) != len(list) {
				t.Fatalf("seed %d, night %d, %+v: kept %d, then %s", seed, i, p, len(list), again)
			}
			// Incomplete ones may stand beside the complete one of their period only among the newest.
			if most := max(p.Last, 1) + p.Daily + p.Weekly + p.Monthly + p.Yearly + 1; len(list) > most {
				t.Fatalf("seed %d, night %d, %+v: %d snapshots stay", seed, i, p, len(list))
			}
		}
	}
}
