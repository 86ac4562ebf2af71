package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// flash is a stick that claims so many bytes and holds fewer. It gives out its room in order, as FAT and exFAT do.
type flash struct {
	claimed, real int64
	wraps         bool // what is written past the end lands at the beginning; otherwise it is lost
	next          int64
	blocks        map[int64][]byte
	settles       int
}

func (f *flash) free() (int64, error) { return f.claimed - f.next, nil }

func (f *flash) create(int) (plot, error) { return &flashFile{f: f}, nil }

func (f *flash) cell(at int64) (int64, bool) {
	if at < f.real {
		return at, true
	}
	return at % f.real, f.wraps
}

type flashFile struct {
	f     *flash
	cells []int64
}

func (p *flashFile) reserve(n int64) error {
	p.f.next += n
	return nil
}

func (p *flashFile) WriteAt(b []byte, off int64) (int, error) {
	if p.f.next+int64(len(b)) > p.f.claimed {
		return 0, syscall.ENOSPC
	}
	if off != int64(len(p.cells))*capacityBlock {
		return 0, errors.New("not in order")
	}
	p.cells = append(p.cells, p.f.next)
	if at, ok := p.f.cell(p.f.next); ok {
		p.f.blocks[at] = append([]byte(nil), b...)
	}
	p.f.next += int64(len(b))
	return len(b), nil
}

func (p *flashFile) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off/capacityBlock >= int64(len(p.cells)) {
		return 0, io.EOF
	}
	if at, ok := p.f.cell(p.cells[off/capacityBlock]); ok {
		copy(b, p.f.blocks[at])
	}
	return len(b), nil
}

func (p *flashFile) settle() error { p.f.settles++; return nil }
func (p *flashFile) Close() error  { return nil }

func newFlash(claimed, real int64, wraps bool) *flash {
	return &flash{claimed: claimed, real: real, wraps: wraps, blocks: make(map[int64][]byte)}
}

const giB = 1 << 30

// Amounts here are a hundredth of what is usual, and so are the sizes.
func TestFakes(t *testing.T) {
	const claimed = 1280 << 20
	for _, wraps := range []bool{true, false} {
		for _, real := range []int64{80 << 20, 160 << 20, 320 << 20, 640 << 20, 333 << 20} {
			t.Run(fmt.Sprintf("%d MB, wraps %v", real>>20, wraps), func(t *testing.T) {
				t.Parallel()
				res, err := tryCapacity(t.Context(), newFlash(claimed, real, wraps), CapacityOptions{Amount: 46 << 20, Seed: uint64(real)})
				if !errors.Is(err, ErrFake) || res.Bad == 0 {
					t.Errorf("%v, %+v", err, res)
				}
			})
		}
	}
}

func TestHonest(t *testing.T) {
	for _, o := range []CapacityOptions{{Amount: 23 << 20}, {Amount: 100 << 20}, {Full: true}} {
		var done, total int64
		o.Watch = func(d, n int64) {
			if d < done {
				t.Errorf("progress goes back: %d after %d", d, done)
			}
			done, total = d, n
		}
		f := newFlash(160<<20, 160<<20, true)
		res, err := tryCapacity(t.Context(), f, o)
		if err != nil || res.Bad > 0 || !res.Spread || f.settles == 0 || done != total {
			t.Errorf("%+v: %v, %+v, %d of %d", o, err, res, done, total)
		}
		if want := min(o.Amount, 160<<20-capacityRoom); !o.Full && (res.Tried > want || res.Tried < want*9/10) {
			t.Errorf("tried %d bytes of %d", res.Tried, want)
		}
		if o.Full && res.Tried < 90<<20 {
			t.Errorf("full, and yet only %d bytes", res.Tried)
		}
	}
}

// A full test of a fake ends long before the drive is full.
func TestFakeFoundEarly(t *testing.T) {
	f := newFlash(40*giB, 80<<20, false)
	_, err := tryCapacity(t.Context(), f, CapacityOptions{Full: true})
	if !errors.Is(err, ErrFake) || f.next > 3*giB {
		t.Errorf("%v after %d MB", err, f.next>>20)
	}
}

func TestCapacityOfFolder(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, groundDir)
	write(t, filepath.Join(left, "0"), "of a test that was killed")
	res, err := TestCapacity(t.Context(), dir, CapacityOptions{Amount: 40 << 20})
	if err != nil || res.Tried < 30<<20 || res.Written == 0 || res.Read == 0 {
		t.Errorf("%+v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = TestCapacity(ctx, dir, CapacityOptions{Amount: 40 << 20, Watch: func(done, total int64) {
		if done > total/4 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if e, err := os.ReadDir(dir); err != nil || len(e) > 0 {
		t.Errorf("left behind: %v, %v", e, err)
	}
}
