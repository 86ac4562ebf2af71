package mtp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// TestAPhoneThatFallsBackToChargingIsGoneOnWith: in the middle of a slow backup it leaves the bus, comes back locked, and is
// unlocked.
func TestAPhoneThatFallsBackToChargingIsGoneOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Quirks: vmtp.Xiaomi(), Wire: vphone.Wire{Rate: 100_000}}, func(s *vphone.Storage) {
			fillFew(t, s)
			put(t, s, "DCIM/film.mp4", june, pattern(3, 6<<20))
		})
		tree := vphone.NewTree()
		for n := 0; ; n++ {
			report, err := r.driver.Backup(t.Context(), tree, nil)
			if err == nil {
				if !report.Complete() || n == 0 {
					t.Errorf("after falling back %d times: %+v", n, report)
				}
				break
			}
			if !errors.Is(err, usbhost.ErrUnplugged) || n > 5 {
				t.Fatalf("%d times: %v", n, err)
			}
			<-r.driver.Gone()
			r.replug(t)
			if _, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrLocked) {
				t.Errorf("back on the bus: %v", err)
			}
			r.Unlock()
		}
		diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	})
}

func TestFilesWhoseSizeThePhoneDoesNotTell(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"aosp": {}, "camera": vmtp.Camera(), "folders": {PerFolderOnly: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) {
					for _, size := range []int64{0, 1, 500, 512, 1 << 20, 3<<20 + 5, 7 << 20} {
						put(t, s, fmt.Sprint("DCIM/", size), june, pattern(uint64(size), size))
					}
				})
				for _, e := range r.store.Entries() {
					r.SizelessFile(e.Path)
				}
				tree := vphone.NewTree()
				if report := r.backup(t, tree); !report.Complete() || report.Stored != 7 {
					t.Errorf("%+v", report)
				}
				diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
			})
		})
	}
}

func TestAStorageToldTwiceIsThereOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Quirks: vmtp.Quirks{StoragesTwice: true}}, func(s *vphone.Storage) { fillFew(t, s) })
		tree := vphone.NewTree()
		if report := r.backup(t, tree); !report.Complete() {
			t.Errorf("%+v", report)
		}
		diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	})
}

func TestHalvesOfPairsInNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lone, other := "DCIM/\xed\xa0\xbd.jpg", "DCIM/\xed\xb2\xa9\xed\xa0\xbd.jpg"
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
			put(t, s, lone, june, vphone.Text("half of an emoji"))
			put(t, s, other, june, vphone.Text("two halves, the wrong way round"))
		})
		tree := vphone.NewTree()
		if report := r.backup(t, tree); !report.Complete() || tree.Nodes[top+lone] == nil || tree.Nodes[top+other] == nil {
			t.Errorf("%+v: %q", report, tree.Files())
		}
		fresh := plug(t, vmtp.Config{Storages: []*vphone.Storage{storage("Internal shared storage")}}, nil)
		if report := fresh.restore(t, tree); !report.Complete() || string(content(t, fresh.store, lone)) != "half of an emoji" {
			t.Errorf("%+v", report)
		}
	})
}

// TestUnlockingWakes: whoever waits for the phone is told at once when its storage appears.
func TestUnlockingWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Locked: true}, nil)
		if _, err := r.driver.Info(t.Context()); err != nil { // opens the session: without one there are no events
			t.Fatal(err)
		}
		select {
		case <-r.driver.Woken():
			t.Error("woken by nothing")
		default:
		}
		r.Unlock()
		synctest.Wait()
		select {
		case <-r.driver.Woken():
		default:
			t.Error("the phone was unlocked, and nobody told")
		}
	})
}

// TestWhatHappensWhileThePhoneIsListed: before each of the transfers of a listing, in turn, an app makes a file, a folder with
// one, changes a file and removes a folder. The backup is what the phone holds then, with nothing left over.
func TestWhatHappensWhileThePhoneIsListed(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"at once": {}, "folders": {PerFolderOnly: true}, "object by object": {NoBulkList: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fill := func(s *vphone.Storage) {
					fillDeep(t, s)
					put(t, s, "Old/sub/gone.txt", june, vphone.Text("x"))
				}
				transfers, step := listingTransfers(t, q, fill), every
				if q.PerFolderOnly {
					step *= 3 // what comes back is the same at its neighbours
				}
				for n := 0; n < transfers; n += step {
					r := plug(t, vmtp.Config{Quirks: q}, fill)
					r.pipe.at = r.pipe.n + n
					r.pipe.do = func() {
						put(t, r.store, "DCIM/Camera/new.jpg", june, vphone.Text("new"))
						put(t, r.store, "New/deep/er/new.txt", june, vphone.Text("new"))
						put(t, r.store, "a.txt", june.Add(time.Hour), vphone.Text("changed"))
						if err := r.store.Remove("Old"); err != nil {
							t.Error(err)
						}
						synctest.Wait() // for the events
					}
					tree := vphone.NewTree()
					report := r.backup(t, tree)
					if len(report.Problems) > 0 {
						t.Errorf("before transfer %d: %q", n, problems(report))
					}
					diff(t, fmt.Sprintf("before transfer %d", n), tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
				}
			})
		})
	}
}

