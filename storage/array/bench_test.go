package array_test

import (
	"fmt"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// BenchmarkPut stores 16 MiB packs on 2+1 drives in memory, which copy them: that copy is part of the figure.
func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1, 2, 3, 5} {
		b.Run(fmt.Sprintf("%d drives", n), func(b *testing.B) {
			r := newRig(b, 1, n, 1)
			p := pack(16<<20, 1)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				name := packName(i)
				mustPut(b, r.a, name, p)
				if err := r.a.Delete(b.Context(), name); err != nil {
					b.Fatal(err)
				}
				mustSync(b, r.a)
			}
		})
	}
}

// BenchmarkGet reads chunks of 4 MiB, with all drives and with one away.
func BenchmarkGet(b *testing.B) {
	r := newRig(b, 1, 3, 1)
	mustPut(b, r.a, packName(1), pack(16<<20, 1))
	mustSync(b, r.a)
	for name, a := range map[string]*array.Array{"whole": r.reopen(), "degraded": r.reopen(1, 2)} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 4<<20)
			b.SetBytes(int64(len(buf)))
			for i := int64(0); b.Loop(); i++ {
				if _, err := a.Get(b.Context(), packName(1), 12345+i%3*(4<<20), buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScrub verifies data in memory; the drives' copy is part of the figure.
func BenchmarkScrub(b *testing.B) {
	r := newRig(b, 1, 3, 1)
	for i := range 8 {
		mustPut(b, r.a, packName(i), pack(16<<20, uint64(i)))
	}
	mustSync(b, r.a)
	b.SetBytes(8 * 16 << 20 * 3 / 2)
	for b.Loop() {
		if s, err := r.a.Scrub(b.Context(), nil); err != nil || len(s.Damaged) > 0 {
			b.Fatal(s, err)
		}
	}
}

// BenchmarkOpen opens an array of 64,000 packs, which is 1 TB, after the ledger was folded, and reports what the
// index takes.
func BenchmarkOpen(b *testing.B) {
	d := vdrive.New(1)
	ms := []array.Member{{ID: "d", Store: d}}
	a, err := array.Create(b.Context(), ms, array.Options{})
	if err != nil {
		b.Fatal(err)
	}
	array.SetFold(a, 1)
	const packs = 64_000
	p := pack(100, 1)
	for i := range packs {
		if err := a.Put(b.Context(), packName(i), p); err != nil {
			b.Fatal(err)
		}
	}
	mustSync(b, a)
	var s storage.Store
	b.ReportAllocs()
	for b.Loop() {
		if s, err = array.Open(b.Context(), ms, array.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Stat(b.Context(), packName(7)); err != nil {
		b.Error(err)
	}
}
