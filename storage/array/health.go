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
	for i, m := range members { // without the lock: a drive may be slow to say
		if m == nil {
			continue
		}
		if s, ok := m.Store.(storage.Spacer); ok {
			space, err := s.Space(ctx)
			if err != nil {
				m.fail(err)
				h.Drives[i].State = Failing
			}
			h.Drives[i].Free, h.Drives[i].Total = space.Free, space.Total
		}
	}
	return h, ctx.Err()
}

// health counts. The caller holds mu. The members are those of h.Drives, nil where a drive is not in use.
func (a *Array) health() (h Health, members []*member) {
	h = Health{
		Survive: a.led.survive, Spare: make([]int, a.led.survive+1), Lost: []string{},
		Damaged: len(a.damage), LedgerIncomplete: a.led.incomplete,
	}
	used := make([]int64, len(a.led.driveIDs))
	whole := make([]int, len(a.led.driveIDs))
	for _, i := range a.led.idx.all() {
		a.countBlob(&h, i, used, whole)
	}
	safe := 0
	for _, n := range h.Spare {
		safe += n
	}
	if safe < h.Blobs {
		for _, name := range a.led.idx.names("") {
			if i := a.led.idx.get(name); a.spareOf(i) < 0 {
				h.Lost = append(h.Lost, name)
			}
		}
	}
	for id, d := range a.led.drives {
		dh := DriveHealth{ID: id, Label: d.label, State: Away}
		if no, ok := a.led.driveNos[id]; ok {
			dh.Used = used[no]
			dh.Complete = h.Blobs > 0 && whole[no] == h.Blobs && !d.removed && !a.led.incomplete
		}
		i := slices.IndexFunc(a.members, func(m *member) bool { return m.ID == id })
		switch {
		case d.removed:
			dh.State = Removed
		case i >= 0 && a.members[i].up():
			dh.State = Attached
		case i >= 0:
			dh.State = Failing
		case slices.ContainsFunc(a.twins, func(m Member) bool { return m.ID == id }):
			dh.State = Twin
		}
		h.Drives = append(h.Drives, dh)
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

// spareOf is how many more drives may die before a blob is lost, by its best fact. The caller holds mu.
func (a *Array) spareOf(i uint32) int {
	spare := -1
	for ; i != 0; i = a.led.idx.entries[i].next {
		spare = max(spare, a.led.places[a.led.idx.entries[i].place].spare(a.known))
	}
	return spare
}

// countBlob adds a blob to the counts. The caller holds mu.
func (a *Array) countBlob(h *Health, i uint32, used []int64, whole []int) {
	h.Blobs++
	h.Bytes += int64(a.led.idx.entries[i].size)
	spare := a.spareOf(i)
	if spare >= 0 {
		h.Spare[min(spare, h.Survive)]++
	}
	present := -1
	var seen [256]bool
	for ; i != 0; i = a.led.idx.entries[i].next {
		e := a.led.idx.entries[i]
		p, s := a.led.places[e.place], a.led.shapeOf(e)
		present = max(present, p.spare(func(no driveNo) bool { return a.member(no) != nil }))
		for j, no := range p.holders {
			if no == nowhere {
				continue
			}
			used[no] += s.shardLen(s.shardOf(j)) + s.sectors(s.shardOf(j)).parityLen()
			if p.k == 1 {
				if !seen[no] {
					seen[no] = true
					whole[no]++
				}
			}
		}
	}
	if present < 0 && spare >= 0 {
		h.Unreadable++
	}
}
