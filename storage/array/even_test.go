package array_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// mostOf is what drives can hold at best so that any m may die: all that the m largest do not hold must be enough to bring
// everything back.
func mostOf(capacity []int64, m int) int64 {
	sum := int64(0)
	for _, c := range slices.Sorted(slices.Values(capacity))[:len(capacity)-m] {
		sum += c
	}
	return sum
}

const (
	mega    = 1 << 20
	reserve = 512 << 10
)

// sized is a rig over drives of these capacities, in MiB.
func sized(t testing.TB, seed uint64, survive int, capacity ...int64) *rig {
	r := newRig(t, seed, len(capacity), survive)
	for i, c := range capacity {
		r.drives[i].Capacity(c*mega+reserve, reserve)
	}
	return r
}

// stuff puts blobs until they get less than the full protection, and returns how many bytes have it.
func (r *rig) stuff(first, size int) (n int, full int64) {
	r.t.Helper()
	for i := first; ; i++ {
		err := r.a.Put(r.t.Context(), packName(i), pack(size, uint64(i)))
		if err != nil && !errors.Is(err, storage.ErrFull) {
			r.t.Fatal(err)
		}
		if err == nil && i%8 == 7 {
			mustSync(r.t, r.a)
		}
		if err != nil || !health(r.t, r.a).Protected() {
			if err == nil { // the last straw
				if err := r.a.Delete(r.t.Context(), packName(i)); err != nil {
					r.t.Fatal(err)
				}
			}
			mustSync(r.t, r.a)
			return i - first, int64(i-first) * int64(size)
		}
	}
}

// Drives of unequal size fill to 85 % of what is possible with any m of them gone. Parity against bad sectors takes a
// seventeenth, and the last blob that does not fit is as large as an eighth of the smallest.
func TestUnequalDrivesFillWell(t *testing.T) {
	for _, tt := range []struct {
		survive  int
		capacity []int64 // MiB
	}{
		{1, []int64{100, 50, 25}}, {1, []int64{60, 60, 16}}, {1, []int64{70, 30, 30, 16}}, {2, []int64{80, 50, 30, 30}}, {0, []int64{40, 20}},
		{3, []int64{60, 50, 30, 30, 30}}, {1, []int64{60, 30}},
	} {
		t.Run(fmt.Sprintf("%v survive %d", tt.capacity, tt.survive), func(t *testing.T) {
			r := sized(t, 61, tt.survive, tt.capacity...)
			n, full := r.stuff(0, 2<<20)
			if best := mostOf(tt.capacity, tt.survive) * mega; full < best*17/20 || full > best {
				t.Errorf("%d KiB protected, of %d KiB that are possible", full>>10, best>>10)
			}
			a := r.reopen()
			for i := range n {
				wantBlob(t, a, packName(i), pack(2<<20, uint64(i)))
			}
			wantHealthy(t, a)
		})
	}
}

