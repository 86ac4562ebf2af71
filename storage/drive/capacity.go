package drive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// ErrFake: what was written to a drive does not come back, as on sticks that claim more than they hold.
var ErrFake = errors.New("does not give back what was written to it")

// Sizes of a capacity test, in bytes.
const (
	capacityBlock = 64 << 10
	// capacityFile is the largest file: FAT takes less than 4 GiB.
	capacityFile = 1 << 30
	// DefaultCapacity is how much a test that is not full writes: a minute or two on a USB 2 stick.
	DefaultCapacity = 2304 << 20
	// capacityRoom stays free: a vault on the same drive may need it.
	capacityRoom = 64 << 20
)

// samples is how many places a test tries that is not full. Sticks that lie wrap around: what is written past their end
// lands on what was written before. Eight ninths of what is written lies together at the beginning, the rest is spread over
// the drive. On a stick that really holds R bytes of C, a sample past R misses the beginning (B bytes) with probability
// 1 − B/R, so all of them with (1 − B/R)^(256·(1 − R/C)): for 32 GB sold as 128 GB and the default amount 2·10⁻⁶.
const samples = 256

// CapacityOptions say how much a capacity test does.
type CapacityOptions struct {
	Full   bool  // write to all that is free
	Amount int64 // otherwise: bytes to write at most; 0 is DefaultCapacity
	Seed   uint64
	// Watch, if not nil, gets the bytes that were written or read back so far, of all that will be.
	Watch func(done, total int64)
}

// Capacity is what a capacity test found.
type Capacity struct {
	Free    int64   `json:"free"`             // bytes, as the file system claims
	Tried   int64   `json:"tried"`            // bytes that were written and read back
	Spread  bool    `json:"spread"`           // over all that is free, not only its beginning
	Bad     int64   `json:"bad"`              // bytes that came back otherwise
	Written float64 `json:"write_per_second"` // bytes a second, flushed
	Read    float64 `json:"read_per_second"`  // bytes a second, from the drive
}

// A ground is the part of a file system that a test fills; tests of the test have one that lies.
type ground interface {
	free() (int64, error)
	create(n int) (plot, error)
}

// plot is one file of a ground.
type plot interface {
	io.WriterAt
	io.ReaderAt
	// reserve takes n bytes without writing them. It fails where only writing takes room.
	reserve(n int64) error
	// settle flushes the file and has it read from the drive from now on.
	settle() error
	io.Closer
}

// errNoReserve: the file system cannot take room without writing.
var errNoReserve = errors.New("room is taken by writing only")

// field is a plot with what is in it.
type field struct {
	plot
	at, size int64 // its first byte's number, and how many
}

// capacityTest is one run.
type capacityTest struct {
	ctx    context.Context // of one operation
	g      ground
	o      CapacityOptions
	rng    *rand.Rand
	fields []field // with data
	held   []plot  // that only take room
	next   int64   // number of the next byte
	files  int
	done   int64
	total  int64
	res    Capacity
}

// tryCapacity fills g, in part or wholly, and reads back. Errors: ErrFake; those of the drive; ctx's.
func tryCapacity(ctx context.Context, g ground, o CapacityOptions) (Capacity, error) {
	t := &capacityTest{ctx: ctx, g: g, o: o, rng: rand.New(rand.NewPCG(o.Seed, 0))}
	err := t.run()
	for _, f := range t.fields {
		err = errors.Join(err, f.Close())
	}
	for _, p := range t.held {
		err = errors.Join(err, p.Close())
	}
	return t.res, err
}

func (t *capacityTest) run() error {
	free, err := t.g.free()
	if err != nil {
		return err
	}
	t.res.Free = free
	room := free - max(capacityRoom, free/100)
	amount := t.o.Amount
	if amount <= 0 {
		amount = DefaultCapacity
	}
	if t.o.Full || amount > room {
		amount = room
	}
	amount -= amount % capacityBlock
	if amount <= 0 {
		return fmt.Errorf("%d bytes free are too few for a test", free)
	}
	t.total = 2 * amount
	begin := time.Now()
	if amount+capacityBlock > room {
		t.res.Spread = true
		err = t.fill(amount)
	} else {
		err = t.sample(amount, room)
	}
	if full := errors.Is(err, syscall.ENOSPC); err != nil && !full {
		return err
	}
	t.res.Written = float64(t.written()) / time.Since(begin).Seconds()
	return t.readBack()
}

func (t *capacityTest) written() (n int64) {
	for _, f := range t.fields {
		n += f.size
	}
	return n
}

