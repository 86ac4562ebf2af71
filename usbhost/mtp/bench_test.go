package mtp_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// drain is a tree that reads and forgets.
type drain struct{ *vphone.Tree }

func (drain) Create(_ string, size int64, _ time.Time, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		if _, err := r.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// BenchmarkBackup reads over a cable of 40 MB/s, which is what USB 2.0 gives, and prints the share of it that was
// file content, for large files and for small ones.
func BenchmarkBackup(b *testing.B) {
	const rate = 40_000_000
	for name, files := range map[string]struct{ count, size int64 }{"large": {2, 40_000_000}, "photos": {20, 4_000_000}, "small": {2000, 20_000}} {
		b.Run(name, func(b *testing.B) {
			r := plug(b, vmtp.Config{Wire: vphone.Wire{Rate: rate}}, func(s *vphone.Storage) {
				for i := range files.count {
					put(b, s, fmt.Sprintf("DCIM/%d", i), june, pattern(uint64(i), files.size))
				}
			})
			for b.Loop() {
				if report, err := r.driver.Backup(b.Context(), drain{vphone.NewTree()}, nil); err != nil || !report.Complete() {
					b.Fatal(report, err)
				}
			}
			moved := float64(files.count*files.size) * float64(b.N)
			b.ReportMetric(moved/b.Elapsed().Seconds()/rate, "of-the-cable")
		})
	}
}

// BenchmarkListing lists objects over a cable of USB 2.0's speed and keeps them all, in real time: the driver's work and the
// simulated phone's. Beside it, how long the same bytes take in one GetObject.
func BenchmarkListing(b *testing.B) {
	for _, files := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			r := plug(b, vmtp.Config{Wire: highSpeed}, func(s *vphone.Storage) {
				for i := range files {
					put(b, s, fmt.Sprintf("DCIM/%d/IMG_%05d.jpg", i/500, i), june, vphone.Text("x"))
				}
			})
			before, _ := r.Attachment().Moved()
			for b.Loop() {
				if report, err := r.driver.Backup(b.Context(), resuming{vphone.NewTree()}, nil); err != nil || report.Kept != files {
					b.Fatal(report, err)
				}
			}
			after, _ := r.Attachment().Moved()
			moved := (after - before) / int64(b.N)
			raw := newRaw(b, vmtp.Config{Wire: highSpeed}, moved)
			began := time.Now()
			raw.get(b, moved)
			b.ReportMetric(time.Since(began).Seconds(), "s-raw-pipe")
			b.ReportMetric(float64(moved)/float64(files), "B/object")
		})
	}
}

// BenchmarkPipe compares backing one file up with the same bytes by one GetObject and nothing but reads, over a cable of
// USB 2.0's speed and over one without a limit, where only the driver's own work counts.
func BenchmarkPipe(b *testing.B) {
	for name, wire := range map[string]struct {
		rate, size int64
	}{"40MBps": {40_000_000, 100_000_000}, "unlimited": {0, 1 << 30}} {
		b.Run(name, func(b *testing.B) {
			r := plug(b, vmtp.Config{Wire: vphone.Wire{Rate: wire.rate}}, func(s *vphone.Storage) { put(b, s, "f", june, pattern(1, wire.size)) })
			raw := newRaw(b, vmtp.Config{Wire: vphone.Wire{Rate: wire.rate}}, wire.size)
			var driver, peer time.Duration
			for b.Loop() {
				began := time.Now()
				if report, err := r.driver.Backup(b.Context(), drain{vphone.NewTree()}, nil); err != nil || report.Stored != 1 {
					b.Fatal(report, err)
				}
				driver += time.Since(began)
				began = time.Now()
				raw.get(b, wire.size)
				peer += time.Since(began)
			}
			b.ReportMetric(peer.Seconds()/driver.Seconds(), "of-raw-pipe")
		})
	}
}

// rawPipe speaks just enough MTP to take a file off a phone.
type rawPipe struct {
	dev    usbhost.Interface
	buf    []byte
	handle [4]byte
}

func newRaw(b testing.TB, cfg vmtp.Config, size int64) *rawPipe {
	cfg.Storages = []*vphone.Storage{storage("S")}
	p := vmtp.NewPhone(cfg)
	put(b, p.Storages()[0], "f", june, pattern(1, size))
	r := &rawPipe{dev: p.Plug(), buf: make([]byte, 1<<20)}
	b.Cleanup(p.Unplug)
	r.ask(b, 0x02, 0, 1, 0, 0, 0) // OpenSession
	r.take(b)
	r.ask(b, 0x07, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF) // GetObjectHandles
	r.take(b)
	r.handle = [4]byte(r.buf[16:20])
	r.take(b)
	return r
}

func (r *rawPipe) get(b testing.TB, size int64) {
	r.ask(b, 0x09, 2, r.handle[:]...) // GetObject
	for n := int64(0); n < 12+size; {
		n += int64(r.take(b))
	}
	r.take(b)
}

func (r *rawPipe) ask(b testing.TB, op, id byte, params ...byte) {
	cmd := append([]byte{byte(12 + len(params)), 0, 0, 0, 1, 0, op, 0x10, id, 0, 0, 0}, params...)
	if _, err := r.dev.Pipe.Write(b.Context(), cmd); err != nil {
		b.Fatal(err)
	}
}

func (r *rawPipe) take(b testing.TB) int {
	n, err := r.dev.Pipe.Read(b.Context(), r.buf)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
