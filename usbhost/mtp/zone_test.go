package mtp_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

func at(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// fillYear puts a file of every month on the phone.
func fillYear(t testing.TB, s *vphone.Storage) {
	for month := time.January; month <= time.December; month++ {
		put(t, s, fmt.Sprintf("DCIM/%02d.jpg", month), time.Date(1999, month, 15, 12, 0, 0, 0, time.UTC), vphone.Text(month.String()))
	}
	put(t, s, "midnight", time.Date(1999, time.July, 1, 23, 59, 59, 0, time.UTC), vphone.Text("x"))
}

// TestLocalTimesBecomeRightInstants: the phone and the box live in different zones.
func TestLocalTimesBecomeRightInstants(t *testing.T) {
	for _, row := range []struct {
		name, phone, box string
		quirks           vmtp.Quirks
		probe, wrong     bool
	}{
		{"both in one zone", "Europe/Berlin", "Europe/Berlin", vmtp.Quirks{}, false, false},
		{"elsewhere, and nothing tells", "Asia/Tokyo", "Europe/Berlin", vmtp.Quirks{}, false, true},
		{"a clock with an offset", "Asia/Kolkata", "Europe/Berlin", vmtp.Quirks{Clock: true}, false, false},
		{"a clock that fits the box", "Europe/Berlin", "Europe/Berlin", vmtp.Quirks{Clock: true}, false, false},
		{"a probe, no summer time", "Asia/Kathmandu", "Europe/Berlin", vmtp.Quirks{}, true, false},
		{"a probe, summer in the north", "America/New_York", "UTC", vmtp.Quirks{}, true, false},
		{"a probe, summer in the south", "Australia/Sydney", "Europe/Berlin", vmtp.Quirks{}, true, false},
		{"a probe, half an hour of summer", "Australia/Lord_Howe", "Europe/Berlin", vmtp.Quirks{}, true, false},
		{"a probe on a camera", "America/New_York", "UTC", vmtp.Camera(), true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: row.quirks, Location: at(t, row.phone)}, func(s *vphone.Storage) { fillYear(t, s) })
				before := len(r.store.Entries())
				r.opts = mtp.Options{Location: at(t, row.box), Probe: row.probe}
				r.replug(t)
				tree := vphone.NewTree()
				if report := r.backup(t, tree); !report.Complete() || report.Stored != 13 {
					t.Errorf("%+v", report)
				}
				wrong := 0
				for _, e := range r.store.Entries() {
					if node := tree.Nodes[top+e.Path]; !e.Folder && !node.ModTime.Equal(e.ModTime) {
						wrong++
					}
				}
				if (wrong > 0) != row.wrong {
					t.Errorf("%d of 13 times are wrong", wrong)
				}
				if n := len(r.store.Entries()); n != before {
					t.Errorf("%d objects are on the phone where %d were", n, before)
				}
			})
		})
	}
}

// TestAProbeWritesNothingWhereItMayNot: not on a locked phone, not where the storage is read-only, not without being allowed.
func TestAProbeWritesNothingWhereItMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, probe := range []bool{false, true} {
			r := plug(t, vmtp.Config{Locked: true}, func(s *vphone.Storage) { fillYear(t, s) })
			r.opts.Probe = probe
			r.replug(t)
			if _, err := r.driver.Backup(t.Context(), vphone.NewTree(), nil); err == nil {
				t.Error("a locked phone was backed up")
			}
			r.store.SetReadOnly(probe)
			r.Unlock()
			if report := r.backup(t, vphone.NewTree()); !report.Complete() {
				t.Errorf("%+v", report)
			}
			if n := r.Stats().Operations[vmtp.OpSendObjectInfo]; n != 0 {
				t.Errorf("%d objects were sent", n)
			}
		}
	})
}

const probe = "phonebackupbox-clock.tmp"

// TestAProbeIsNeverLeftBehind: the cable comes out before the nth transfer, for every n; after the next run nothing of the
// probe is on the phone or in the tree, and the times are right.
func TestAProbeIsNeverLeftBehind(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"replaces": {}, "refuses": {NoReplace: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := 0
				for n := 0; cutProbe(t, q, n, &left); n++ {
				}
				if left == 0 {
					t.Error("the cable never left anything behind")
				}
			})
		})
	}
}

