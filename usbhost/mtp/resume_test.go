package mtp_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// cuts is how many random places the cable is pulled at in TestUnpluggedAtAnyByte; make soak takes thousands.
var cuts = flag.Int("cuts", 200, "random bytes to pull the cable at")

// oneWindow is the most that may be read again of a file after the cable came out in the middle of it: the transfer that was
// cut, what is compared, and no more.
const oneWindow = 2<<20 + 8<<10

const film = 20_000_003

// cutIn backs a phone up whose cable comes out when off bytes of film.mp4 have crossed it.
func cutIn(t testing.TB, r *rig, tree usbhost.Tree, off int64) usbhost.Report {
	t.Helper()
	r.UnplugIn("DCIM/film.mp4", off)
	report, err := r.driver.Backup(t.Context(), tree, nil)
	if !errors.Is(err, usbhost.ErrUnplugged) {
		t.Fatalf("unplugged at %d: %v", off, err)
	}
	<-r.driver.Gone()
	r.replug(t)
	return report
}

// TestAFileIsGoneOnWithAfterTheCableCameOut pulls it at several bytes of a large file, twice each.
func TestAFileIsGoneOnWithAfterTheCableCameOut(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"aosp": {}, "32 bits": {NoPartial64: true}, "samsung": vmtp.Samsung(), "at once": {NoPartial: true, NoPartial64: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i, off := range []int64{3<<20 + 77, 1, 500, 1 << 20, 10_000_000, film - 1} {
					if i%every != 0 {
						continue
					}
					r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) {
						put(t, s, "DCIM/film.mp4", june, pattern(3, film))
						put(t, s, "DCIM/a.jpg", june, vphone.Text("a"))
					})
					tree := vphone.NewTree()
					cutIn(t, r, tree, off)
					cutIn(t, r, tree, min(off+4_000_000, film-1))
					report := r.backup(t, tree)
					if !report.Complete() {
						t.Errorf("cut at %d: %+v", off, report)
					}
					diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
					again := r.Stats().Files["DCIM/film.mp4"].Again
					if most := int64(2 * oneWindow); name != "at once" && again > most {
						t.Errorf("cut at %d and once more: %d bytes were read again", off, again)
					}
					if len(tree.Parts) != 0 {
						t.Errorf("%d beginnings are left", len(tree.Parts))
					}
				}
			})
		})
	}
}

// changedAt is content that differs from another's in one byte.
type changedAt struct {
	vphone.Content
	at int64
}

func (c changedAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Content.ReadAt(p, off)
	if c.at >= off && c.at < off+int64(n) {
		p[c.at-off] ^= 1
	}
	return n, err
}

// TestNoFileIsStitchedFromTwoVersions: between the two runs the file changes, though its size and date stay, as they do when
// an app writes into it without a word to the file system.
func TestNoFileIsStitchedFromTwoVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, at := range []int64{24, 3999, 9_000_000, 9_437_183} {
			if i%every != 0 {
				continue
			}
			r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { put(t, s, "DCIM/film.mp4", june, pattern(3, film)) })
			tree := vphone.NewTree()
			cutIn(t, r, tree, 9_437_184+12)
			put(t, r.store, "DCIM/film.mp4", june, changedAt{pattern(3, film), at})
			if report := r.backup(t, tree); !report.Complete() {
				t.Errorf("%+v", report)
			}
			diff(t, fmt.Sprintf("changed at %d", at), tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
		}
		for name, change := range map[string]func(r *rig){
			"date": func(r *rig) {
				put(t, r.store, "DCIM/film.mp4", june.Add(2*time.Second), changedAt{pattern(3, film), 5_000_000})
			},
			"size": func(r *rig) { put(t, r.store, "DCIM/film.mp4", june, changedAt{pattern(3, film+1), 5_000_000}) },
		} {
			r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { put(t, s, "DCIM/film.mp4", june, pattern(3, film)) })
			tree := vphone.NewTree()
			cutIn(t, r, tree, 10_000_000)
			change(r)
			r.backup(t, tree)
			diff(t, "another "+name, tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
		}
	})
}

