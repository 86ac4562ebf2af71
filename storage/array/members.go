package array

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"phonebackupbox/storage"
)

// Add takes a drive in: a new one, that holds nothing of an array, or a known one that came back. New blobs use it at
// once; Repair moves what is to be on it. A new one that could not be written down is not taken in, then or later.
func (a *Array) Add(ctx context.Context, m Member) error {
	a.change.Lock()
	defer a.change.Unlock()
	a.commit.Lock()
	defer a.commit.Unlock()
	if err := a.add(ctx, m); err != nil {
		return fmt.Errorf("array: add drive %s: %w", m.Label, err)
	}
	return nil
}

func (a *Array) add(ctx context.Context, m Member) error {
	if m.ID == "" || len(m.ID) > maxText || len(m.Label) > maxText || m.Store == nil {
		return fmt.Errorf("needs an ID and a store, and at most %d bytes of ID and label", maxText)
	}
	if slices.ContainsFunc(a.twins, func(t Member) bool { return t.ID == m.ID }) {
		return fmt.Errorf("its UUID %s is that of two drives that were refused", m.ID)
	}
	if err := a.sync(ctx, false); err != nil {
		return err
	}
	fresh := a.newMember(m)
	members := slices.DeleteFunc(slices.Clone(a.members), func(o *member) bool { return o.ID == m.ID })
	members = append(members, fresh)
	led, err := a.loadLedger(ctx, members)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.led, a.members = led, members
	maps.DeleteFunc(a.damage, func(h holder, _ string) bool { return h.m.ID == m.ID })
	was, known := led.drives[m.ID]
	var r *pendingRecord
	if !known || was.removed {
		r = a.register(fresh)
	}
	a.mu.Unlock()
	err = a.commitOr(ctx, r, func() {
		if delete(a.led.drives, m.ID); known {
			a.led.drives[m.ID] = was
		}
		a.members = slices.DeleteFunc(slices.Clone(a.members), func(o *member) bool { return o == fresh })
	})
	if err != nil {
		return err
	}
	if err := fresh.down.Load(); err != nil {
		return *err
	}
	return nil
}

// Travel records whether a drive travels: it is often away, and that is no fault. A drive that travels gets every blob whole
// while it is present, in Repair and CatchUp, and nothing that the others hold is as protected as asked for only because of
// it, unless they are too few. It may be present or away.
func (a *Array) Travel(ctx context.Context, id string, travels bool) error {
	a.change.Lock()
	defer a.change.Unlock()
	a.commit.Lock()
	defer a.commit.Unlock()
	if err := a.travel(ctx, id, travels); err != nil {
		return fmt.Errorf("array: drive %s travels: %w", id, err)
	}
	return nil
}

func (a *Array) travel(ctx context.Context, id string, travels bool) error {
	if err := a.sync(ctx, false); err != nil {
		return err
	}
	a.mu.Lock()
	d, ok := a.led.drives[id]
	if !ok || d.removed {
		a.mu.Unlock()
		return fmt.Errorf("the array knows no such drive: %w", storage.ErrNotExist)
	}
	was := d
	var r *pendingRecord
	if d.travels != travels {
		d.travels = travels
		r = a.setDrive(id, d)
	}
	a.mu.Unlock()
	return a.commitOr(ctx, r, func() { a.led.drives[id] = was })
}

// Remove gives a drive up for lost: what it holds no longer counts, and the next Repair protects anew what is left.
// It may be present or not; to take a good drive out without risk, Drain it.
func (a *Array) Remove(ctx context.Context, id string) error {
	a.change.Lock()
	defer a.change.Unlock()
	a.commit.Lock()
	defer a.commit.Unlock()
	if err := a.removeDrive(ctx, id); err != nil {
		return fmt.Errorf("array: remove drive %s: %w", id, err)
	}
	return nil
}

func (a *Array) removeDrive(ctx context.Context, id string) error {
	if err := a.sync(ctx, false); err != nil {
		return err
	}
	a.mu.Lock()
	d, ok := a.led.drives[id]
	if !ok || d.removed {
		a.mu.Unlock()
		return fmt.Errorf("the array knows no such drive: %w", storage.ErrNotExist)
	}
	if others := slices.DeleteFunc(a.writers(), func(m *member) bool { return m.ID == id }); len(others) == 0 {
		a.mu.Unlock()
		return fmt.Errorf("it is the only one present; attach another first: %w", storage.ErrUnavailable)
	}
	was := d
	d.removed = true
	r := a.setDrive(id, d)
	a.mu.Unlock()
	return a.commitOr(ctx, r, func() { a.led.drives[id] = was })
}

// NeededOf counts the blobs that no known drives can bring back without one of them. Those that are away count as good.
func (a *Array) NeededOf(ctx context.Context, id string) (int, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	no, ok := a.led.driveNos[id]
	if !ok {
		return 0, ctx.Err()
	}
	n := 0
	for _, i := range a.led.idx.all() {
		left := a.spareOf(i, func(other driveNo) bool { return other != no && a.known(other) })
		if left < 0 && a.spareOf(i, a.known) >= 0 {
			n++
		}
	}
	return n, ctx.Err()
}

// Drain moves everything off a drive that is present, and then removes it. It fails, and the drive stays, if the
// others have no room or if some blob cannot be repaired.
func (a *Array) Drain(ctx context.Context, id string, watch Watch) (RepairReport, error) {
	a.mu.Lock()
	if d, ok := a.led.drives[id]; !ok || d.removed {
		a.mu.Unlock()
		return RepairReport{}, fmt.Errorf("array: drain drive %s: the array knows no such drive: %w", id, storage.ErrNotExist)
	}
	a.draining[id] = true
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.draining, id)
	}()
	report, err := a.Repair(ctx, watch)
	if err != nil {
		return report, err
	}
	if n := a.holding(id); n > 0 {
		why := storage.ErrFull
		if len(report.Lost) > 0 {
			why = storage.ErrUnavailable
		}
		return report, fmt.Errorf("array: drain drive %s: %d blobs need it still, the others do not take them: %w", id, n, why)
	}
	return report, a.Remove(ctx, id)
}

// holding counts the blobs that have a file on a drive.
func (a *Array) holding(id string) int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	no, n := a.led.driveNos[id], 0
	if _, ok := a.led.driveNos[id]; !ok {
		return 0
	}
	for _, name := range a.led.idx.names("") {
		for _, e := range a.led.idx.chain(name) {
			if slices.Contains(a.led.places[e.place].holders, no) {
				n++
				break
			}
		}
	}
	return n
}
