package array

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"phonebackupbox/storage"
)

// batch is what one Sync commits.
type batch struct {
	records  []*pendingRecord
	removals map[holder]string
}

// Sync implements storage.Store: flush the drives, then write what was put and deleted to the ledger of each, and
// flush again. A drive that fails on the way is left out, and what it was to hold counts as missing; Sync fails only
// if that loses a blob, or if no drive is left.
func (a *Array) Sync(ctx context.Context) error {
	a.commit.Lock()
	defer a.commit.Unlock()
	if err := a.sync(ctx, false); err != nil {
		return fmt.Errorf("array: sync: %w", err)
	}
	return nil
}

// sync is Sync for who holds commit. With force it brings the drives' ledgers up to date although nothing was put.
func (a *Array) sync(ctx context.Context, force bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	b := batch{a.pending, a.removals}
	writers := a.writers()
	incomplete := a.led.incomplete
	if len(b.records) == 0 && !force {
		a.mu.Unlock()
		return nil
	}
	a.pending, a.removals = nil, make(map[holder]string)
	a.mu.Unlock()

	lost, safe, err := a.commitBatch(ctx, b, writers, incomplete)
	if err != nil {
		a.putBack(b)
		return err
	}
	err = a.foldDue(ctx, safe)
	a.remove(ctx, b.removals)
	if len(lost) > 0 {
		return fmt.Errorf("drives failed before %v was safe: %w", lost, storage.ErrUnavailable)
	}
	return err
}

// putBack makes a batch pending again that was not committed.
func (a *Array) putBack(b batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(slices.Clip(b.records), a.pending...)
	for h, name := range b.removals {
		a.removals[h] = name
	}
}

// commitBatch makes a batch durable. It returns the blobs whose drives failed too soon, and the members that have the batch.
func (a *Array) commitBatch(ctx context.Context, b batch, writers []*member, incomplete bool) (lost []string, safe []*member, err error) {
	if incomplete {
		return nil, nil, fmt.Errorf("the ledger is damaged; attach the other drives: %w", storage.ErrUnavailable)
	}
	if err := a.catchUp(ctx, writers); err != nil {
		return nil, nil, err
	}
	safe = a.flush(ctx, writers)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	// From here on nothing is interrupted: a segment that is written to some drives only, and then another one after
	// the same parent, would be a fork. Every step has its own time limit.
	ctx = context.WithoutCancel(ctx)
	a.mu.RLock()
	fork := len(a.led.heads) > 1
	a.mu.RUnlock()
	if fork {
		if safe, err = a.checkpoint(ctx, safe, b.records); err != nil {
			return nil, nil, err
		}
	}
	if len(safe) == 0 {
		a.mu.RLock()
		defer a.mu.RUnlock()
		return nil, nil, a.nobody(nil)
	}
	if len(b.records) > 0 {
		return a.record(ctx, b, safe)
	}
	return nil, safe, nil
}

// foldDue writes a checkpoint if one is due.
func (a *Array) foldDue(ctx context.Context, ms []*member) error {
	a.mu.RLock()
	due := a.led.since.segments >= a.fold || a.led.since.bytes >= foldBytes
	a.mu.RUnlock()
	if !due {
		return nil
	}
	_, err := a.checkpoint(context.WithoutCancel(ctx), ms, nil)
	return err
}

// record writes a batch to the ledgers of the members that flushed its files. When one of them fails at that, what it
// holds does not count either, and the ledger has to say so: a Sync that returned nil would vouch for a record that a
// single drive may have. So it goes on until all who are counted on have the record that counts on them.
func (a *Array) record(ctx context.Context, b batch, members []*member) (lost []string, safe []*member, err error) {
	for first := true; ; first = false {
		lost = append(lost, a.degrade(b, members, first)...)
		s, at := a.compose(b)
		if safe, err = a.append(ctx, s, members); err != nil {
			return nil, nil, err
		}
		if len(safe) == len(members) {
			a.committed(b, s, at)
			slices.Sort(lost)
			return slices.Compact(lost), safe, nil
		}
		members = safe
	}
}

