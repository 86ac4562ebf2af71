package array_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestReadersShareBuffers has several readers read ranges of blobs that are whole, that have to be computed because a drive
// is away, and that need the parity against bad sectors on top of that. They share the memory they read into.
func TestReadersShareBuffers(t *testing.T) {
	for n, name := range map[int]string{1: "one drive", 3: "three drives, one away", 4: "four drives, one away"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, n, min(n-1, 1))
			var packs [][]byte
			for i := range 4 {
				packs = append(packs, pack(5<<20+i*50_001, uint64(i)))
				mustPut(t, r.a, packName(i), packs[i])
			}
			mustSync(t, r.a)
			for info, err := range r.drives[0].List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(info.Name, packName(0)) && !strings.HasSuffix(info.Name, ".p") {
					r.drives[0].Rot(info.Name, 8*500_000)
				}
			}
			a := r.reopen([][]int{1: {0}, 3: {0, 2}, 4: {0, 1, 3}}[n]...)
			var readers sync.WaitGroup
			for seed := range uint64(4) {
				readers.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, 2))
					for range 12 {
						i := rnd.IntN(len(packs))
						off := rnd.IntN(len(packs[i]))
						p := make([]byte, rnd.IntN(min(len(packs[i])-off, 3<<20)+1))
						if m, err := a.Get(t.Context(), packName(i), int64(off), p); err != nil || m < len(p) || !bytes.Equal(p, packs[i][off:][:m]) {
							t.Errorf("%d bytes at %d of pack %d: %d of them, or other bytes than were put, or %v", len(p), off, i, m, err)
							return
						}
					}
				})
			}
			readers.Wait()
		})
	}
}