// listingTransfers is how many bulk transfers a backup makes before it reads the first file.
func listingTransfers(t testing.TB, q vmtp.Quirks, fill func(*vphone.Storage)) (n int) {
	r := plug(t, vmtp.Config{Quirks: q}, fill)
	before := r.pipe.n
	_, err := r.driver.Backup(t.Context(), vphone.NewTree(), func(p usbhost.Progress) {
		if p.Phase == usbhost.Copying && n == 0 {
			n = r.pipe.n - before
		}
	})
	if err != nil || n < 20 {
		t.Fatal(n, err)
	}
	return n
}

// TestADirectoryTakesSixTransactions: one folder cannot be listed, so the phone is not listed at once.
func TestADirectoryTakesSixTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dirs = 50
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
			for i := range 2000 {
				put(t, s, fmt.Sprintf("folder %d/%d.jpg", i%dirs, i), june, vphone.Text(""))
			}
		})
		r.FailingFolder("folder 7")
		report := r.backup(t, vphone.NewTree())
		if len(report.Problems) != 1 || report.Stored != 2000-2000/dirs {
			t.Errorf("%d stored, %q", report.Stored, problems(report))
		}
		// 1 root; besides opening, storages and the attempt to list all at once.
		if n := r.Stats().Transactions; n > 6*(dirs+1)+10 {
			t.Errorf("%d transactions for %d folders: %v", n, dirs, r.Stats().Operations)
		}
	})
}

// TestACamera: a phone without any of MTP, its pictures read, and nothing of it written.
func TestACamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Quirks: vmtp.Camera(), Maker: "Apple Inc.", Model: "Apple iPhone", Storages: []*vphone.Storage{storage("Internal Storage")}}, func(s *vphone.Storage) {
			for i := range 30 {
				put(t, s, fmt.Sprintf("DCIM/10%dAPPLE/IMG_%04d.HEIC", i/10, i), june.Add(time.Duration(i)*time.Hour), pattern(uint64(i), int64(i*200_000/every)))
			}
		})
		tree := vphone.NewTree()
		if report := r.backup(t, tree); !report.Complete() || report.Stored != 30 {
			t.Errorf("%+v", report)
		}
		diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
		if report := r.backup(t, tree); report.Kept != 30 {
			t.Errorf("again: %+v", report)
		}
		if report := r.restore(t, tree); report.Kept != 30 || !report.Complete() {
			t.Errorf("restore of what is there: %+v", report)
		}
		if err := tree.Create("Internal Storage/new.txt", 3, june, strings.NewReader("new")); err != nil {
			t.Fatal(err)
		}
		if report := r.restore(t, tree); report.Stored != 0 || len(report.Problems) != 1 {
			t.Errorf("a camera takes nothing: %+v", report)
		}
	})
}

// TestACardThatComesOrGoesAtAnyTransfer: what lies in the phone itself stays where it is, what lies on the card is never taken for
// something of the phone's, and the next backup holds what is there.
func TestACardThatComesOrGoesAtAnyTransfer(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"told": {}, "not told": {NoEvents: true}, "folder by folder": {NoEvents: true, PerFolderOnly: true}, "object by object": {NoEvents: true, NoBulkList: true}} {
		for _, comes := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", comes: ", comes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					for n, more := 0, true; more; n += every {
						more = cardAt(t, q, comes, n)
					}
				})
			})
		}
	}
}

// cardAt puts a card in, or takes it out, before the nth transfer of a second backup; false if that had fewer.
func cardAt(t *testing.T, q vmtp.Quirks, comes bool, n int) bool {
	t.Helper()
	card, inside := storage("SD card"), storage("Internal shared storage")
	for _, s := range []*vphone.Storage{card, inside} {
		put(t, s, "DCIM/1.jpg", june, vphone.Text(s.Name()))
		put(t, s, "DCIM/Camera/2.jpg", june, vphone.Text("2 "+s.Name()))
	}
	r := plug(t, vmtp.Config{Storages: []*vphone.Storage{inside, card}, Quirks: q}, nil)
	tree, change := vphone.NewTree(), r.Eject
	if comes {
		r.Eject(card)
		change = r.Insert
	}
	r.backup(t, tree)
	put(t, inside, "DCIM/Camera/3.jpg", june, vphone.Text("new"))
	changed := false
	r.pipe.at, r.pipe.do = r.pipe.n+n, func() { change(card); changed = true }
	_, err := r.driver.Backup(t.Context(), tree, nil)
	if !changed {
		return false
	}
	what := fmt.Sprintf("before transfer %d", n)
	if err != nil && !errors.Is(err, usbhost.ErrLocked) && !errors.Is(err, mtp.InvalidStorageID) { // both are tried again
		t.Errorf("%s: %v", what, err)
	}
	of := func(s *vphone.Storage) (files []string) {
		for _, line := range tree.Files() {
			if strings.HasPrefix(line, `"`+s.Name()) {
				files = append(files, line)
			}
		}
		return files
	}
	if err == nil {
		diff(t, what, of(inside), wantTree(t, func(s string) string { return s }, inside))
	} else if !comes && len(of(card)) == 0 {
		t.Errorf("%s: the run failed, and the card's files were removed", what)
	}
	there := []*vphone.Storage{inside}
	if comes {
		there = append(there, card)
	}
	if report := r.backup(t, tree); !report.Complete() {
		t.Errorf("%s, next: %+v", what, report)
	}
	diff(t, what+", next", tree.Files(), wantTree(t, func(s string) string { return s }, there...))
	return true
}
