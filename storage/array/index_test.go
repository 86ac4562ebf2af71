package array

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestIndexNames compares the names that an index lists with a sorted list of them, sealed ones and others mixed.
func TestIndexNames(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	x := newIndex()
	var all []string
	add := func(name string) {
		x.set(name, entry{size: 1})
		all = append(all, name)
	}
	for i := range 300 {
		hash := fmt.Sprintf("%016x%016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
		add("data/" + hash[:2] + "/" + hash)
		if i%5 == 0 {
			add([]string{"index/", "snapshots/", "keys/", "resume/", "data/zz/", "data/"}[i/5%6] + hash)
			add("data/" + hash[:2] + "/" + hash[:40])
		}
	}
	for _, name := range []string{"config", "data", "data/00", "dataset", "index", "indez", "keys/short", "z"} {
		add(name)
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "d", "data", "data/", "data/0", "data/7a/7", "index/", "keys/", "keys/s", "resume/", "nothing", all[7], all[7] + "x"} {
		want := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, prefix) })
		if got := x.names(prefix); !slices.Equal(got, want) {
			t.Errorf("names that begin with %q: %d, want %d", prefix, len(got), len(want))
		}
	}
}

// TestLedgerMemory: 200,000 packs must cost 20 MB and little more while they are read, on a board that has a backup to make.
func TestLedgerMemory(t *testing.T) {
	const packs = 30_000
	r := rand.New(rand.NewPCG(4, 4))
	s := &segment{id: segmentID{counter: 1, folded: true}, drives: []string{"a", "b", "c"}, tables: make([]byte, 4*(2+1+2))}
	for range packs {
		var k nameKey
		k.sealed.dir = 1
		for i := range k.sealed.hash {
			k.sealed.hash[i] = byte(r.Uint32())
		}
		s.add(record{kind: factRecord, name: k, size: 131073, place: placement{k: 2, m: 1, holders: []driveNo{0, 1, 2}}})
	}
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	for range 3 { // what earlier tests left in pools goes at the second collection
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	got, err := parseSegment(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	v := newView()
	v.apply(newTables(), got)
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(b)
	live, all := (float64(after.HeapAlloc)-float64(before.HeapAlloc))/packs, float64(after.TotalAlloc-before.TotalAlloc)/packs
	t.Logf("%.0f bytes a pack, %.0f with what reading it took", live, all)
	if live > 140 || all > 500 {
		t.Errorf("%.0f bytes a pack and %.0f with what reading it took, want at most 140 and 500", live, all)
	}
	if n := len(v.idx.sealed); n != packs {
		t.Errorf("%d packs", n)
	}
}
