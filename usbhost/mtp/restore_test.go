package mtp_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

func (r *rig) restore(t testing.TB, from fs.FS) usbhost.Report {
	t.Helper()
	report, err := r.driver.Restore(t.Context(), from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Unaccounted(); n != 0 || report.Removed != 0 {
		t.Errorf("%d files unaccounted for in %+v", n, report)
	}
	return report
}

func storage(name string) *vphone.Storage { return vphone.NewStorage(name, 64*gib, nil) }

func TestANewPhoneGetsEverythingBack(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{
		"aosp": {}, "samsung": vmtp.Samsung(), "old": {NoPartial: true, NoPartial64: true, NoBulkList: true, Strict: true},
		"header alone": {HeaderAlone: true}, "no zlp": {ResponseInsteadZLP: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				old := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
					fillAwkward(t, s)
					for _, size := range []int64{0, 1, 499, 500, 501, 512, 1<<20 - 12, 1 << 20, 3<<20 + 1, 7 << 20} {
						put(t, s, fmt.Sprintf("DCIM/%d", size), june.Add(time.Duration(size)*time.Second), pattern(1, size))
					}
					n = 10 + len(awkward)
				})
				tree := vphone.NewTree()
				old.backup(t, tree)
				fresh := plug(t, vmtp.Config{Quirks: q, Location: time.FixedZone("far away", -9*3600), Storages: []*vphone.Storage{storage("Interner Speicher")}}, nil)
				report := fresh.restore(t, tree)
				if !report.Complete() || report.Stored != n {
					t.Fatalf("report %+v", report)
				}
				files := func(s *vphone.Storage) (lines []string) { // folders' times cannot be sent to a phone that has them
					for _, line := range wantTree(t, func(name string) string { return strings.TrimPrefix(name, s.Name()) }, s) {
						if !strings.Contains(line, "\"/ ") {
							lines = append(lines, line)
						}
					}
					return lines
				}
				diff(t, "new phone", files(fresh.store), files(old.store))
				if fresh.store.Find("Empty folder/in another") == nil {
					t.Error("the empty folder is missing")
				}
				if again := fresh.restore(t, tree); again.Stored != 0 && name != "old" || !again.Complete() && name != "old" {
					t.Errorf("second restore: %+v", again)
				}
			})
		})
	}
}

func TestRestoreNeverOverwrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vphone.NewTree()
		for _, name := range []string{"Internal shared storage/DCIM/a.jpg", "Internal shared storage/DCIM/b.jpg", "SD card/c", "SD card/d/e", "loose"} {
			if err := tree.Create(name, 6, june, strings.NewReader("backup")); err != nil {
				t.Fatal(err)
			}
		}
		card := storage("SD card")
		r := plug(t, vmtp.Config{Storages: []*vphone.Storage{storage("Internal shared storage"), card}}, func(s *vphone.Storage) {
			put(t, s, "DCIM/a.jpg", june, vphone.Text("phone's own"))
			put(t, s, "DCIM/b.jpg", june, vphone.Text("backup"))
			put(t, s, "untouched", june, vphone.Text("untouched"))
		})
		put(t, card, "d", june, vphone.Text("a file where a folder should be"))
		report := r.restore(t, tree)
		if report.Stored != 3 || report.Kept != 1 || len(report.Problems) != 3 {
			t.Errorf("report %+v", report)
		}
		for path, want := range map[string]string{
			"DCIM/a.jpg": "phone's own", "DCIM/a (from backup).jpg": "backup", "DCIM/b.jpg": "backup", "untouched": "untouched", "loose": "backup",
		} {
			if got := content(t, r.store, path); string(got) != want {
				t.Errorf("%s holds %q", path, got)
			}
		}
		if got := content(t, card, "c"); string(got) != "backup" {
			t.Errorf("card: %q", got)
		}
		if again := r.restore(t, tree); again.Stored != 0 || again.Kept != 4 {
			t.Errorf("second restore: %+v", again)
		}
	})
}

func TestRestoreChecksRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vphone.NewTree()
		if err := tree.Create("a", 3000, june, strings.NewReader(strings.Repeat("x", 3000))); err != nil {
			t.Fatal(err)
		}
		r := plug(t, vmtp.Config{Storages: []*vphone.Storage{vphone.NewStorage("S", 2000, nil)}}, nil)
		_, err := r.driver.Restore(t.Context(), tree, nil)
		if !errors.Is(err, usbhost.ErrNoSpace) || !strings.Contains(err.Error(), "3000") || !strings.Contains(err.Error(), "2000") {
			t.Errorf("error %v", err)
		}
		if len(r.store.Entries()) != 0 {
			t.Errorf("sent all the same: %v", r.store.Entries())
		}
	})
}

// shortFile is a snapshot's file that ends early.
type shortFS struct {
	*vphone.Tree
	name string
}

func (s shortFS) Open(name string) (fs.File, error) {
	f, err := s.Tree.Open(name)
	if name == s.name {
		return shortFile{f, io.LimitReader(f, 2<<20)}, err
	}
	return f, err
}

type shortFile struct {
	fs.File
	r io.Reader
}

func (f shortFile) Read(p []byte) (int, error) { return f.r.Read(p) }

func TestRestoreReportsWhatTheSnapshotOrThePhoneRefuses(t *testing.T) {
	tree := vphone.NewTree()
	long := strings.Repeat("x", 300)
	for name, size := range map[string]int{"S/short": 5 << 20, "S/good": 3, "S/latin\xff": 3, "S/" + long: 3} {
		if err := tree.Create(name, int64(size), june, strings.NewReader(strings.Repeat("z", size))); err != nil {
			t.Fatal(err)
		}
	}
	for name, q := range map[string]vmtp.Quirks{"aosp": {}, "wedge": {Wedge: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: q, Storages: []*vphone.Storage{storage("S")}}, nil)
				report := r.restore(t, shortFS{tree, "S/short"})
				if report.Stored != 1 || len(report.Problems) != 3 {
					t.Errorf("report %+v", report)
				}
				if all := r.store.Entries(); len(all) != 1 || all[0].Path != "good" {
					t.Errorf("on the phone: %v", all)
				}
			})
		})
	}
	r := plug(t, vmtp.Config{Storages: []*vphone.Storage{storage("S")}}, nil)
	r.store.SetReadOnly(true)
	if report := r.restore(t, tree); report.Stored != 0 || len(report.Problems) != 4 {
		t.Errorf("read-only: %+v", report)
	}
}

func TestRestoreOfAFileOfUnknownTimeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vphone.NewTree()
		if err := tree.Create("S/f", 5, time.Time{}, strings.NewReader("hello")); err != nil {
			t.Fatal(err)
		}
		r := plug(t, vmtp.Config{Storages: []*vphone.Storage{storage("S")}}, nil)
		if report := r.restore(t, tree); report.Stored != 1 || !report.Complete() {
			t.Errorf("first: %+v", report)
		}
		if report := r.restore(t, tree); report.Kept != 1 || !report.Complete() {
			t.Errorf("second: %+v", report)
		}
		put(t, r.store, "f", june, vphone.Text("other"))
		if report := r.restore(t, tree); report.Stored != 1 || len(report.Problems) != 1 {
			t.Errorf("third: %+v", report)
		}
	})
}

func TestRestoreUnpluggedMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vphone.NewTree()
		if err := tree.Create("S/f", 5<<20, june, strings.NewReader(strings.Repeat("x", 5<<20))); err != nil {
			t.Fatal(err)
		}
		r := plug(t, vmtp.Config{Storages: []*vphone.Storage{storage("S")}}, nil)
		r.Phone.UnplugAfter(100_000)
		if report, err := r.driver.Restore(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrUnplugged) || report.Stored != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		<-r.driver.Gone()
		r.replug(t)
		report := r.restore(t, tree)
		if report.Stored+report.Kept != 1 {
			t.Errorf("after replugging: %+v", report)
		}
	})
}

func TestFoldersOfAnOldPhoneFindTheirStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vphone.NewTree()
		for _, name := range []string{"Phone/DCIM/a", "Phone/b", "Camera Uploads/c"} {
			if err := tree.Create(name, 1, june, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		r := plug(t, vmtp.Config{Storages: []*vphone.Storage{storage("Internal shared storage")}}, nil)
		r.restore(t, tree)
		for _, path := range []string{"DCIM/a", "b", "Camera Uploads/c"} {
			content(t, r.store, path)
		}
	})
}
