package array_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
)

// watched is a drive that remembers which files were read, and may end a context at the nth read.
type watched struct {
	storage.Store
	mu   sync.Mutex // guards the rest
	read map[string]int
	nth  int
	then func()
}

func (w *watched) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	w.mu.Lock()
	w.read[name]++
	if w.nth--; w.nth == 0 {
		w.then()
	}
	w.mu.Unlock()
	return w.Store.Get(ctx, name, off, p)
}

// watch opens the array over the rig's drives with these numbers, all without any, each watched.
func (r *rig) watch(nos ...int) (*array.Array, []*watched) {
	r.t.Helper()
	var ws []*watched
	ms := r.members(nos...)
	for i := range ms {
		w := &watched{Store: ms[i].Store, read: make(map[string]int)}
		ws = append(ws, w)
		ms[i].Store = w
	}
	a, err := array.Open(r.t.Context(), ms, array.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return a, ws
}

// kept is passes as they come back from a state folder.
func kept(t *testing.T, passes map[string]array.Pass) map[string]array.Pass {
	t.Helper()
	b, err := json.Marshal(passes)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]array.Pass
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// one reads one blob on every drive and ends.
var one = time.Nanosecond

func scrubFrom(t *testing.T, a *array.Array, from map[string]array.Pass, for1 time.Duration) array.ScrubReport {
	t.Helper()
	report, err := a.ScrubFrom(t.Context(), array.ScrubOptions{From: from, For: for1})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A scrub in parts reads each file once, and finds what a scrub in one finds.
func TestScrubInParts(t *testing.T) {
	r := newRig(t, 5, 4, 1)
	for i := range 4 {
		fill(t, r.a, 10*i)
	}
	rotten := files(t, r.drives[1])[3]
	r.drives[1].Rot(rotten, 11)
	a, _ := r.watch()
	want := scrub(t, a)
	if len(want.Damaged) != 1 {
		t.Fatalf("%+v", want)
	}
	a, drives := r.watch()
	for _, w := range drives {
		clear(w.read)
	}
	var report array.ScrubReport
	parts, passes := 0, map[string]array.Pass(nil)
	for done := false; !done && parts < 1000; parts++ {
		report = scrubFrom(t, a, kept(t, passes), one)
		passes = report.Passes
		done = true
		for _, p := range passes {
			done = done && p.Done
		}
	}
	if parts < 15 {
		t.Errorf("only %d parts", parts)
	}
	if got, want := asJSON(t, report), asJSON(t, want); got != want {
		t.Errorf("in %d parts:\n%s\nin one:\n%s", parts, got, want)
	}
	for i, w := range drives {
		for _, name := range files(t, r.drives[i]) {
			if info, err := w.Stat(t.Context(), name); err != nil || info.Size > 0 && w.read[name] == 0 {
				t.Errorf("drive %d: %s was never read (%v)", i, name, err)
			}
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Ended at any read, a scrub goes on from there and counts no file twice.
func TestScrubEndedAnywhere(t *testing.T) {
	r := newRig(t, 6, 3, 1)
	fill(t, r.a, 0)
	r.drives[0].Rot(files(t, r.drives[0])[2], 5)
	a, _ := r.watch()
	want := asJSON(t, scrub(t, a))
	for nth := 1; ; nth++ {
		a, drives := r.watch()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		drives[2].nth, drives[2].then = nth, cancel
		first, err := a.ScrubFrom(ctx, array.ScrubOptions{})
		if err == nil {
			if nth < 10 {
				t.Errorf("only %d reads", nth)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if got := asJSON(t, scrubFrom(t, r.reopen(), kept(t, first.Passes), 0)); got != want {
			t.Fatalf("ended at read %d, and then gone on:\n%s\nwant\n%s", nth, got, want)
		}
	}
}

// While a pass is under way blobs come and go, a drive is away for a while, and damage is mended. Whatever was on a drive
// from the beginning to the end of its pass is read in it.
func TestScrubWhileTheWorldGoesOn(t *testing.T) {
	r := newRig(t, 7, 4, 1)
	for i := range 6 {
		fill(t, r.a, 10*i)
	}
	before := make([][]string, len(r.drives))
	for i, d := range r.drives {
		before[i] = files(t, d)
	}
	rotten := before[2][len(before[2])/2]
	r.drives[2].Rot(rotten, 3)
	reads := make([]map[string]int, len(r.drives))
	for i := range reads {
		reads[i] = make(map[string]int)
	}
	passes := map[string]array.Pass{}
	var a *array.Array
	part := func(nos ...int) array.ScrubReport {
		t.Helper()
		var ws []*watched
		a, ws = r.watch(nos...)
		for _, w := range ws {
			clear(w.read)
		}
		report := scrubFrom(t, a, kept(t, passes), one)
		maps.Copy(passes, report.Passes)
		for i, w := range ws {
			no := i
			if len(nos) > 0 {
				no = nos[i]
			}
			for name := range w.read {
				reads[no][name]++
			}
		}
		return report
	}
	found := 0
	for step := 0; !slices.ContainsFunc(slices.Collect(maps.Values(passes)), func(p array.Pass) bool { return !p.Done }) == (len(passes) < 4); step++ {
		if step > 500 {
			t.Fatalf("comes to no end: %+v", passes)
		}
		switch {
		case step == 3: // one is away, and a blob is put that it lacks
			a := r.reopen(0, 1, 2)
			mustPut(t, a, packName(203), pack(300_000, 99))
			mustSync(t, a)
		case step > 3 && step < 9:
			part(0, 1, 2)
			continue
		case step == 12:
			a := r.reopen()
			for _, i := range []int{1, 13, 52} {
				if err := a.Delete(t.Context(), packName(i)); err != nil {
					t.Fatal(err)
				}
			}
			mustSync(t, a)
		}
		report := part()
		if len(report.Unreadable) > 0 {
			t.Fatalf("step %d: %+v", step, report)
		}
		if len(report.Damaged) > 0 && found == 0 {
			found = step
			if report.Damaged[0].File != rotten {
				t.Fatalf("step %d: %+v", step, report.Damaged)
			}
			repair(t, a)
		} else if len(report.Damaged) > 0 {
			t.Errorf("step %d: mended, and listed still: %+v", step, report.Damaged)
		}
	}
	if found == 0 {
		t.Error("the rot was not found")
	}
	for i, d := range r.drives {
		now := files(t, d)
		for _, name := range before[i] {
			if !slices.Contains(now, name) || reads[i][name] > 0 {
				continue
			}
			if info, err := d.Stat(t.Context(), name); err != nil || info.Size > 0 {
				t.Errorf("drive %d: %s was there all the time and was not read", i, name)
			}
		}
	}
}

// A pass that is done still looks at what it found damaged: mended, it is taken off; not mended, it is named again.
func TestScrubLooksAgainAtDamage(t *testing.T) {
	r := newRig(t, 8, 3, 1)
	fill(t, r.a, 0)
	shard := files(t, r.drives[0])[0]
	for _, hurt := range []func(){
		func() { r.drives[0].Rot(shard, 9) },
		func() { r.drives[0].Lose(shard) },
		func() { r.drives[0].Rot(segments(t, r)[0], 900) },
	} {
		hurt()
		passes := kept(t, scrubFrom(t, r.reopen(), nil, 0).Passes)
		a := r.reopen()
		again := scrubFrom(t, a, passes, 0)
		if len(again.Damaged) != 1 {
			t.Fatalf("not mended, and a second look says %+v", again)
		}
		repair(t, a)
		again = scrubFrom(t, r.reopen(), kept(t, again.Passes), 0)
		d := again.Passes["drive-0"]
		if len(again.Damaged) > 0 || d.Found.Bad+d.Found.Missing+d.Found.Blocks > 0 || !d.Done {
			t.Fatalf("mended, and a second look says %+v", again)
		}
	}
}

func segments(t *testing.T, r *rig) []string {
	t.Helper()
	var names []string
	for info, err := range r.drives[0].List(t.Context(), "ledger/") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// More damage than parity can bring back is named as such until it can be read again.
func TestScrubNamesWhatCannotBeRead(t *testing.T) {
	r := newRig(t, 9, 3, 1)
	name := packName(1)
	mustPut(t, r.a, name, pack(600_000, 1))
	mustSync(t, r.a)
	for _, d := range r.drives[:2] {
		for _, f := range files(t, d) {
			if strings.Contains(f, name) {
				d.Lose(f)
			}
		}
	}
	passes := kept(t, scrubFrom(t, r.reopen(), nil, 0).Passes)
	again := scrubFrom(t, r.reopen(), passes, 0)
	if !slices.Equal(again.Unreadable, []string{name}) || !slices.Equal(again.Passes["drive-0"].Unreadable, []string{name}) {
		t.Errorf("%+v", again)
	}
	a := r.reopen()
	if err := a.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	mustSync(t, a)
	if again = scrubFrom(t, r.reopen(), passes, 0); len(again.Unreadable)+len(again.Damaged) > 0 {
		t.Errorf("deleted, and still %+v", again)
	}
}

// A scrub beside another process that deletes blobs and folds its ledger finds nothing wrong.
func TestScrubBesideAWriter(t *testing.T) {
	r := newRig(t, 10, 3, 1)
	for i := range 4 {
		fill(t, r.a, 10*i)
	}
	reader := r.reopen()
	writer := r.reopen()
	array.SetFold(writer, 1)
	for i := range 3 {
		if err := writer.Delete(t.Context(), packName(10*i+2)); err != nil {
			t.Fatal(err)
		}
		mustPut(t, writer, packName(100+i), pack(300_000, uint64(100+i)))
		mustSync(t, writer)
	}
	all, fresh := scrub(t, reader), scrub(t, r.reopen())
	if len(all.Damaged)+len(all.Unreadable) > 0 || all.Drives[0].Bytes < fresh.Drives[0].Bytes/2 {
		t.Errorf("beside a writer: %+v\nafterwards: %+v", all, fresh)
	}
	if h, err := reader.Health(t.Context()); err != nil || h.Damaged > 0 {
		t.Errorf("%+v, %v", h, err)
	}
	r.drives[0].Lose(files(t, r.drives[0])[1])
	if s := scrub(t, reader); len(s.Damaged) != 1 || !s.Damaged[0].Missing {
		t.Errorf("a file that is really missing: %+v", s)
	}
}

// A drive that is pulled out while it is read loses its place by no more than a blob, and nothing is blamed on it.
func TestScrubOfADriveThatIsPulled(t *testing.T) {
	r := newRig(t, 11, 3, 1)
	for i := range 3 {
		fill(t, r.a, 10*i)
	}
	a, drives := r.watch()
	drives[1].nth, drives[1].then = 9, r.drives[1].Unplug
	first := scrub(t, a)
	pass := first.Passes["drive-1"]
	if pass.Done || pass.Found.Err == "" || len(first.Damaged) > 0 {
		t.Fatalf("%+v", first)
	}
	r.drives[1].Plug()
	rest := scrubFrom(t, r.reopen(), kept(t, first.Passes), 0)
	if got, want := asJSON(t, rest), asJSON(t, scrub(t, r.reopen())); got != want {
		t.Errorf("gone on:\n%s\nin one:\n%s", got, want)
	}
}