// cutProbe pulls the cable before the nth transfer of a backup and backs up once more; false if there is no nth transfer.
func cutProbe(t *testing.T, q vmtp.Quirks, n int, left *int) bool {
	r := plug(t, vmtp.Config{Quirks: q, Location: at(t, "Asia/Tokyo")}, func(s *vphone.Storage) { put(t, s, "DCIM/1.jpg", june, vphone.Text("x")) })
	r.opts = mtp.Options{Location: at(t, "Europe/Berlin"), Probe: true}
	r.replug(t)
	r.pipe.at = r.pipe.n + n
	tree := vphone.NewTree()
	if _, err := r.driver.Backup(t.Context(), tree, nil); err == nil {
		return false
	}
	if len(r.store.Entries()) > 2 {
		*left++
	}
	r.replug(t)
	if report := r.backup(t, tree); !report.Complete() {
		t.Errorf("unplugged before transfer %d: %+v", n, report)
	}
	if have := len(r.store.Entries()); have != 2 {
		t.Errorf("unplugged before transfer %d: %d objects are on the phone, want 2", n, have)
	}
	diff(t, fmt.Sprintf("unplugged before transfer %d", n), tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	return true
}

// TestOnlyWhatIsOursIsRemoved: files that are called as the probe is, and hold something else, stay and are backed up.
func TestOnlyWhatIsOursIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Quirks: vmtp.Quirks{Clock: true}}, func(s *vphone.Storage) {
			put(t, s, "DCIM/"+probe, june, vphone.Text("phonebackupbox looks"))
			put(t, s, probe, june, vphone.Text("somebody's notes"))
		})
		r.opts.Probe = true
		for _, want := range []int{2, 1} {
			r.replug(t)
			tree := vphone.NewTree()
			if report := r.backup(t, tree); report.Stored != want || !report.Complete() {
				t.Errorf("%+v, want %d files", report, want)
			}
			diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
			put(t, r.store, probe, june, vphone.Text("phonebackupbox looks"))
		}
	})
}

// TestATravellingPhoneIsNotReadAnew: it flies to Tokyo, where there is no summer time, takes a picture, and flies home. What
// changed is read, and nothing else; the picture's time fits the others'.
func TestATravellingPhoneIsNotReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Location: at(t, "Europe/Berlin")}, func(s *vphone.Storage) { fillYear(t, s) })
		r.opts.Location = at(t, "Europe/Berlin")
		r.replug(t)
		tree := vphone.NewTree()
		r.backup(t, tree)
		r.Travel(at(t, "Asia/Tokyo"))
		r.replug(t)
		put(t, r.store, "DCIM/tokyo.jpg", time.Date(1999, 12, 24, 5, 0, 0, 0, time.UTC), vphone.Text("temple"))
		put(t, r.store, "DCIM/tokyo.mp4", time.Date(1999, 12, 24, 6, 0, 0, 0, time.UTC), pattern(1, 5<<20))
		put(t, r.store, "midnight", time.Date(1999, 12, 24, 5, 7, 0, 0, time.UTC), vphone.Text("y"))
		if report := r.backup(t, tree); report.Stored != 3 || report.Kept != 12 || !report.Complete() {
			t.Errorf("in Tokyo: %+v", report)
		}
		diff(t, "in Tokyo", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
		for _, zone := range []string{"Asia/Tokyo", "Europe/Berlin"} {
			r.Travel(at(t, zone))
			r.replug(t)
			if report := r.backup(t, tree); report.Stored != 0 || !report.Complete() {
				t.Errorf("then in %s: %+v", zone, report)
			}
		}
		diff(t, "at home", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	})
}

// TestTimesAreSetRightOnceTheZoneIsKnown: earlier runs took the phone's times for the box's; nothing is read again.
func TestTimesAreSetRightOnceTheZoneIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Location: at(t, "America/New_York")}, func(s *vphone.Storage) { fillYear(t, s) })
		r.opts.Location = at(t, "UTC")
		r.replug(t)
		tree := &numbered{Tree: vphone.NewTree()}
		r.next(t, tree)
		r.opts.Probe, r.opts.Sampling = true, mtp.Sampling{Every: -1}
		r.replug(t)
		if report := r.next(t, tree); report.Stored != 0 || report.Kept != 13 || !report.Complete() {
			t.Errorf("%+v", report)
		}
		diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	})
}

// TestFilesThatChangedAreNoJourney: most files got another date by the same whole number of hours, the others none.
func TestFilesThatChangedAreNoJourney(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillYear(t, s) })
		tree := vphone.NewTree()
		r.backup(t, tree)
		for month := time.January; month <= time.August; month++ {
			put(t, r.store, fmt.Sprintf("DCIM/%02d.jpg", month), time.Date(1999, month, 15, 15, 0, 0, 0, time.UTC), vphone.Text(month.String()))
		}
		if report := r.backup(t, tree); report.Stored != 8 || report.Kept != 5 {
			t.Errorf("%+v", report)
		}
		diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	})
}
