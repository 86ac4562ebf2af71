package array_test

import (
	"errors"
	"fmt"
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
			t.Logf("moved %d, striped anew %d; %d KiB written for %d KiB of room", rep.Moved, rep.Spread, written>>10, room>>10)
			for i := range n {
				wantBlob(t, r.a, packName(i), pack(1<<20, uint64(i)))
			}
			wantHealthy(t, r.a)
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
	if rep := repair(t, r.a); rep.Moved+rep.Spread > 0 {
		t.Errorf("%+v", rep)
	}
	if h := wantHealthy(t, r.a); h.Drives[2].Lacks > 0 {
		t.Errorf("small blobs are not on the new drive: %+v", h.Drives[2])
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
