package array_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// newest is the name of the newest segment of a drive's ledger.
func newest(t *testing.T, d *vdrive.Drive) string {
	t.Helper()
	name := ""
	for info, err := range d.List(t.Context(), "ledger/") {
		if err != nil {
			t.Fatal(err)
		}
		name = info.Name
	}
	return name
}

// A power cut tears the newest ledger segment on one drive and not on the other. The next session writes on; after it each
// drive alone has a whole ledger, whichever copy was read.
func TestTornSegmentIsNotBuiltUpon(t *testing.T) {
	for torn := range 2 {
		for what, tear := range map[string]func(d *vdrive.Drive, name string){
			"cut off":            func(d *vdrive.Drive, name string) { d.Truncate(name, 200) },
			"facts missing":      func(d *vdrive.Drive, name string) { d.Rot(name, 8*110) },
			"checksums missing":  func(d *vdrive.Drive, name string) { d.Rot(name, 8*size(t, d, name)-1) },
			"nothing is missing": func(d *vdrive.Drive, name string) {},
		} {
			r := newRig(t, uint64(torn), 2, 1)
			fill(t, r.a, 0)
			fill(t, r.a, 10)
			tear(r.drives[torn], newest(t, r.drives[torn]))
			a := r.reopen()
			mustPut(t, a, packName(99), pack(77, 99))
			mustSync(t, a)
			h := wantHealthy(t, a)
			if h.LedgerIncomplete {
				t.Errorf("%s: %+v", what, h)
			}
			for left := range 2 {
				a := r.reopen(left)
				wantFill(t, a, 0)
				wantFill(t, a, 10)
				wantBlob(t, a, packName(99), pack(77, 99))
				if h, err := a.Health(t.Context()); err != nil || h.LedgerIncomplete {
					t.Errorf("%s on drive %d, drive %d is left: %+v %v", what, torn, left, h, err)
				}
			}
		}
	}
}

func size(t *testing.T, d *vdrive.Drive, name string) int64 {
	t.Helper()
	info, err := d.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size
}

// A power cut leaves the newest segment with good facts and torn checksums, and on the other drive nothing of it: it was never
// acknowledged. What came before it is read, and it does not keep the ledger from being written and folded.
func TestTornChecksumsAreNoLedger(t *testing.T) {
	for _, folded := range []bool{false, true} {
		for torn := range 2 {
			r := newRig(t, uint64(torn), 2, 1)
			fill(t, r.a, 0)
			before := map[string]bool{}
			if folded {
				array.SetFold(r.a, 2)
			}
			for _, d := range r.drives {
				if folded { // what it makes superfluous goes only when it is durable
					d.ErrorOn(vdrive.OpDelete, -1, storage.ErrUnavailable)
				}
				before[newest(t, d)] = true
			}
			fill(t, r.a, 10)
			name := newest(t, r.drives[torn])
			if before[name] || folded != strings.HasSuffix(name, "-f") {
				t.Fatalf("the newest segment is %s", name)
			}
			r.drives[torn].Rot(name, 8*size(t, r.drives[torn], name)-1)
			r.drives[1-torn].Lose(name)
			for _, d := range r.drives {
				d.ErrorOn(vdrive.OpDelete, 0, nil)
			}
			a := r.reopen()
			wantFill(t, a, 0)
			if folded {
				wantFill(t, a, 10)
			} else if _, err := a.Stat(t.Context(), packName(10)); !errors.Is(err, storage.ErrNotExist) {
				t.Errorf("it counts: %v", err)
			}
			for i := range 3 {
				array.SetFold(a, 1+i)
				fill(t, a, 20+10*i)
			}
			repair(t, a)
			wantHealthy(t, r.reopen())
			for left := range 2 {
				wantFill(t, r.reopen(left), 0)
				wantFill(t, r.a, 40)
			}
		}
	}
}

// A checkpoint rots on all drives. What is left of the ledger, pieces that it was to be read after, is whole in itself, but out of
// date: it is read, and nothing is written on top of it. If only checksums rot, no more than these are lost.
func TestCheckpointRotsOnAllDrives(t *testing.T) {
	for n := 1; n <= 2; n++ {
		for _, tables := range []bool{false, true} {
			r := newRig(t, 31, n, n-1)
			array.SetFold(r.a, 3)
			i := 0
			for folds := 0; folds < 6; i++ {
				mustPut(t, r.a, packName(i), pack(500+i, uint64(i)))
				mustSync(t, r.a)
				if strings.HasSuffix(newest(t, r.drives[0]), "-f") {
					folds++
				}
			}
			for _, d := range r.drives {
				name := newest(t, d)
				for _, name := range []string{name, strings.Replace(name, "ledger/", "ledger-copy/", 1)} {
					if _, err := d.Stat(t.Context(), name); err != nil {
						continue
					}
					at := int64(8 * 110)
					if tables {
						at = 8*size(t, d, name) - 1
					}
					d.Rot(name, at)
				}
			}
			a := r.reopen()
			wantBlob(t, a, packName(0), pack(500, 0))
			h := health(t, a)
			err := a.Put(t.Context(), packName(i), pack(1, 1))
			if h.LedgerIncomplete == tables || tables != (err == nil) {
				t.Errorf("%d drives, checksums only: %v: incomplete: %v, put: %v", n, tables, h.LedgerIncomplete, err)
			}
		}
	}
}

