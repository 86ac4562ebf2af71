package array_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
)

func travel(t testing.TB, a *array.Array, drive int, on bool) {
	t.Helper()
	if err := a.Travel(t.Context(), fmt.Sprint("drive-", drive), on); err != nil {
		t.Fatal(err)
	}
}

func health(t testing.TB, a *array.Array) array.Health {
	t.Helper()
	h, err := a.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// read is how many bytes have been read from drives.
func (r *rig) read(drives ...int) int64 {
	n := int64(0)
	for _, i := range drives {
		n += r.drives[i].Traffic().Read
	}
	return n
}

// bytesOf is the size of the blobs that fill puts.
func bytesOf(fills int64) int64 {
	n := int64(0)
	for _, size := range sizes {
		n += int64(size)
	}
	return n * fills
}

// A drive that travels is no fault while it is away; when it comes back it gets what it missed, and nothing else is read; what
// was deleted meanwhile goes; and it alone is enough to read everything.
func TestDriveThatTravels(t *testing.T) {
	for home := 2; home <= 5; home++ { // with 3 and more, what stays at home is striped
		r := newRig(t, uint64(31+home), home+1, 1)
		var stay []int
		for i := range home {
			stay = append(stay, i)
		}
		travel(t, r.a, home, true)
		for from := range 5 {
			fill(t, r.a, 10*from)
		}
		repair(t, r.a)
		if h := wantHealthy(t, r.a); !h.Drives[home].Complete || !h.Drives[home].Travels || h.Drives[home].Needed {
			t.Fatalf("%+v", h.Drives[home])
		}

		a := r.reopen(stay...)
		wantHealthy(t, a)
		fill(t, a, 100)
		if err := errors.Join(a.Delete(t.Context(), packName(3)), a.Delete(t.Context(), packName(1))); err != nil {
			t.Fatal(err)
		}
		mustSync(t, a)
		if h := wantHealthy(t, a); h.Drives[home].Lacks != len(sizes) || h.Drives[home].LacksBytes != bytesOf(1) {
			t.Errorf("%d at home: the one that is away lacks %+v", home, h.Drives[home])
		}

		a = r.reopen()
		before := r.read(stay...)
		report := repair(t, a)
		if read := r.read(stay...) - before; read > bytesOf(1)+20_000 {
			t.Errorf("%d at home: %d bytes were read to catch up, of which %d were missing", home, read, bytesOf(1))
		}
		if report.Spread > 0 || len(report.Lost) > 0 {
			t.Errorf("%d at home: %+v", home, report)
		}
		if left := files(t, r.drives[home]); slices.ContainsFunc(left, func(f string) bool { return strings.HasSuffix(f, packName(3)) }) {
			t.Errorf("%d at home: what was deleted is still on the drive that came back", home)
		}
		wantHealthy(t, a)
		for _, left := range [][]int{{home}, stay, stay[1:]} {
			a = r.reopen(left...)
			for _, from := range []int{10, 20, 30, 40, 100} {
				wantFill(t, a, from)
			}
			if _, err := a.Stat(t.Context(), packName(3)); !errors.Is(err, storage.ErrNotExist) {
				t.Errorf("%d at home, attached %v: deleted, yet %v", home, left, err)
			}
		}
	}
}

// One drive stays and two take turns: all is well while one of them is here and up to date, and what is missing is told
// otherwise.
func TestTwoDrivesTakeTurns(t *testing.T) {
	r := newRig(t, 41, 3, 1)
	travel(t, r.a, 1, true)
	travel(t, r.a, 2, true)
	fill(t, r.a, 0)
	wantHealthy(t, r.a)
	for month := 1; month < 6; month++ {
		here := 1 + month%2
		a := r.reopen(0, here)
		if h := health(t, a); month > 1 && (h.Healthy() || h.Here[0] == 0) {
			t.Errorf("before it catches up: %+v", h)
		}
		if rep, err := a.CatchUp(t.Context(), nil); err != nil || len(rep.Lost) > 0 {
			t.Fatal(rep, err)
		}
		if h := wantHealthy(t, a); !h.Drives[here].Needed || h.Drives[here].Lacks > 0 {
			t.Errorf("%+v", h.Drives[here])
		}
		repair(t, a)
		if month > 1 { // deleted while it was away, and the other one is now
			if _, err := r.drives[here].Stat(t.Context(), "vault/"+packName(10*(month-2)+1)); !errors.Is(err, storage.ErrNotExist) {
				t.Errorf("month %d: what was deleted is still there: %v", month, err)
			}
		}
		fill(t, a, 10*month)
		if err := a.Delete(t.Context(), packName(10*(month-1)+1)); err != nil {
			t.Fatal(err)
		}
		mustSync(t, a)
		wantHealthy(t, a)
		if h := health(t, r.reopen(0)); h.Healthy() || h.Unreadable > 0 {
			t.Errorf("one drive alone: %+v", h)
		}
	}
	a := r.reopen()
	repair(t, a)
	wantHealthy(t, a)
	for i := range 3 {
		if _, err := r.drives[i].Stat(t.Context(), "vault/"+packName(1)); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("drive %d holds what was deleted: %v", i, err)
		}
		a := r.reopen(i)
		wantBlob(t, a, packName(14), pack(sizes[4], 14))
		wantBlob(t, a, packName(53), pack(sizes[3], 53))
	}
}

