package vault

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Policy says how many snapshots of each phone stay: the newest ones, and the last one of each of so many days, ISO
// weeks, months and years (UTC) that have any. Periods are counted back from the phone's newest snapshot and not from
// today: no decision needs to know what time it is. Where a snapshot's time is not trusted (Snapshot.Undated), its
// generation stands for a day.
type Policy struct {
	Last    int `json:"last"`
	Daily   int `json:"daily"`
	Weekly  int `json:"weekly"`
	Monthly int `json:"monthly"`
	Yearly  int `json:"yearly"`
}

// DefaultPolicy keeps every night of two weeks and ever fewer of what is older, and no year is ever given up.
var DefaultPolicy = Policy{Last: 3, Daily: 14, Weekly: 8, Monthly: 24, Yearly: 100}

// Choice is what a prune does with a snapshot, and why.
type Choice struct {
	Snapshot Snapshot `json:"snapshot"`
	Keep     bool     `json:"keep"`
	Why      []string `json:"why,omitempty"` // reasons to keep it
}

// Shrunk is a phone whose snapshots suddenly became much smaller.
type Shrunk struct {
	Phone  string   `json:"phone"`
	Before Snapshot `json:"before"` // the last one with all the files
	After  Snapshot `json:"after"`  // the first one without them
}

// A phone has shrunk when a complete snapshot holds less than half of the files or bytes of the complete one before it,
// and that one was no mere handful: a phone wiped, encrypted by malware or showing an empty card must not cost the
// snapshots from before.
const (
	shrunkShare = 2  // less than 1/2
	shrunkFiles = 20 // of so many at least
)

// keepStates is how many snapshots of the box's state stay.
const keepStates = 10

// choose applies a policy to snapshots of all phones, in any order. The snapshots of a phone from before it shrank all
// stay, unless the phone is in accept. Snapshots that stock restic took and those that cannot be read are not ours to
// remove.
func choose(list []Snapshot, p Policy, accept []string) (choices []Choice, shrunk []Shrunk) {
	phones := map[string][]Snapshot{}
	var states []Snapshot
	for _, s := range list {
		switch {
		case s.Err != nil:
			choices = append(choices, Choice{s, true, []string{"it cannot be read"}})
		case s.Hidden():
			states = append(states, s)
		case s.Foreign || s.Phone == "":
			choices = append(choices, Choice{s, true, []string{"not taken by the box"}})
		default:
			phones[s.Phone] = append(phones[s.Phone], s)
		}
	}
	slices.SortFunc(states, newestFirst)
	for i, s := range states {
		c := Choice{Snapshot: s, Keep: i < keepStates}
		if c.Keep {
			c.Why = []string{"one of the newest"}
		}
		choices = append(choices, c)
	}
	for _, phone := range slices.Sorted(maps.Keys(phones)) {
		of := phones[phone]
		slices.SortFunc(of, newestFirst)
		why := p.reasons(of)
		if before, after, ok := shrank(of); ok && !slices.Contains(accept, phone) {
			shrunk = append(shrunk, Shrunk{phone, of[before], of[after]})
			for i := before; i < len(of); i++ {
				why[i] = append(why[i], "from before the phone held far fewer files")
			}
		}
		for i, s := range of {
			choices = append(choices, Choice{s, len(why[i]) > 0, why[i]})
		}
	}
	return choices, shrunk
}

func newestFirst(a, b Snapshot) int {
	return cmp.Or(cmp.Compare(b.Generation, a.Generation), b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
}

// shrank finds the newest complete snapshot that is far smaller than the complete one before it, if the phone is as small
// still. of is sorted, the newest first; what is returned are positions in it.
func shrank(of []Snapshot) (before, after int, ok bool) {
	newest, newer := -1, -1
	for i, s := range of {
		switch {
		case !s.Complete:
			continue
		case newest < 0:
			newest = i
		case s.Files >= shrunkFiles && farSmaller(of[newer], s) && farSmaller(of[newest], s):
			return i, newer, true
		}
		newer = i
	}
	return 0, 0, false
}

func farSmaller(now, before Snapshot) bool {
	return shrunkShare*now.Files < before.Files || shrunkShare*now.Bytes < before.Bytes
}

// reasons tells for each snapshot of a phone, the newest first, why it stays; one without a reason may go.
func (p Policy) reasons(of []Snapshot) [][]string {
	why := make([][]string, len(of))
	keep := func(i int, reason string) { why[i] = append(why[i], reason) }
	for i := range min(max(p.Last, 1), len(of)) {
		keep(i, "one of the newest")
	}
	if i := slices.IndexFunc(of, func(s Snapshot) bool { return s.Complete }); i >= 0 {
		keep(i, "the newest complete one")
	}
	for _, rule := range []struct {
		n      int
		period string
		of     func(Snapshot) string
	}{
		{p.Daily, "day", day}, {p.Weekly, "week", week}, {p.Monthly, "month", month}, {p.Yearly, "year", year},
	} {
		// Each period is stood for by its newest complete snapshot, or its newest where none is complete.
		best := map[string]int{}
		var periods []string
		for i, s := range of {
			key := rule.of(s)
			b, ok := best[key]
			if !ok {
				periods = append(periods, key)
			}
			if !ok || !of[b].Complete && s.Complete {
				best[key] = i
			}
		}
		for _, key := range periods[:min(max(rule.n, 0), len(periods))] {
			keep(best[key], "the last of its "+rule.period)
		}
	}
	return why
}

func day(s Snapshot) string {
	if s.Undated {
		return fmt.Sprint("generation ", s.Generation)
	}
	return s.Time.UTC().Format(time.DateOnly)
}

func week(s Snapshot) string {
	if s.Undated {
		return fmt.Sprint("generations ", s.Generation/7)
	}
	y, w := s.Time.UTC().ISOWeek()
	return fmt.Sprint(y, " week ", w)
}

func month(s Snapshot) string {
	if s.Undated {
		return fmt.Sprint("generations ", s.Generation/30)
	}
	return s.Time.UTC().Format("2006-01")
}

func year(s Snapshot) string {
	if s.Undated {
		return fmt.Sprint("generations ", s.Generation/365)
	}
	return s.Time.UTC().Format("2006")
}
