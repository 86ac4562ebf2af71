package mtp_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// fillDeep fills a phone with 14 files in folders that lie in one another.
func fillDeep(t testing.TB, s *vphone.Storage) {
	for i, path := range []string{"a.txt", "DCIM/1.jpg", "DCIM/2.jpg", "DCIM/Camera/3.jpg", "DCIM/Camera/4.jpg", "DCIM/Camera/5.jpg", "DCIM/Camera/6.jpg",
		"DCIM/Camera/Old/7.jpg", "DCIM/Camera/Old/8.jpg", "Music/9.mp3", "Music/Album/10.mp3", "Music/Album/11.mp3", "z/12", "z/13"} {
		put(t, s, path, june.Add(time.Duration(i)*time.Minute), vphone.Text(path))
	}
}

// cutListing pulls the cable before the nth transfer of a listing, changes something, plugs the phone in again and backs it up.
// It returns what the second run asked, and false if the listing was through before the nth transfer.
func cutListing(t *testing.T, q vmtp.Quirks, n int, first bool, change func(r *rig)) (map[uint16]int, bool) {
	t.Helper()
	r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) { fillDeep(t, s) })
	r.opts.Listings = new(mtp.Listings)
	tree := vphone.NewTree()
	if !first {
		r.backup(t, tree)
	}
	r.replug(t)
	r.pipe.at = r.pipe.n + n
	through := false
	_, err := r.driver.Backup(t.Context(), tree, func(p usbhost.Progress) { through = through || p.Phase == usbhost.Copying })
	if through || err == nil {
		return nil, false
	}
	if !errors.Is(err, usbhost.ErrUnplugged) {
		t.Fatalf("unplugged before transfer %d: %v", n, err)
	}
	change(r)
	r.replug(t)
	r.ResetStats()
	if report := r.backup(t, tree); !report.Complete() {
		t.Errorf("unplugged before transfer %d: %+v", n, report)
	}
	ops := r.Stats().Operations
	diff(t, fmt.Sprintf("unplugged before transfer %d", n), tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	return ops, true
}

// TestAListingThatWasCutShortIsGoneOnWith: the cable comes out before each transfer of a small phone's listing.
func TestAListingThatWasCutShortIsGoneOnWith(t *testing.T) {
	for name, row := range map[string]struct {
		quirks vmtp.Quirks
		first  bool // nothing is in the tree yet
		most   int  // objects asked for when all but the last is known: folders, the root's file, two of the last folder; files read
	}{
		"object by object":                   {vmtp.Quirks{NoBulkList: true}, false, 6 + 1 + 2},
		"object by object, the first backup": {vmtp.Quirks{NoBulkList: true}, true, 6 + 1 + 14},
		"in another order":                   {vmtp.Quirks{NoBulkList: true, Shuffles: true}, false, 0},
		"in another order, the first backup": {vmtp.Quirks{NoBulkList: true, Shuffles: true}, true, 0},
		"folder by folder":                   {vmtp.Quirks{PerFolderOnly: true}, false, 0},
		"folder by folder, the first backup": {vmtp.Quirks{PerFolderOnly: true}, true, 0},
		"at once":                            {vmtp.Quirks{}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				last, n := map[uint16]int{}, 0
				for ; ; n += every {
					ops, more := cutListing(t, row.quirks, n, row.first, func(*rig) {})
					if !more {
						break
					}
					last = ops
				}
				t.Logf("%d transfers; when the last of them fails: %v", n, last)
				if got := last[vmtp.OpGetObjectInfo]; row.most > 0 && got > row.most && every == 1 {
					t.Errorf("%d objects were asked for of 20, want at most %d", got, row.most)
				}
				if row.quirks.PerFolderOnly && last[vmtp.OpGetObjectPropList] > 6*4 {
					t.Errorf("%d lists of folders were asked for of 36", last[vmtp.OpGetObjectPropList])
				}
			})
		})
	}
}