// flush syncs members, all at once, and returns those that did it.
func (a *Array) flush(ctx context.Context, ms []*member) []*member {
	ok := make([]bool, len(ms))
	var wg sync.WaitGroup
	for i, m := range ms {
		wg.Go(func() {
			tctx, cancel := context.WithTimeout(ctx, flushTimeout)
			defer cancel()
			if err := m.Store.Sync(tctx); err == nil {
				ok[i] = true
			} else if ctx.Err() == nil {
				m.fail(err)
			}
		})
	}
	wg.Wait()
	var safe []*member
	for i, m := range ms {
		if ok[i] && m.up() {
			safe = append(safe, m)
		}
	}
	return safe
}

// degrade takes drives out of a batch's facts that did not flush what they were given. It returns the blobs that are
// lost by that. They are forgotten, unless forget is false: then a segment names them already, and their drives may
// come back.
func (a *Array) degrade(b batch, safe []*member, forget bool) (lost []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ok := make(map[driveNo]bool)
	for _, m := range safe {
		ok[a.led.drive(m.ID)] = true
	}
	for _, r := range b.records {
		if r.lost {
			lost = append(lost, r.name) // by a Sync that failed before it could say so
		}
		if r.kind != factRecord || r.dropped {
			continue
		}
		ways, changed := r.degrade(func(no driveNo) bool { return ok[no] })
		if len(ways) == 0 {
			lost = append(lost, r.name)
		}
		if !changed || len(ways) == 0 && !forget {
			continue
		}
		for _, f := range r.facts {
			delete(a.held, f.entry)
		}
		if len(ways) > 0 {
			a.hold(r, ways)
			continue
		}
		a.led.idx.set(r.name, r.old...)
		r.dropped, r.lost = true, true
	}
	return lost
}

// degrade returns a record's facts without the drives that are not ok, as far as the blob can be read by them, and
// whether there were such drives.
func (r *pendingRecord) degrade(ok func(driveNo) bool) (ways []placed, changed bool) {
	for _, f := range r.facts {
		p := f.place
		p.holders = slices.Clone(p.holders)
		if p.k > 1 {
			for i, no := range p.holders {
				if !ok(no) {
					p.holders[i] = nowhere
				}
			}
		} else {
			p.holders = slices.DeleteFunc(p.holders, func(no driveNo) bool { return !ok(no) })
			p.m = max(len(p.holders)-1, 0)
		}
		changed = changed || p.key() != f.place.key()
		if p.spare(func(driveNo) bool { return true }) >= 0 {
			ways = append(ways, placed{p, f.table})
		}
	}
	return ways, changed
}

// compose makes a segment of a batch. at has the places of each record's checksums, none for one that was dropped.
func (a *Array) compose(b batch) (s *segment, at [][]uint32) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s = a.newSegment(false)
	drives := make(map[driveNo]driveNo)
	at = make([][]uint32, len(b.records))
	for i, r := range b.records {
		if r.kind != factRecord {
			s.add(record{kind: r.kind, name: keyOf(r.name), id: r.id, drive: r.drive, survive: r.survive})
			continue
		}
		if r.dropped {
			continue
		}
		for _, f := range r.facts {
			at[i] = append(at[i], uint32(len(s.tables)))
			s.add(record{
				kind: factRecord, name: keyOf(r.name), size: r.size, place: s.place(a.led.tables, f.place, drives),
				off: uint32(len(s.tables)), sum: a.coders.sum(f.table),
			})
			s.tables = append(s.tables, f.table...)
		}
	}
	return s, at
}

// newSegment begins the next segment. The caller holds mu.
func (a *Array) newSegment(folded bool) *segment {
	return &segment{
		id:      segmentID{counter: a.led.highest + 1, session: a.session, folded: folded},
		array:   a.led.array,
		writer:  a.writer,
		parents: slices.Clone(a.led.heads),
	}
}

