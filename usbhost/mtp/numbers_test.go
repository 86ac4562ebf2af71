package mtp_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// The wires of the figures in docs/BENCHMARKS.md: what USB 2.0 and USB 3 give, with what a transfer costs on a small board.
var (
	highSpeed  = vphone.Wire{Rate: 40_000_000, Latency: 250 * time.Microsecond}
	superSpeed = vphone.Wire{Rate: 300_000_000, Latency: 100 * time.Microsecond, MaxPacket: 1024}
)

// TestThroughputBesideTheRawPipe compares a backup with the same bytes taken by one GetObject and nothing but transfers of
// 1 MiB, in the time of the wire. The phone thinks for 1 ms before it sends.
func TestThroughputBesideTheRawPipe(t *testing.T) {
	for _, row := range []struct {
		name        string
		wire        vphone.Wire
		count, size int64
		least       float64
	}{
		{"a film over USB 2", highSpeed, 1, 100_000_000, 0.98},
		{"photos over USB 2", highSpeed, 25, 4_000_000, 0.98},
		{"thumbnails over USB 2", highSpeed, 500, 20_000, 0.20},
		{"a film over USB 3", superSpeed, 1, 100_000_000, 0.94},
		{"photos over USB 3", superSpeed, 25, 4_000_000, 0.92},
	} {
		t.Run(row.name, func(t *testing.T) {
			if raceDetector && row.size > 20_000 {
				t.Skip("the thumbnails take the same paths, and the time that is measured is the wire's")
			}
			synctest.Test(t, func(t *testing.T) {
				q := vmtp.Quirks{FirstByte: time.Millisecond}
				r := plug(t, vmtp.Config{Wire: row.wire, Quirks: q}, func(s *vphone.Storage) {
					for i := range row.count {
						put(t, s, fmt.Sprintf("DCIM/%d", i), june, pattern(uint64(i), row.size))
					}
				})
				raw := newRaw(t, vmtp.Config{Wire: row.wire, Quirks: q}, row.count*row.size)
				began := time.Now()
				raw.get(t, row.count*row.size)
				peer := time.Since(began)
				var copying time.Time
				report, err := r.driver.Backup(t.Context(), drain{vphone.NewTree()}, func(p usbhost.Progress) {
					if p.Phase == usbhost.Copying && copying.IsZero() {
						copying = time.Now()
					}
				})
				took := time.Since(copying)
				if err != nil || !report.Complete() {
					t.Fatal(report, err)
				}
				part := peer.Seconds() / took.Seconds()
				t.Logf("%.3f of the raw pipe, %.1f MB/s", part, float64(row.count*row.size)/took.Seconds()/1e6)
				if part < row.least {
					t.Errorf("%.3f of the raw pipe, want %.2f", part, row.least)
				}
			})
		})
	}
}

// slowTree takes as long for every megabyte as USB 2 does.
type slowTree struct{ drain }

func (slowTree) Create(_ string, _ int64, _ time.Time, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(r, buf)
		time.Sleep(time.Duration(n) * 25 * time.Nanosecond)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// TestThePhoneAndTheDrivesWorkAtOnce: with a tree as slow as the cable, a backup takes hardly longer than the cable alone.
func TestThePhoneAndTheDrivesWorkAtOnce(t *testing.T) {
	for name, files := range map[string]struct{ count, size int64 }{"a film": {1, 60 << 20}, "photos": {20, 3_100_000}, "clips": {10, 6 << 20}, "thumbnails": {500, 100_000}} {
		t.Run(name, func(t *testing.T) {
			if raceDetector && name != "clips" {
				t.Skip("all of them move as much, on the same paths")
			}
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Wire: highSpeed}, func(s *vphone.Storage) {
					for i := range files.count {
						put(t, s, fmt.Sprintf("DCIM/%d", i), june, pattern(uint64(i), files.size))
					}
				})
				began := time.Now()
				if report, err := r.driver.Backup(t.Context(), slowTree{drain{vphone.NewTree()}}, nil); err != nil || !report.Complete() {
					t.Fatal(report, err)
				}
				took, alone := time.Since(began), time.Duration(files.count*files.size*25)
				t.Logf("%.2f of what the cable takes alone", took.Seconds()/alone.Seconds())
				if took > alone*14/10 {
					t.Errorf("%v, and the cable alone takes %v", took, alone)
				}
			})
		})
	}
}

// TestNumbers lists phones of 10,000 and 100,000 files and backs them up once more unchanged. The heap is what the driver holds
// while it reads a film, its index included.
func TestNumbers(t *testing.T) {
	for _, files := range []int{10_000, 100_000} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			if raceDetector && files > 10_000 {
				t.Skip("memory and transactions are the same under the race detector, and take a minute")
			}
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Wire: highSpeed}, func(s *vphone.Storage) {
					for i := range files {
						put(t, s, fmt.Sprintf("DCIM/%d/IMG_%08d.jpg", i/1000, i), june.Add(time.Duration(i)*time.Minute), vphone.Text(""))
					}
					put(t, s, "Movies/long.mp4", june, pattern(1, 32<<20))
				})
				var before, during runtime.MemStats
				first := &heldTree{numbered: numbered{Tree: vphone.NewTree()}}
				first.at = func() {}
				r.heldBackup(t, first, files+1)
				ops := r.Stats().Operations
				if n := r.Stats().Transactions - ops[vmtp.OpGetPartialObject64] - ops[vmtp.OpGetObjectInfo]; n > 10 { // less what the film takes
					t.Errorf("%d transactions: %v", n, ops)
				}
				runtime.GC()
				runtime.ReadMemStats(&before)
				first.Nodes[top+"Movies/long.mp4"].ModTime = june.Add(-time.Hour * 24 * 40)
				first.at = func() {
					runtime.GC()
					runtime.ReadMemStats(&during)
				}
				r.heldBackup(t, first, 1)
				held := int64(during.HeapAlloc) - int64(before.HeapAlloc)
				r.ResetStats()
				began := time.Now()
				report := r.next(t, &first.numbered)
				s := r.Stats()
				t.Logf("%d files: %d transactions, %.1f s on the wire, %d bytes of files read; %d KiB held, of which 7,168 are buffers: %d bytes a file",
					files, s.Transactions, time.Since(began).Seconds(), s.Sent(), held>>10, (held-7<<20)/int64(files))
				if s.Transactions > 10 || s.Sent() > 32<<20 || report.Kept != files+1 {
					t.Errorf("unchanged: %d transactions, %d bytes read, %+v", s.Transactions, s.Sent(), report)
				}
				if held > 8<<20+int64(files)*250 {
					t.Errorf("%d MiB for %d files", held>>20, files)
				}
			})
		})
	}
}

// heldTree does something when half of the film has come.
type heldTree struct {
	numbered
	at func()
}

func (h *heldTree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	if name == top+"Movies/long.mp4" {
		if _, err := io.CopyN(io.Discard, r, size/2); err != nil {
			return err
		}
		h.at()
		_, err := io.Copy(io.Discard, r)
		return err
	}
	return h.Tree.Create(name, size, mtime, r)
}

func (r *rig) heldBackup(t testing.TB, tree *heldTree, stored int) {
	t.Helper()
	report, err := r.driver.Backup(t.Context(), tree, nil)
	if err != nil || report.Stored != stored {
		t.Fatal(report, err)
	}
	tree.Nodes[top+"Movies/long.mp4"] = &vphone.TreeNode{Size: 32 << 20, ModTime: june}
	tree.run++
}
