package vdrive

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// Power feeds drives: when it goes, it goes for all of them. It counts writes (Put that changes something, Sync,
// Delete) over its drives, so a test that ran once with n writes can cut the power at each of them in turn.
type Power struct {
	mu     sync.Mutex
	drives []*Drive
	n      int
	cutAt  int // 0 is never
}

// NewPower returns a power supply that feeds no drives yet.
func NewPower() *Power { return new(Power) }

// Feed moves drives that nobody is using to this supply.
func (p *Power) Feed(drives ...*Drive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range drives {
		d.p = p
		p.drives = append(p.drives, d)
	}
}

// Ops returns how many writes there have been.
func (p *Power) Ops() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Cut makes the power fail in the nth write from now, 1 being the next; 0 calls a cut off. That write and all later
// operations return ErrUnavailable until Restore.
func (p *Power) Cut(nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt = 0
	if nth > 0 {
		p.cutAt = p.n + nth
	}
}

// Restore brings the power back, and with it every drive of the supply, with what its disk holds.
func (p *Power) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt = 0
	for _, d := range p.drives {
		d.off = false
		d.forgot = false // whoever wrote is gone too
	}
}

// tick counts a write and fails it if it is the one at which the power goes. The caller holds mu.
func (p *Power) tick(what string) error {
	p.n++
	if p.cutAt == 0 || p.n < p.cutAt {
		return nil
	}
	for _, d := range p.drives {
		if !d.off {
			d.lose()
			d.off = true
		}
	}
	return fmt.Errorf("vdrive: %s: %w: %w", what, errPower, storage.ErrUnavailable)
}

// Traffic is how many bytes of blobs went to and from a drive.
type Traffic struct{ Read, Written int64 }

// Traffic returns what was read and written since the drive was made.
func (d *Drive) Traffic() Traffic {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	return d.moved
}

// Ops returns how many writes the drive's power supply has counted.
func (d *Drive) Ops() int { return d.p.Ops() }

// CutPower makes the power fail in the nth write from now, for this drive and all that share its supply. Plug, or
// Power.Restore, brings it back.
func (d *Drive) CutPower(nth int) { d.p.Cut(nth) }

// Unplug pulls the drive: operations return ErrUnavailable, and what was not synced may be gone, which the first Sync
// after Plug reports.
func (d *Drive) Unplug() {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if !d.off {
		d.lose()
		d.off = true
	}
}

// Plug brings the drive back, and calls a power cut off that has not happened.
func (d *Drive) Plug() {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.off = false
	d.p.cutAt = 0
}

// Full leaves free bytes of room on the drive, counted from now.
func (d *Drive) Full(free int64) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.total = d.used + free
}

// ReadOnly makes the drive refuse Put and Delete, or accept them again.
func (d *Drive) ReadOnly(on bool) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.readOnly = on
}

// Slow makes every operation take at least this long.
func (d *Drive) Slow(delay time.Duration) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.delay = delay
}

// Hang makes every operation that begins from now on, or those of some kinds only, wait until its context ends, or until
// Resume.
func (d *Drive) Hang(only ...Op) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if d.hang == nil {
		d.hang = make(chan struct{})
	}
	d.hanging = only
}

// Stick is Hang, but what waits does not even hear that its context ended, as a process that is stuck in the kernel.
func (d *Drive) Stick(only ...Op) {
	d.Hang(only...)
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.stuck = true
}

// IgnoreFlushes makes Sync return without making anything durable, as some USB bridges do, or ends that.
func (d *Drive) IgnoreFlushes(on bool) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.lies = on
}

// Capacity makes the drive hold total bytes in all. Blobs of 64 KiB and more leave reserve bytes of them free, which do not
// count as room, as real drives do for small records.
func (d *Drive) Capacity(total, reserve int64) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.total, d.reserve = total, reserve
}

// Resume ends Hang and Stick; operations that were waiting go on.
func (d *Drive) Resume() {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if d.hang != nil {
		close(d.hang)
		d.hang, d.stuck = nil, false
	}
}

// ErrorOn makes the next times operations of a kind fail with err; negative is for ever, 0 ends it.
func (d *Drive) ErrorOn(op Op, times int, err error) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.errs[op] = fault{err, times}
}

// Rot flips one bit (counted from the first byte's lowest, modulo the length) of a stored blob, for good. It reports
// whether there was a bit to flip.
func (d *Drive) Rot(name string, bit int64) bool {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	return d.rot(name, bit)
}

func (d *Drive) rot(name string, bit int64) bool {
	data := d.now[name]
	if len(data) == 0 {
		return false
	}
	bit %= int64(len(data)) * 8
	bad := bytes.Clone(data)
	bad[bit/8] ^= 1 << (bit % 8)
	d.replace(name, bad)
	return true
}

// replace changes a blob behind the user's back, on the disk and in what is not yet written.
func (d *Drive) replace(name string, data []byte) {
	d.used += int64(len(data)) - int64(len(d.now[name]))
	c := change{name, data}
	apply(d.now, c)
	if _, ok := d.disk[name]; ok {
		apply(d.disk, c)
	}
	for i := range d.unsynced {
		if d.unsynced[i].name == name && d.unsynced[i].data != nil && data != nil {
			d.unsynced[i].data = data
		}
	}
}

// RotRandom flips a random bit of a random blob, by the seed, and returns the blob's name, or "" if the drive holds
// no byte.
func (d *Drive) RotRandom() string {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	names := slices.Sorted(maps.Keys(d.now))
	for range 8 * len(names) {
		name := names[d.rng.IntN(len(names))]
		if d.rot(name, d.rng.Int64()) {
			return name
		}
	}
	return ""
}

// Truncate shortens a stored blob to n bytes behind the user's back, as a damaged file system does. It reports
// whether the blob was longer.
func (d *Drive) Truncate(name string, n int) bool {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if len(d.now[name]) <= n {
		return false
	}
	d.replace(name, d.now[name][:n:n])
	return true
}

// Lose removes a blob behind the user's back. It reports whether there was one.
func (d *Drive) Lose(name string) bool {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	_, ok := d.now[name]
	d.replace(name, nil)
	return ok
}