// New drives come to full ones: a repair makes the room even, moving no more than it has to, and stops there. What is
// protected stays so at every moment.
func TestNewDriveBringsRoom(t *testing.T) {
	for _, tt := range []struct {
		survive    int
		had, added []int64
	}{
		{1, []int64{32, 32}, []int64{32}}, {1, []int64{32, 32, 32}, []int64{32}}, {1, []int64{32, 32, 32}, []int64{64}}, {2, []int64{32, 32, 32}, []int64{32}},
		{1, []int64{24, 24, 12}, []int64{24}},
	} {
		t.Run(fmt.Sprintf("%v and %v survive %d", tt.had, tt.added, tt.survive), func(t *testing.T) {
			r := sized(t, 67, tt.survive, tt.had...)
			n, _ := r.stuff(0, 1<<20)
			all := slices.Clone(tt.had)
			for _, c := range tt.added {
				d := vdrive.New(uint64(700 + len(all)))
				d.Capacity(c*mega+reserve, reserve)
				r.power.Feed(d)
				r.drives = append(r.drives, d)
				if err := r.a.Add(t.Context(), r.members(len(all))[0]); err != nil {
					t.Fatal(err)
				}
				all = append(all, c)
			}
			// The small blobs get there first: from then on only evenness is a reason to repair.
			if _, err := r.a.CatchUp(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			h := wantHealthy(t, r.a)
			if h.Uneven == 0 {
				t.Errorf("nothing is said to be uneven: %+v", h.Drives)
			}
			before := r.written()
			rep := repair(t, r.a)
			if rep.Moved+rep.Spread == 0 || len(rep.Lost) > 0 {
				t.Fatalf("%+v", rep)
			}
			room := r.protectable(tt.survive)
			if want := mostOf(all, tt.survive) * mega / 5; room < want {
				t.Errorf("room for %d KiB, want %d", room>>10, want>>10)
			}
			written := r.written() - before
			if gained := room; written > 8*gained {
				t.Errorf("%d KiB written for %d KiB of room", written>>10, gained>>10)
			}
			if h.Uneven < written/2 || h.Uneven > written*2 {
				t.Errorf("%d KiB said to be uneven, %d KiB written", h.Uneven>>10, written>>10)
			}
			t.Logf("moved %d, striped anew %d; %d KiB written, of %d foreseen, for %d KiB of room", rep.Moved, rep.Spread, written>>10, h.Uneven>>10, room>>10)
			for i := range n {
				wantBlob(t, r.a, packName(i), pack(1<<20, uint64(i)))
			}
			if h := wantHealthy(t, r.a); h.Uneven > 0 {
				t.Errorf("%d KiB are uneven after a repair", h.Uneven>>10)
			}
			if rep := repair(t, r.a); rep.Moved+rep.Spread > 0 {
				t.Errorf("a second repair goes on: %+v", rep)
			}
			for again := range 4 {
				more, _ := r.stuff(1000*(again+1), 1<<20)
				repair(t, r.a)
				n += more
			}
			if total := int64(n) * mega; total < mostOf(all, tt.survive)*mega*7/10 {
				t.Errorf("%d MiB protected in the end, of %d that are possible", total>>20, mostOf(all, tt.survive))
			}
		})
	}
}

// With room enough nothing is rewritten, however uneven the drives are.
func TestRoomEnoughMovesNothing(t *testing.T) {
	r := sized(t, 71, 1, 100, 100)
	fill(t, r.a, 0)
	for i := range 15 {
		mustPut(t, r.a, packName(100+i), pack(2<<20, uint64(i)))
	}
	mustSync(t, r.a)
	d := vdrive.New(5)
	d.Capacity(100*mega, 0)
	r.drives = append(r.drives, d)
	if err := r.a.Add(t.Context(), r.members(2)[0]); err != nil {
		t.Fatal(err)
	}
	if h := health(t, r.a); h.Uneven > 0 {
		t.Errorf("%d bytes are said to be uneven", h.Uneven)
	}
	if rep := repair(t, r.a); rep.Moved+rep.Spread > 0 {
		t.Errorf("%+v", rep)
	}
	if h := wantHealthy(t, r.a); h.Drives[2].Lacks > 0 {
		t.Errorf("small blobs are not on the new drive: %+v", h.Drives[2])
	}
}

// A year of nights on a vault with drives of any size, to which another came long ago: whoever repairs only when Health says that
// something is uneven evens out as well as one who always does, and never two nights for nothing.
func TestHealthSaysWhenARepairWouldEvenOut(t *testing.T) {
	asked := 0
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 5))
		survive := 1 + rng.IntN(2)
		capacity := make([]int64, survive+1+rng.IntN(2))
		for i := range capacity {
			capacity[i] = 12 + rng.Int64N(24)
		}
		r := sized(t, 100+seed, survive, capacity...)
		for i := range rng.Int64N(12) {
			mustPut(t, r.a, packName(int(i)), pack(1<<20, uint64(i)))
		}
		mustSync(t, r.a)
		d := vdrive.New(1000 + seed)
		d.Capacity((12+rng.Int64N(36))*mega+reserve, reserve)
		r.drives = append(r.drives, d)
		if err := r.a.Add(t.Context(), r.members(len(capacity))[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := r.a.CatchUp(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for night := range 30 {
			err := r.a.Put(t.Context(), packName(100+night), pack(300_000+rng.IntN(2<<20), uint64(night)))
			if err != nil && !errors.Is(err, storage.ErrFull) {
				t.Fatal(err)
			}
			mustSync(t, r.a)
			if !health(t, r.a).Protected() {
				break // a repair has more to do now than to even out
			}
			says := health(t, r.a).Uneven
			rep := repair(t, r.a)
			if moved := rep.Moved + rep.Spread; moved > 0 != (says > 0) {
				t.Errorf("seed %d, night %d: %d bytes said to be uneven, %d blobs moved", seed, night, says, moved)
			}
			if says > 0 {
				asked++
			}
			for tries := 0; health(t, r.a).Uneven > 0; tries++ {
				if repair(t, r.a); tries > 2 {
					t.Errorf("seed %d, night %d: still %d bytes uneven", seed, night, health(t, r.a).Uneven)
					break
				}
			}
		}
	}
	if asked < 12 {
		t.Errorf("only %d nights on which there was something to even out", asked)
	}
}

func (r *rig) written() int64 {
	n := int64(0)
	for _, d := range r.drives {
		n += d.Traffic().Written
	}
	return n
}

// protectable is the room for blobs that any m drives may take away.
func (r *rig) protectable(m int) int64 {
	var free []int64
	for _, d := range health(r.t, r.a).Drives {
		if d.State == array.Attached {
			free = append(free, d.Free)
		}
	}
	return mostOf(free, m)
}