// What a drive holds when it is told to travel moves to those that stay, and back when it stays again.
func TestDriveBeginsToTravel(t *testing.T) {
	for _, away := range []bool{false, true} {
		r := newRig(t, 43, 4, 1)
		fill(t, r.a, 0)
		a := r.a
		if away {
			a = r.reopen(0, 1, 2)
		}
		travel(t, a, 3, true)
		if h := health(t, r.reopen(0, 1, 2)); h.Healthy() {
			t.Errorf("blobs still count on the drive that travels: %+v", h)
		}
		if !away {
			a = r.reopen()
		} else {
			a = r.a
		}
		repair(t, a)
		for i := range 3 {
			left := slices.DeleteFunc([]int{0, 1, 2}, func(j int) bool { return i == j })
			wantFill(t, r.reopen(left...), 0)
		}
		if h := wantHealthy(t, r.reopen(0, 1, 2)); h.Drives[3].Lacks > 0 != away {
			t.Errorf("%+v", h.Drives[3])
		}
		a = r.reopen()
		repair(t, a)
		wantHealthy(t, a)
		wantFill(t, r.reopen(3), 0)
		a = r.reopen()
		travel(t, a, 3, false)
		repair(t, a)
		fill(t, a, 10)
		h := wantHealthy(t, a)
		if h.Drives[3].Travels || h.Drives[3].Complete {
			t.Errorf("%+v", h.Drives[3])
		}
	}
}

// A whole copy beside a striped blob heals from the stripe, and the stripe from the copy, even where more shards are gone
// than parity makes up for.
func TestCopyAndStripeHealEachOther(t *testing.T) {
	r := newRig(t, 47, 4, 1)
	travel(t, r.a, 3, true)
	fill(t, r.a, 0)
	repair(t, r.a)
	for _, hurt := range [][]int{{3}, {0, 1}, {0, 1, 2}} {
		array.SetFold(r.a, 1)
		mustPut(t, r.a, packName(50+len(hurt)), nil)
		mustSync(t, r.a) // a checkpoint keeps both
		a := r.reopen()
		for _, i := range hurt {
			for _, f := range files(t, r.drives[i]) {
				if strings.Contains(f, packName(4)) {
					r.drives[i].Lose(f)
				}
			}
		}
		wantFill(t, a, 0)
		if rep := repair(t, a); len(rep.Lost) > 0 || rep.Rebuilt != 2*len(hurt) {
			t.Errorf("%v: %+v", hurt, rep)
		}
		wantHealthy(t, a)
		wantFill(t, r.reopen(0, 1), 0)
		wantFill(t, r.reopen(3), 0)
		r.reopen()
	}
}

// A drive that travels is used apart, elsewhere: what only it holds is there when it comes back, and gets its protection.
func TestTravelledApart(t *testing.T) {
	for home := 2; home <= 3; home++ {
		r := newRig(t, 53, home+1, 1)
		travel(t, r.a, home, true)
		fill(t, r.a, 0)
		repair(t, r.a)
		var stay []int
		for i := range home {
			stay = append(stay, i)
		}
		there := r.reopen(home)
		fill(t, there, 20)
		here := r.reopen(stay...)
		fill(t, here, 30)
		if err := here.Delete(t.Context(), packName(4)); err != nil {
			t.Fatal(err)
		}
		mustSync(t, here)
		both := r.reopen()
		repair(t, both)
		wantHealthy(t, both)
		for _, left := range [][]int{stay, {home}, stay[1:]} {
			a := r.reopen(left...)
			for _, from := range []int{0, 20, 30} { // no delete crosses a fork
				wantFill(t, a, from)
			}
		}
	}
}

// Two forks hold a blob in two ways, and one of them has rotted unseen: joining them does not throw the good one away.
func TestForkIsNotJoinedOnRottenCopies(t *testing.T) {
	r := newRig(t, 59, 3, 1)
	want := pack(300_000, 1)
	for _, fork := range [][]int{{0, 1}, {2}} {
		a := r.reopen(fork...)
		mustPut(t, a, packName(1), want)
		mustSync(t, a)
	}
	for i := range 2 {
		for block := range int64(5) {
			r.drives[i].Rot("vault/"+packName(1), block*65536*8)
		}
	}
	a := r.reopen()
	for range 2 { // the first finds the damage, the second mends it
		if _, err := a.Repair(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		wantBlob(t, a, packName(1), want)
	}
	wantHealthy(t, a)
	for _, left := range [][]int{{0, 1}, {0, 2}, {1, 2}} {
		wantBlob(t, r.reopen(left...), packName(1), want)
	}
}
