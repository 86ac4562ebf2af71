package array_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestLostDrivesPlusBadSectors: as many drives are dead as the array survives, and then those that are left have bad
// sectors, one in each file or a run of neighbours: everything is read, and a repair on new drives brings back full
// protection. This is what a rebuild meets on drives that nobody has read for years.
func TestLostDrivesPlusBadSectors(t *testing.T) {
	for _, tt := range []struct{ n, survive int }{{1, 0}, {2, 1}, {3, 1}, {4, 1}, {3, 2}, {5, 2}, {6, 3}} {
		for _, run := range []int{1, 4} {
			t.Run(fmt.Sprintf("%d drives survive %d, %d sectors", tt.n, tt.survive, run), func(t *testing.T) {
				r := newRig(t, uint64(17*tt.n+run), tt.n, tt.survive)
				sizes := []int{256 << 10, 1<<20 + 7, 4 << 20, 17<<20 - 12345}
				for i, size := range sizes {
					mustPut(t, r.a, packName(i), pack(size, uint64(i)))
				}
				mustSync(t, r.a)
				rng := rand.New(rand.NewPCG(3, uint64(tt.n)))
				var left []int
				for i := tt.survive; i < tt.n; i++ {
					left = append(left, i)
				}
				for _, i := range left {
					r.rotEach(i, run, rng)
				}
				a := r.reopen(left...)
				for i, size := range sizes {
					wantBlob(t, a, packName(i), pack(size, uint64(i)))
				}
				if h, err := a.Health(t.Context()); err != nil || h.Damaged == 0 {
					t.Errorf("nothing was damaged: %+v, %v", h, err)
				}
				for i := range tt.survive {
					if err := a.Remove(t.Context(), fmt.Sprintf("drive-%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				if s, err := a.Scrub(t.Context(), nil); err != nil || len(s.Damaged) == 0 || len(s.Unreadable) > 0 {
					t.Errorf("%+v, %v", s, err)
				}
				if rep := repair(t, a); len(rep.Lost) > 0 || rep.Mended == 0 {
					t.Errorf("%+v", rep)
				}
				if s, err := a.Scrub(t.Context(), nil); err != nil || len(s.Damaged) > 0 {
					t.Errorf("after the repair: %+v, %v", s, err)
				}
				for i, size := range sizes {
					wantBlob(t, a, packName(i), pack(size, uint64(i)))
				}
			})
		}
	}
}

// rotEach damages a run of 64 KiB blocks somewhere in each large file of a drive; files of side parity are spared, since
// a group can lose no more than one block.
func (r *rig) rotEach(drive, run int, rng *rand.Rand) {
	r.t.Helper()
	hit := 0
	for info, err := range r.drives[drive].List(r.t.Context(), "") {
		if err != nil {
			r.t.Fatal(err)
		}
		if !strings.HasPrefix(info.Name, "shards/") && !strings.HasPrefix(info.Name, "vault/data/") || strings.HasSuffix(info.Name, ".p") {
			continue
		}
		blocks := int((info.Size + 65535) / 65536)
		groups := (blocks + 15) / 16
		n := min(run, groups) // neighbours take turns over the groups
		first := rng.IntN(blocks - n + 1)
		for b := first; b < first+n; b++ {
			if !r.drives[drive].Rot(info.Name, (int64(b)*65536+5)*8) {
				r.t.Fatalf("%s did not rot", info.Name)
			}
			hit++
		}
	}
	if hit == 0 {
		r.t.Fatal("nothing to rot")
	}
}
