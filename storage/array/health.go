package array

import (
	"cmp"
	"context"
	"slices"

	"phonebackupbox/storage"
)

// Health says how the array is, by the ledger and the drives present. It reads no data.
func (a *Array) Health(ctx context.Context) (Health, error) {
	a.mu.RLock()
	h, members := a.health()
	a.mu.RUnlock()
	spaces := a.spaces(ctx, members) // without the lock: a drive may be slow to say
	for i, m := range members {
		if m != nil && !m.up() {
			h.Drives[i].State = Failing
		}
		h.Drives[i].Free, h.Drives[i].Total = spaces[i].Free, spaces[i].Total
	}
	h.Uneven = a.unevenness(members, spaces)
	return h, ctx.Err()
}

// unevenness is Health.Uneven, given how much room members have.
func (a *Array) unevenness(members []*member, spaces []storage.Space) int64 {
	r := &repairer{a: a, room: make(map[*member]int64)}
	l := a.leveller(func(ms []*member) []storage.Space {
		out := make([]storage.Space, len(ms))
		for i, m := range ms {
			if at := slices.Index(members, m); at >= 0 {
				out[i], r.room[m] = spaces[at], spaces[at].Free
			}
		}
		return out
	})
	if l == nil {
		return 0
	}
	l.r = r
	return l.planned()
}

// health counts. The caller holds mu. The members are those of h.Drives, nil where a drive is not in use.
func (a *Array) health() (h Health, members []*member) {
	c := a.count()
	h = Health{
		Survive: a.led.survive, Spare: c.spare, Here: c.here, Blobs: c.blobs, Bytes: c.bytes, Unreadable: c.unreadable,
		Lost: []string{}, Damaged: len(a.damage), LedgerIncomplete: a.led.incomplete,
	}
	safe := 0
	for _, n := range h.Spare {
		safe += n
	}
	if safe < h.Blobs {
		for _, name := range a.led.idx.names("") {
			if i := a.led.idx.get(name); a.spareOf(i, a.known) < 0 {
				h.Lost = append(h.Lost, name)
			}
		}
	}
	for id, d := range a.led.drives {
		h.Drives = append(h.Drives, a.driveHealth(c, id, d))
	}
	for _, m := range a.members {
		if _, ok := a.led.drives[m.ID]; !ok {
			h.Drives = append(h.Drives, DriveHealth{ID: m.ID, Label: m.Label, State: Blank})
		}
	}
	slices.SortFunc(h.Drives, func(x, y DriveHealth) int {
		return cmp.Or(cmp.Compare(x.Label, y.Label), cmp.Compare(x.ID, y.ID))
	})
	for _, d := range h.Drives {
		i := slices.IndexFunc(a.members, func(m *member) bool { return m.ID == d.ID && d.State == Attached })
		if i < 0 {
			members = append(members, nil)
		} else {
			members = append(members, a.members[i])
		}
	}
	return h, members
}

// driveHealth is what the counts say of a drive. The caller holds mu.
func (a *Array) driveHealth(c *counts, id string, d driveState) DriveHealth {
	h := DriveHealth{ID: id, Label: d.label, State: Away, Travels: d.travels && !d.removed}
	if no, ok := a.led.driveNos[id]; ok {
		held := c.drives[no]
		h.Used, h.Needed = held.used, held.needed
		h.Complete = c.blobs > 0 && held.whole == c.blobs && !d.removed && !a.led.incomplete
		h.Lacks, h.LacksBytes = c.small-held.small, c.smallBytes-held.smallBytes
		if d.travels {
			h.Lacks, h.LacksBytes = c.blobs-held.whole, c.bytes-held.wholeBytes
		}
	}
	i := slices.IndexFunc(a.members, func(m *member) bool { return m.ID == id })
	switch {
	case d.removed:
		h.State, h.Lacks, h.LacksBytes = Removed, 0, 0
	case i >= 0 && a.members[i].up():
		h.State = Attached
	case i >= 0:
		h.State = Failing
	case slices.ContainsFunc(a.twins, func(m Member) bool { return m.ID == id }):
		h.State = Twin
	}
	return h
}

// counts adds up what the ledger says of all blobs.
type counts struct {
	blobs, small      int
	bytes, smallBytes int64
	spare, here       []int
	unreadable        int
	drives            []held    // by number
	leave             []driveNo // those that travel and are present

	known, present [256]bool // drives, by number
}

// held is what one drive has.
type held struct {
	used                   int64
	whole, small           int // blobs
	wholeBytes, smallBytes int64
	needed                 bool // once it leaves, some blob is less protected than asked for
}

// count counts. The caller holds mu.
func (a *Array) count() *counts {
	n := a.led.survive + 1
	c := &counts{spare: make([]int, n), here: make([]int, n), drives: make([]held, len(a.led.driveIDs))}
	for i, id := range a.led.driveIDs {
		no := driveNo(i)
		c.known[no], c.present[no] = a.known(no), a.member(no) != nil
		if a.led.drives[id].travels && c.present[no] {
			c.leave = append(c.leave, no)
		}
	}
	for _, i := range a.led.idx.all() {
		a.countBlob(c, i)
	}
	return c
}

// spareOf is how many of the drives that count may die before a blob is lost. Its facts are taken one by one: what the best
// of them says is true. The caller holds mu.
func (a *Array) spareOf(i uint32, counts func(driveNo) bool) int {
	spare := -1
	for ; i != 0; i = a.led.idx.entries[i].next {
		spare = max(spare, a.led.places[a.led.idx.entries[i].place].spare(counts))
	}
	return spare
}

// countBlob adds a blob to the counts. The caller holds mu.
func (a *Array) countBlob(c *counts, first uint32) {
	size := int64(a.led.idx.entries[first].size)
	c.blobs++
	c.bytes += size
	if size < smallBlob {
		c.small++
		c.smallBytes += size
	}
	spare := a.spareOf(first, func(no driveNo) bool { return c.known[no] })
	here := a.spareOf(first, func(no driveNo) bool { return c.present[no] })
	if spare >= 0 {
		c.spare[min(spare, len(c.spare)-1)]++
	}
	if here >= 0 {
		c.here[min(here, len(c.here)-1)]++
	} else if spare >= 0 {
		c.unreadable++
	}
	for _, gone := range c.leave {
		if !c.drives[gone].needed && here >= len(c.here)-1 {
			left := a.spareOf(first, func(no driveNo) bool { return no != gone && c.present[no] })
			c.drives[gone].needed = left < len(c.here)-1
		}
	}
	var seen [256]bool
	for i := first; i != 0; i = a.led.idx.entries[i].next {
		e := a.led.idx.entries[i]
		p, s := a.led.places[e.place], a.led.shapeOf(e)
		for j, no := range p.holders {
			if no == nowhere {
				continue
			}
			d := &c.drives[no]
			d.used += s.shardLen(s.shardOf(j)) + s.sectors(s.shardOf(j)).parityLen()
			if p.k > 1 || seen[no] {
				continue
			}
			seen[no] = true
			d.whole++
			d.wholeBytes += size
			if size < smallBlob {
				d.small++
				d.smallBytes += size
			}
		}
	}
}

// Space adds up the drives that can be written, in bytes of drive: protection takes its share of them.
func (a *Array) Space(ctx context.Context) (storage.Space, error) {
	a.mu.RLock()
	writers := a.writers()
	a.mu.RUnlock()
	var sum storage.Space
	for _, one := range a.spaces(ctx, writers) {
		sum.Free += one.Free
		sum.Total += one.Total
	}
	return sum, ctx.Err()
}
