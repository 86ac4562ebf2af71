// Package vdrive simulates drives that fail when told. A Drive keeps its blobs in memory and is a storage.Store; its
// faults are methods, drawn from a seed, so a failure found once is found again. It models what a drive promises and
// no more: what was synced stays, what was not synced may be lost, torn or kept when the power goes or the plug is
// pulled. Tests, fuzzers and the demo use the same drives.
package vdrive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"phonebackupbox/storage"
)

// Op is a kind of Store operation.
type Op uint8

// The operations of a Store.
const (
	OpPut Op = iota
	OpSync
	OpGet
	OpStat
	OpList
	OpDelete
	ops
)

// Drive is a simulated drive. Make one with New.
type Drive struct {
	p   *Power // its mutex guards everything below
	rng *rand.Rand

	disk     map[string][]byte // what a power cut leaves
	now      map[string][]byte // what reads see
	unsynced []change
	forgot   bool // unsynced writes were lost: the next Sync must say so

	off      bool
	readOnly bool
	lies     bool
	moved    Traffic
	total    int64
	reserve  int64 // bytes that large blobs leave free
	used     int64 // bytes in now
	delay    time.Duration
	hang     chan struct{} // closed by Resume; nil when not hanging
	hanging  []Op          // only these; none is all
	stuck    bool          // while hanging, not even the end of the context is heard
	errs     [ops]fault
}

// change is a write that is not yet durable: data nil means delete.
type change struct {
	name string
	data []byte
}

type fault struct {
	err   error
	times int // how often yet; negative is always
}

// New returns a drive of 1 TB that works, with a power supply of its own. Drives with the same seed and the same
// operations fail alike.
func New(seed uint64) *Drive {
	d := &Drive{
		rng:   rand.New(rand.NewPCG(seed, 0x64726976)),
		disk:  make(map[string][]byte),
		now:   make(map[string][]byte),
		total: 1e12,
	}
	NewPower().Feed(d)
	return d
}

// enter begins an operation: it waits as a slow or hanging drive does, counts writes, and returns with the lock held
// unless it returns an error.
func (d *Drive) enter(ctx context.Context, op Op, name string) error {
	if op != OpSync && op != OpList && !storage.ValidName(name) {
		return fmt.Errorf("vdrive: name %q: %w", name, fs.ErrInvalid)
	}
	if err := d.wait(ctx, op); err != nil {
		return err
	}
	d.p.mu.Lock()
	err := d.begin(op, name)
	if err != nil {
		d.p.mu.Unlock()
	}
	return err
}