// place translates the drives of a placement into numbers of the segment's own.
func (s *segment) place(t *tables, p placement, drives map[driveNo]driveNo) placement {
	translate := func(no driveNo) driveNo {
		if no == nowhere {
			return nowhere
		}
		own, ok := drives[no]
		if !ok {
			own = driveNo(len(s.drives))
			drives[no] = own
			s.drives = append(s.drives, t.driveIDs[no])
		}
		return own
	}
	p.holders = slices.Clone(p.holders)
	for i, no := range p.holders {
		p.holders[i] = translate(no)
	}
	return p
}

// append writes a segment to members, flushes them, and makes it the ledger's head. It returns the members that have
// it, at least one, or an error. With one member it writes a second copy.
func (a *Array) append(ctx context.Context, s *segment, ms []*member) ([]*member, error) {
	data, err := s.encode()
	if err != nil {
		return nil, err
	}
	name := s.id.String()
	dirs := []string{ledgerDir, copyDir}[:1]
	if len(ms) == 1 {
		dirs = []string{ledgerDir, copyDir}
	}
	var wg sync.WaitGroup
	for _, m := range ms {
		wg.Go(func() {
			for _, dir := range dirs {
				if err := a.writeFile(ctx, m, dir+name, data); err != nil {
					m.fail(err)
					return
				}
			}
		})
	}
	wg.Wait()
	ms = slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return !m.up() })
	safe := a.flush(ctx, ms)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(safe) == 0 {
		return nil, a.nobody(nil)
	}
	f := &ledgerFile{id: s.id, size: int64(len(data)), needed: true, chained: true}
	for _, m := range safe {
		for _, dir := range dirs {
			f.holders = append(f.holders, holder{m, dir + name})
		}
	}
	a.led.files[name] = f
	a.led.heads = []parent{{s.id, s.hash}}
	a.led.highest = s.id.counter
	a.led.cover(s.id)
	a.led.since.add(s)
	return safe, nil
}

// committed records that a batch stands in segment s.
func (a *Array) committed(b batch, s *segment, at [][]uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	src := a.led.source(s.id.String())
	replaced := make(map[string][]entry)
	for i, r := range b.records {
		a.stored += r.size
		if r.kind == tombstoneRecord {
			a.led.bury(keyOf(r.name), len(r.old) > 0, src)
		}
		for j, off := range at[i] {
			delete(a.led.graves, keyOf(r.name))
			e := &a.led.idx.entries[r.facts[j].entry]
			if a.held[r.facts[j].entry] == r {
				e.src, e.off, e.rec = src, off, src
				delete(a.held, r.facts[j].entry)
			} else { // dropped since
				was := *e
				was.src, was.off, was.rec, was.next = src, off, src, 0
				replaced[r.name] = append(replaced[r.name], was)
			}
		}
	}
	for _, r := range a.pending { // what came meanwhile took the place of what is committed now
		if es := replaced[r.name]; len(es) > 0 {
			r.old = es
		}
	}
}

// remove deletes files that no fact names any more.
func (a *Array) remove(ctx context.Context, files map[holder]string) {
	byMember := make(map[*member]map[holder]string)
	for h, name := range files {
		if byMember[h.m] == nil {
			byMember[h.m] = make(map[holder]string)
		}
		byMember[h.m][h] = name
	}
	var wg sync.WaitGroup
	for _, files := range byMember {
		wg.Go(func() {
			for h, name := range maps.All(files) {
				if err := a.removeFile(ctx, h, name); err != nil && !errors.Is(err, storage.ErrNotExist) {
					a.log.Debug("file stays until the next repair", "drive", h.m.label(), "err", err)
				}
			}
		})
	}
	wg.Wait()
}

// removeFile deletes a file unless its blob uses it after all.
func (a *Array) removeFile(ctx context.Context, h holder, name string) error {
	if err := a.names.acquire(ctx, name); err != nil {
		return err
	}
	defer a.names.release(name)
	if a.claimed(name)[h] || !h.m.up() {
		return nil
	}
	return h.m.delete(ctx, h.path)
}

// delete removes a file that is of no use any more. A drive that does not answer fails: there may be many more.
func (m *member) delete(ctx context.Context, path string) error {
	if !m.up() {
		return storage.ErrUnavailable
	}
	err := m.Store.Delete(ctx, path)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		m.fail(err)
	}
	return err
}