// changed lets an app put and remove files; a folder's date changes with what is in it.
func changed(t *testing.T, r *rig, folder string, put, remove []string) {
	t.Helper()
	for _, name := range put {
		if err := r.store.Put(folder+name, june, vphone.Text("new "+name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range remove {
		if err := r.store.Remove(folder + name); err != nil {
			t.Fatal(err)
		}
	}
	if folder != "" {
		if err := r.store.Mkdir(folder[:len(folder)-1], june.Add(24*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPhoneThatChangesAfterItsListingWasCutShort: nothing is missed, and nothing that is there is taken for deleted.
func TestAPhoneThatChangesAfterItsListingWasCutShort(t *testing.T) {
	for name, change := range map[string]struct {
		folder      string
		put, remove []string
	}{
		"a file more":            {"DCIM/Camera/", []string{"new.jpg"}, nil},
		"a file less":            {"DCIM/", nil, []string{"1.jpg"}},
		"a folder less":          {"DCIM/Camera/", nil, []string{"Old"}},
		"a folder more":          {"Music/", []string{"New/14.mp3"}, nil},
		"one for one":            {"DCIM/", []string{"x.jpg"}, []string{"1.jpg"}},
		"one for one, the last":  {"z/", []string{"14"}, []string{"12"}},
		"one for one, the first": {"z/", []string{"11"}, []string{"13"}},
		"in the root":            {"", []string{"b.txt"}, []string{"a.txt"}},
		"a file for a folder":    {"DCIM/Camera/", []string{"x.jpg"}, []string{"Old"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i, q := range []vmtp.Quirks{{NoBulkList: true}, {NoBulkList: true, Shuffles: true}, {PerFolderOnly: true}} {
					for n, more := 8+i, true; more; n += 3 * every {
						_, more = cutListing(t, q, n, n%2 == 0, func(r *rig) { changed(t, r, change.folder, change.put, change.remove) })
					}
				}
			})
		})
	}
}

// TestAFileThatChangesAfterItsListingWasCutShort: its folder is taken over, and it is read as it is now.
func TestAFileThatChangesAfterItsListingWasCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, q := range []vmtp.Quirks{{NoBulkList: true}, {NoBulkList: true, Shuffles: true}} {
			for n, more := 50, true; more; n += 5 * every {
				_, more = cutListing(t, q, n, true, func(r *rig) {
					put(t, r.store, "DCIM/Camera/4.jpg", june.Add(100*time.Hour), pattern(4, 5000))
					put(t, r.store, "DCIM/2.jpg", june.Add(100*time.Hour), pattern(4, 3))
				})
			}
		}
	})
}

// TestAHundredThousandObjectsInOneFolder are listed in every way; object by object, a listing whose cable comes out after two
// thirds goes on from there.
func TestAHundredThousandObjectsInOneFolder(t *testing.T) {
	if raceDetector {
		t.Skip("takes minutes under the race detector, and smaller folders take the same paths")
	}
	const files = 100_000
	for name, row := range map[string]struct {
		quirks   vmtp.Quirks
		cut      int // before this transfer; 0: never
		at       uint16
		requests int // of the last run
	}{
		"at once":          {vmtp.Quirks{}, 0, vmtp.OpGetObjectPropList, 6},
		"folder by folder": {vmtp.Quirks{PerFolderOnly: true}, 0, vmtp.OpGetObjectPropList, 1 + 6 + 6},
		"object by object": {vmtp.Quirks{NoBulkList: true}, 200_000, vmtp.OpGetObjectInfo, files / 3 * 101 / 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: row.quirks, Wire: highSpeed}, func(s *vphone.Storage) {
					for i := range files {
						put(t, s, fmt.Sprintf("DCIM/%06d.jpg", i), june, vphone.Text(""))
					}
				})
				r.opts.Listings = new(mtp.Listings)
				r.replug(t)
				tree := resuming{vphone.NewTree()} // holds all of them already
				if row.cut > 0 {
					r.pipe.at = r.pipe.n + row.cut
					if _, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrUnplugged) {
						t.Fatal(err)
					}
					r.replug(t)
				}
				r.ResetStats()
				began := time.Now()
				if report, err := r.driver.Backup(t.Context(), tree, nil); err != nil || !report.Complete() || report.Kept != files {
					t.Errorf("%d kept, %d problems, %v", report.Kept, len(report.Problems), err)
				}
				if got := r.Stats().Operations[row.at]; got > row.requests {
					t.Errorf("%d requests, want at most %d", got, row.requests)
				}
				t.Logf("%v on the wire, %v", time.Since(began), r.Stats().Operations)
			})
		})
	}
}