// fill writes so many bytes one after another.
func (t *capacityTest) fill(amount int64) error {
	for amount > 0 {
		n := min(amount, capacityFile)
		if err := t.write(n); err != nil {
			return err
		}
		amount -= n
	}
	return nil
}

// sample writes a beginning and then places all over the rest.
func (t *capacityTest) sample(amount, room int64) error {
	size := max(amount/9/samples, capacityBlock)
	size -= size % capacityBlock
	if err := t.fill(max(amount-size*samples, capacityBlock)); err != nil {
		return err
	}
	gap := (room - t.next) / samples
	for i := range int64(samples) {
		at := t.next
		if gap > size {
			at = room - gap*(samples-i) + t.rng.Int64N(gap-size)
			at = max(at-at%capacityBlock, t.next)
		}
		switch err := t.skip(at - t.next); {
		case errors.Is(err, errNoReserve):
			return t.fill(size * (samples - i)) // no more than the beginning can be tried without writing it all
		case err != nil:
			return err
		}
		if err := t.write(size); err != nil {
			return err
		}
	}
	t.res.Spread = true
	return nil
}

// skip takes n bytes without writing them.
func (t *capacityTest) skip(n int64) error {
	for n > 0 {
		p, err := t.g.create(t.files)
		if err != nil {
			return err
		}
		t.files++
		t.held = append(t.held, p)
		part := min(n, capacityFile)
		if err := p.reserve(part); err != nil {
			return err
		}
		n -= part
		t.next += part
	}
	return nil
}

// write makes a file of so many bytes, and looks at once whether it and an older one can be read back.
func (t *capacityTest) write(size int64) error {
	p, err := t.g.create(t.files)
	if err != nil {
		return err
	}
	t.files++
	f := field{p, t.next, 0}
	buf := make([]byte, capacityBlock)
	for f.size < size && err == nil {
		if err = t.ctx.Err(); err == nil {
			t.block(buf, f.at+f.size)
			_, err = p.WriteAt(buf, f.size)
		}
		if err == nil {
			f.size += capacityBlock
			t.progress(capacityBlock)
		}
	}
	t.next += f.size
	t.fields = append(t.fields, f)
	if err = errors.Join(err, p.settle()); err != nil {
		return err
	}
	old := t.fields[t.rng.IntN(len(t.fields))]
	for _, look := range []struct {
		field
		at int64
	}{{f, f.size - capacityBlock}, {old, t.rng.Int64N(old.size/capacityBlock) * capacityBlock}} {
		ok, err := t.same(look.field, look.at, buf)
		if err != nil {
			return err
		}
		if !ok {
			t.res.Bad = capacityBlock
			t.res.Tried = t.written()
			return fmt.Errorf("of %d MB written, some came back otherwise: the drive %w", t.written()>>20, ErrFake)
		}
	}
	return nil
}

// block makes the bytes that belong at a place: no two places have the same.
func (t *capacityTest) block(p []byte, at int64) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], t.o.Seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(at))
	_, _ = rand.NewChaCha8(seed).Read(p) // never fails
}

// same reads a block back.
func (t *capacityTest) same(f field, off int64, buf []byte) (bool, error) {
	want := make([]byte, capacityBlock)
	t.block(want, f.at+off)
	if _, err := f.ReadAt(buf, off); err != nil {
		return false, fmt.Errorf("what was written cannot be read back: %w", err)
	}
	return bytes.Equal(buf, want), nil
}

// readBack reads everything that was written.
func (t *capacityTest) readBack() error {
	begin := time.Now()
	buf := make([]byte, capacityBlock)
	for _, f := range slices.Backward(t.fields) {
		for off := int64(0); off < f.size; off += capacityBlock {
			if err := t.ctx.Err(); err != nil {
				return err
			}
			ok, err := t.same(f, off, buf)
			if err != nil {
				return err
			}
			if !ok {
				t.res.Bad += capacityBlock
			}
			t.res.Tried += capacityBlock
			t.progress(capacityBlock)
		}
	}
	t.res.Read = float64(t.res.Tried) / time.Since(begin).Seconds()
	if t.res.Bad > 0 {
		return fmt.Errorf("of %d MB written, %d MB came back otherwise: the drive %w", t.res.Tried>>20, max(t.res.Bad>>20, 1), ErrFake)
	}
	return nil
}

func (t *capacityTest) progress(n int64) {
	t.done += n
	if t.o.Watch != nil {
		t.o.Watch(t.done, t.total)
	}
}
