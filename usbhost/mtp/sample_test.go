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

// numbered is a tree that counts its runs.
type numbered struct {
	*vphone.Tree
	run uint64
}

func (n *numbered) Run() uint64 { return n.run }

// Retime implements usbhost.Retimer.
func (n *numbered) Retime(name string, mtime time.Time) error {
	n.Nodes[name].ModTime = mtime
	return nil
}

// next makes one more run into the tree.
func (r *rig) next(t testing.TB, tree *numbered) usbhost.Report {
	t.Helper()
	report, err := r.driver.Backup(t.Context(), tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Unaccounted(); n != 0 {
		t.Errorf("%d files unaccounted for in %+v", n, report)
	}
	tree.run++
	return report
}

// TestUnchangedFilesAreReadAnewInTurn: each once in so many runs, and never more bytes in one than are allowed.
func TestUnchangedFilesAreReadAnewInTurn(t *testing.T) {
	const files, size = 150, 1000
	for name, row := range map[string]struct {
		sampling mtp.Sampling
		runs     int
		most     int64
	}{
		"every eighth":     {mtp.Sampling{Every: 8}, 8, files * size},
		"few bytes":        {mtp.Sampling{Every: 8, Bytes: 5 * size}, 96, 5 * size},
		"usual":            {mtp.Sampling{}, 64, files * size},
		"a file a run":     {mtp.Sampling{Every: 8, Bytes: 1}, 0, size},
		"none":             {mtp.Sampling{Every: -1}, 0, 0},
		"all in every run": {mtp.Sampling{Every: 1}, 1, files * size},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
					for i := range files {
						put(t, s, fmt.Sprintf("DCIM/%d.jpg", i), june, pattern(uint64(i), size))
					}
				})
				r.opts.Sampling = row.sampling
				r.replug(t)
				tree := &numbered{Tree: vphone.NewTree()}
				if report := r.next(t, tree); report.Stored != files {
					t.Fatalf("%+v", report)
				}
				r.ResetStats()
				for range max(row.runs, 10) {
					before := r.Stats().Sent()
					if report := r.next(t, tree); report.Kept != files || !report.Complete() {
						t.Fatalf("%+v", report)
					}
					if n := r.Stats().Sent() - before; n > row.most {
						t.Errorf("%d bytes in one run", n)
					}
				}
				if n := len(r.Stats().Files); row.runs > 0 && n != files {
					t.Errorf("%d of %d files were read", n, files)
				}
			})
		})
	}
}

func TestASilentChangeIsFound(t *testing.T) {
	for _, size := range []int64{2000, 5 << 20} {
		synctest.Test(t, func(t *testing.T) {
			r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
				fillFew(t, s)
				put(t, s, "DCIM/rots.jpg", june, pattern(1, size))
			})
			r.opts.Sampling = mtp.Sampling{Every: 4}
			r.replug(t)
			tree := &numbered{Tree: vphone.NewTree()}
			r.next(t, tree)
			put(t, r.store, "DCIM/rots.jpg", june, changedAt{pattern(1, size), size / 2})
			found := 0
			for range 4 {
				report := r.next(t, tree)
				if len(report.Problems) == 0 {
					continue
				}
				found++
				if report.Stored != 1 || len(report.Problems) != 1 || !strings.HasPrefix(problems(report)[0], "DCIM/rots.jpg: its content changed") || report.Complete() {
					t.Errorf("%+v", report)
				}
			}
			if found != 1 {
				t.Errorf("it was found %d times in a round", found)
			}
			diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
		})
	}
}

// TestWhatCannotBeReadAnewIsKept: the copy is as good as it was, whatever became of the original, and a cable that comes out
// in the middle of a sample changes nothing.
func TestWhatCannotBeReadAnewIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillFew(t, s) })
		r.opts.Sampling = mtp.Sampling{Every: 1}
		r.replug(t)
		tree := &numbered{Tree: vphone.NewTree()}
		r.next(t, tree)
		before := tree.Files()
		r.FailingAt("DCIM/Camera/large.mp4", 1<<20)
		r.FailingObject("5.txt")
		if report := r.next(t, tree); report.Kept != few || !report.Complete() {
			t.Errorf("%+v", report)
		}
		r.Heal("DCIM/Camera/large.mp4")
		r.UnplugIn("DCIM/Camera/large.mp4", 2<<20)
		if report, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrUnplugged) || report.Kept != few || report.Unaccounted() != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		diff(t, "tree", tree.Files(), before)
	})
}