// Checksums rot in all copies of a small old segment. The ledger is folded all the same, and nights go on.
func TestFoldAroundRottenChecksums(t *testing.T) {
	r := newRig(t, 37, 1, 0)
	mustPut(t, r.a, packName(0), pack(500, 0))
	mustSync(t, r.a)
	name := newest(t, r.drives[0])
	r.drives[0].Rot(name, 8*size(t, r.drives[0], name)-1)
	name = strings.Replace(name, "ledger/", "ledger-copy/", 1)
	r.drives[0].Rot(name, 8*size(t, r.drives[0], name)-1)
	for i := range 12 {
		array.SetFold(r.a, 2)
		mustPut(t, r.a, packName(1+i), pack(500, uint64(1+i)))
		mustSync(t, r.a)
		if i%5 == 4 {
			r.reopen()
		}
	}
	for i := range 12 {
		wantBlob(t, r.a, packName(1+i), pack(500, uint64(1+i)))
	}
	if s := scrub(t, r.reopen()); len(s.Unreadable) != 1 || s.Unreadable[0] != packName(0) {
		t.Errorf("%+v", s)
	}
}

// A scrub tells a torn segment, whichever copy was read when the ledger was.
func TestScrubFindsATornSegment(t *testing.T) {
	for torn := range 2 {
		r := newRig(t, 3, 2, 1)
		fill(t, r.a, 0)
		r.drives[torn].Truncate(newest(t, r.drives[torn]), 90)
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			if s := scrub(t, r.reopen(order...)); len(s.Damaged) != 1 || s.Damaged[0].Drive != fmt.Sprint("drive-", torn) {
				t.Errorf("torn on drive %d, drives in order %v: %+v", torn, order, s.Damaged)
			}
		}
		repair(t, r.a)
		wantHealthy(t, r.reopen())
	}
}

// The power fails at every write while a drive that was away catches up and one that is new is filled; one more Sync comes, and
// all drives but one die. Each drive alone has a whole ledger.
func TestLedgerAfterAPowerCutWhileCatchingUp(t *testing.T) {
	start := func(seed uint64) *rig {
		r := newRig(t, seed, 3, 2)
		mustPut(t, r.a, packName(0), pack(700, 0))
		mustSync(t, r.a)
		r.reopen(0, 1)
		for i := range 3 {
			mustPut(t, r.a, packName(1+i), pack(700, 1))
			mustSync(t, r.a)
		}
		r.drives = append(r.drives, vdrive.New(seed+9000))
		r.power.Feed(r.drives[3])
		r.reopen(0, 1, 2)
		return r
	}
	catchUp := func(r *rig) error {
		if err := r.a.Put(t.Context(), packName(50), pack(7, 50)); err != nil {
			return err
		}
		if err := r.a.Sync(t.Context()); err != nil {
			return err
		}
		return r.a.Add(t.Context(), r.members(3)[0])
	}
	for nth, cut := 1, true; cut; nth++ {
		for fate := range uint64(6) {
			r := start(uint64(nth) + 1000*fate)
			r.power.Cut(nth)
			cut = catchUp(r) != nil
			r.power.Restore()
			all := []int{0, 1, 2, 3}
			for range nth % 4 { // whose copy is read first
				all = append(all[1:], all[0])
			}
			a := r.reopen(all...)
			mustPut(t, a, packName(51), pack(9, 51))
			mustSync(t, a)
			h, err := a.Health(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range h.Drives {
				if d.State == array.Blank {
					continue
				}
				a := r.reopen(int(d.ID[len(d.ID)-1] - '0'))
				if d.ID != "drive-3" {
					wantBlob(t, a, packName(0), pack(700, 0))
				}
				wantBlob(t, a, packName(51), pack(9, 51))
				if h, err := a.Health(t.Context()); err != nil || h.LedgerIncomplete {
					t.Fatalf("power cut in write %d, fate %d, %s is left: %+v %v", nth, fate, d.ID, h, err)
				}
			}
		}
		if !cut && nth < 10 {
			t.Errorf("only %d writes", nth)
		}
	}
}