// fillSmall fills a phone whose every transfer can be tried: 8 files, one of them read by windows and one looked at afterwards.
func fillSmall(t testing.TB, s *vphone.Storage) {
	for i, path := range []string{"DCIM/Camera/1.jpg", "DCIM/Camera/2.jpg", "DCIM/empty", "Download/4.pdf", "5.txt"} {
		put(t, s, path, june.Add(time.Duration(i)*time.Minute), pattern(uint64(i), int64(700*i)))
	}
	put(t, s, "DCIM/Camera/film.mp4", june, pattern(9, 6<<20+5))
	put(t, s, "DCIM/Camera/clip.mp4", june, pattern(8, 3<<19))
	put(t, s, "DCIM/Camera/photo.jpg", june, pattern(7, 4<<20+77))
}

// TestUnpluggedAtEveryTransfer pulls the cable before the nth bulk transfer of a backup, for every n, and then lets the next
// run complete.
func TestUnpluggedAtEveryTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := 0; ; n += every {
			r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillSmall(t, s) })
			r.pipe.at = r.pipe.n + n
			tree := vphone.NewTree()
			report, err := r.driver.Backup(t.Context(), tree, nil)
			if err == nil {
				if !report.Complete() || n < 40 {
					t.Fatalf("%d transfers were tried; %+v", n, report)
				}
				t.Logf("%d transfers", n)
				return
			}
			afterUnplug(t, r, tree, report, err, fmt.Sprintf("before transfer %d", n))
		}
	})
}

// afterUnplug checks what a run left whose cable came out, and that the next one completes without reading much again.
func afterUnplug(t testing.TB, r *rig, tree *vphone.Tree, report usbhost.Report, err error, when string) {
	t.Helper()
	if !errors.Is(err, usbhost.ErrUnplugged) {
		t.Fatalf("unplugged %s: %v", when, err)
	}
	<-r.driver.Gone()
	for path, node := range tree.Nodes {
		if !node.Dir && node.Sum != sumOf(t, r.store, path[len(top):]) {
			t.Errorf("unplugged %s: %q is not what the phone holds", when, path)
		}
	}
	stored := report.Stored
	r.replug(t)
	if report := r.backup(t, tree); !report.Complete() || report.Kept != stored {
		t.Errorf("unplugged %s, %d stored; then %+v", when, stored, report)
	}
	diff(t, "unplugged "+when, tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
	if again := r.Stats().SentAgain(); again > oneWindow {
		t.Errorf("unplugged %s: %d bytes were read again", when, again)
	}
}

// TestUnpluggedAtAnyByte pulls the cable at the first bytes, at the last one and at random ones of a larger phone. The phones of a
// batch are in memory until it ends.
func TestUnpluggedAtAnyByte(t *testing.T) {
	n := *cuts / every
	fill := func(s *vphone.Storage) {
		fillSmall(t, s)
		put(t, s, "DCIM/long.mp4", june, pattern(3, 6<<20+3))
	}
	var total int64
	t.Run("all of it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := plug(t, vmtp.Config{}, fill)
			before, _ := r.Attachment().Moved()
			r.backup(t, vphone.NewTree())
			total, _ = r.Attachment().Moved()
			total -= before
		})
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	edges := []int64{0, 1, 11, 12, 13, 511, 512, 513, total - 1}
	const batch = 20
	for done := 0; done < n; done += batch {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i := range min(batch, n-done) {
					n := rnd.Int64N(total)
					if done+i < len(edges) {
						n = edges[done+i]
					}
					r := plug(t, vmtp.Config{}, fill)
					r.Phone.UnplugAfter(n)
					tree := vphone.NewTree()
					report, err := r.driver.Backup(t.Context(), tree, nil)
					afterUnplug(t, r, tree, report, err, fmt.Sprintf("after %d bytes", n))
				}
			})
		})
	}
}