func (d *Drive) wait(ctx context.Context, op Op) error {
	d.p.mu.Lock()
	delay, hang, stuck := d.delay, d.hang, d.stuck
	if len(d.hanging) > 0 && !slices.Contains(d.hanging, op) {
		hang = nil
	}
	d.p.mu.Unlock()
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if hang != nil && stuck {
		<-hang
	} else if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (d *Drive) begin(op Op, name string) error {
	if d.off {
		return fmt.Errorf("vdrive: %s: unplugged: %w", name, storage.ErrUnavailable)
	}
	if f := &d.errs[op]; f.times != 0 {
		f.times = max(f.times-1, -1)
		return fmt.Errorf("vdrive: %s: %w", name, f.err)
	}
	if d.readOnly && (op == OpPut || op == OpDelete) {
		return fmt.Errorf("vdrive: %s: %w", name, storage.ErrReadOnly)
	}
	return nil
}

// Put implements storage.Store.
func (d *Drive) Put(ctx context.Context, name string, p []byte) error {
	if err := d.enter(ctx, OpPut, name); err != nil {
		return err
	}
	defer d.p.mu.Unlock()
	if old, ok := d.now[name]; ok {
		if bytes.Equal(old, p) {
			return nil
		}
		return fmt.Errorf("vdrive: put %s: %w", name, storage.ErrExist)
	}
	room := d.total - d.used
	if len(p) >= 64<<10 {
		room -= d.reserve
	}
	if int64(len(p)) > room {
		return fmt.Errorf("vdrive: put %s: %w", name, storage.ErrFull)
	}
	d.write(change{name, append([]byte{}, p...)})
	return d.p.tick(name)
}

// write makes a change visible and remembers that it is not durable.
func (d *Drive) write(c change) {
	d.used += int64(len(c.data)) - int64(len(d.now[c.name]))
	d.moved.Written += int64(len(c.data))
	apply(d.now, c)
	d.unsynced = append(d.unsynced, c)
}

func apply(files map[string][]byte, c change) {
	if c.data == nil {
		delete(files, c.name)
	} else {
		files[c.name] = c.data
	}
}

// Sync implements storage.Store. If unsynced writes were lost since the last Sync, it says so once.
func (d *Drive) Sync(ctx context.Context) error {
	if err := d.enter(ctx, OpSync, ""); err != nil {
		return err
	}
	defer d.p.mu.Unlock()
	if d.forgot {
		d.forgot = false
		return fmt.Errorf("vdrive: sync: writes were lost when the drive was unplugged: %w", storage.ErrUnavailable)
	}
	if err := d.p.tick("sync"); err != nil {
		return err
	}
	if d.lies {
		return nil
	}
	for _, c := range d.unsynced {
		apply(d.disk, c)
	}
	d.unsynced = nil
	return nil
}

// Get implements storage.Store. It reads what is there: bits that rotted are returned as they are.
func (d *Drive) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if err := d.enter(ctx, OpGet, name); err != nil {
		return 0, err
	}
	defer d.p.mu.Unlock()
	data, ok := d.now[name]
	switch {
	case !ok:
		return 0, fmt.Errorf("vdrive: get %s: %w", name, storage.ErrNotExist)
	case off < 0:
		return 0, fmt.Errorf("vdrive: get %s at %d: %w", name, off, fs.ErrInvalid)
	case len(p) == 0:
		return 0, nil
	case off >= int64(len(data)):
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	d.moved.Read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stat implements storage.Store.
func (d *Drive) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := d.enter(ctx, OpStat, name); err != nil {
		return storage.Info{}, err
	}
	defer d.p.mu.Unlock()
	data, ok := d.now[name]
	if !ok {
		return storage.Info{}, fmt.Errorf("vdrive: stat %s: %w", name, storage.ErrNotExist)
	}
	return storage.Info{Name: name, Size: int64(len(data))}, nil
}

// List implements storage.Store.
func (d *Drive) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := d.enter(ctx, OpList, prefix); err != nil {
			yield(storage.Info{}, err)
			return
		}
		var infos []storage.Info
		for name, data := range d.now {
			if strings.HasPrefix(name, prefix) {
				infos = append(infos, storage.Info{Name: name, Size: int64(len(data))})
			}
		}
		d.p.mu.Unlock()
		slices.SortFunc(infos, func(a, b storage.Info) int { return strings.Compare(a.Name, b.Name) })
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete implements storage.Store.
func (d *Drive) Delete(ctx context.Context, name string) error {
	if err := d.enter(ctx, OpDelete, name); err != nil {
		return err
	}
	defer d.p.mu.Unlock()
	if _, ok := d.now[name]; !ok {
		return fmt.Errorf("vdrive: delete %s: %w", name, storage.ErrNotExist)
	}
	d.write(change{name: name})
	return d.p.tick(name)
}

// Space implements storage.Spacer.
func (d *Drive) Space(ctx context.Context) (storage.Space, error) {
	if err := d.wait(ctx, ops); err != nil { // as no Op
		return storage.Space{}, err
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if d.off {
		return storage.Space{}, fmt.Errorf("vdrive: space: %w", storage.ErrUnavailable)
	}
	return storage.Space{Free: max(d.total-d.reserve-d.used, 0), Total: d.total}, nil
}

// lose drops to what is on the disk, where each unsynced write is lost, kept or (a Put) torn, in whatever order.
func (d *Drive) lose() {
	for _, c := range d.unsynced {
		switch d.rng.IntN(3) {
		case 0: // lost
			d.forgot = true
		case 1:
			apply(d.disk, c)
		case 2:
			d.forgot = true
			if len(c.data) > 0 {
				apply(d.disk, change{c.name, d.tear(c.data)})
			}
		}
	}
	d.unsynced = nil
	d.now = maps.Clone(d.disk)
	d.used = 0
	for _, data := range d.now {
		d.used += int64(len(data))
	}
}

// tear returns what a file may look like that was being written when the power went: short, or whole in length with
// sectors that never arrived.
func (d *Drive) tear(data []byte) []byte {
	const sector = 512 // bytes, what drives write at once
	if d.rng.IntN(2) == 0 {
		return data[:d.rng.IntN(len(data))]
	}
	torn := bytes.Clone(data)
	n := (len(torn) + sector - 1) / sector
	for range 1 + d.rng.IntN(n) {
		s := d.rng.IntN(n)
		clear(torn[s*sector : min((s+1)*sector, len(torn))])
	}
	return torn
}

// errPower is what operations return after the power went.
var errPower = errors.New("power cut")
