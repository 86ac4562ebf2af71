package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"phonebackupbox/storage"
)

// travels reports whether a drive goes away and comes back. The caller holds mu.
func (a *Array) travels(no driveNo) bool {
	return no != nowhere && a.led.drives[a.led.driveIDs[no]].travels
}

// relied reports whether the protection of blobs counts on a drive: it is known, it is not being drained, and it does not
// travel. Where the others are too few to protect anything, those that travel count while they are here. The caller
// holds mu.
func (a *Array) relied(no driveNo) bool {
	if !a.known(no) {
		return false
	}
	if !a.travels(no) {
		return true
	}
	home := 0
	for id, d := range a.led.drives {
		if !d.removed && !d.travels && !a.draining[id] {
			home++
		}
	}
	return home <= a.led.survive && a.member(no) != nil
}

// takers are the drives that may take files: those that stay and those that travel, each with most room first.
func (r *repairer) takers(f fact) (home, travelling []*member) {
	a := r.a
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, m := range a.writers() {
		no, ok := a.led.driveNos[m.ID]
		_, listed := r.room[m]
		switch {
		case !ok || !listed || slices.Contains(f.place.holders, no) || a.draining[m.ID]:
		case a.led.drives[m.ID].travels:
			travelling = append(travelling, m)
		default:
			home = append(home, m)
		}
	}
	roomier := func(x, y *member) int { return cmp.Or(cmp.Compare(r.room[y], r.room[x]), cmp.Compare(x.ID, y.ID)) }
	slices.SortFunc(home, roomier)
	slices.SortFunc(travelling, roomier)
	return home, travelling
}

// treated is how a blob's protection lies on drives after a repair; fresh if that is not as it was, and then with its checksums.
type treated struct {
	placed
	fresh bool
}

// protect gives a blob what it lacks: shards or copies on the drives that its protection counts on, and a whole copy on each
// drive that travels and is here.
func (r *repairer) protect(ctx context.Context, p *patient) error {
	var main treated
	var err error
	if p.main.k == 1 {
		main, err = r.copies(ctx, p)
	} else {
		main, err = r.shards(ctx, p)
	}
	if err != nil {
		return err
	}
	return r.settle(ctx, p, main)
}

// settle adds to a blob's protection the whole copies beside it and has all of it recorded, if anything changed.
func (r *repairer) settle(ctx context.Context, p *patient, main treated) error {
	drops := len(p.facts) > 2 || len(p.facts) == 2 && p.extra == nil
	var extra placed
	if p.extra != nil {
		var err error
		if extra, err = r.kept(ctx, p, main.placed); err != nil {
			return err
		}
		drops = drops || extra.place.key() != p.extra.place.key()
	}
	changed := main.fresh || drops
	if main.place.k > 1 {
		added, err := r.beside(ctx, p, &extra)
		if err != nil {
			return err
		}
		changed = changed || added
	}
	if !changed {
		return nil
	}
	if !main.fresh {
		table, err := r.a.table(ctx, p.main)
		if err != nil {
			return err
		}
		if drops { // what the others hold is about to go: not unless this is good
			if _, err := r.whole(ctx, p.main, table); err != nil {
				return err
			}
		}
		main.table = table
	}
	ways := []placed{main.placed}
	if len(extra.place.holders) > 0 {
		ways = append(ways, extra)
	}
	r.a.insert(p.name, p.size, ways...)
	return nil
}

// kept is what stays of the whole copies beside a blob's protection: those on drives that travel and do not hold one by main.
func (r *repairer) kept(ctx context.Context, p *patient, main placed) (placed, error) {
	a := r.a
	table, err := a.table(ctx, *p.extra)
	if err != nil {
		return placed{}, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	keep := placed{p.extra.place, table}
	keep.place.holders = slices.DeleteFunc(slices.Clone(keep.place.holders), func(no driveNo) bool {
		return !a.known(no) || !a.travels(no) || main.place.k == 1 && slices.Contains(main.place.holders, no)
	})
	keep.place.m = max(len(keep.place.holders)-1, 0)
	return keep, nil
}

// beside puts whole copies of a striped blob on the drives that travel, are here, and have none. What fails there is for
// Health to tell; the blob's protection is not touched.
func (r *repairer) beside(ctx context.Context, p *patient, extra *placed) (added bool, err error) {
	a := r.a
	if len(extra.place.holders) == 0 {
		*extra = placed{place: placement{k: 1, side: exclusiveOr}}
	}
	_, travelling := r.takers(fact{place: extra.place})
	var data []byte
	for _, m := range travelling {
		s := shape{size: p.size, k: 1, side: extra.place.side}
		if !m.up() || r.room[m] < p.size+s.sectors(0).parityLen() {
			continue
		}
		if data == nil {
			if data, err = r.bytes(ctx, p); err != nil {
				return false, err
			}
			if extra.table == nil {
				if extra.table, err = a.wholeTable(data, s); err != nil {
					return false, err
				}
			}
		}
		if err := r.copyTo(ctx, fact{name: p.name, shape: s, place: extra.place}, extra.table, m, data); err != nil {
			if ctx.Err() != nil {
				return false, err
			}
			a.log.Warn("no copy on a drive", "drive", m.label(), "err", err)
			continue
		}
		extra.place.holders = append(slices.Clone(extra.place.holders), a.driveNo(m))
		added = true
		r.report.Rebuilt++
	}
	extra.place.m = max(len(extra.place.holders)-1, 0)
	return added, nil
}

// wholeTable computes the checksums of whole copies.
func (a *Array) wholeTable(data []byte, s shape) ([]byte, error) {
	table := a.coders.sums(nil, data, blockSize)
	sec := s.sectors(0)
	side := make([]byte, sec.parityLen())
	if err := a.coders.encodeSide(data, sec, side); err != nil {
		return nil, err
	}
	return a.coders.sums(table, side, sec.block), nil
}

func (a *Array) driveNo(m *member) driveNo {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.led.driveNos[m.ID]
}

// copies adds whole copies until there are enough, one on each drive that travels among them, and forgets those that are gone.
func (r *repairer) copies(ctx context.Context, p *patient) (treated, error) {
	a, f := r.a, p.main
	place := f.place
	a.mu.RLock()
	place.holders = slices.DeleteFunc(slices.Clone(place.holders), func(no driveNo) bool { return !a.known(no) })
	want, relied := a.led.survive+1, 0
	for _, no := range place.holders {
		if a.relied(no) {
			relied++
		}
	}
	a.mu.RUnlock()
	home, travelling := r.takers(f)
	var data []byte
	for i, m := range append(slices.Clone(home), travelling...) {
		if !m.up() || r.room[m] < f.size || i < len(home) && f.size >= smallBlob && relied >= want {
			continue
		}
		if p.extra != nil && slices.Contains(p.extra.place.holders, a.driveNo(m)) {
			continue
		}
		table, err := a.table(ctx, f)
		if err == nil && data == nil {
			data, err = r.bytes(ctx, p)
		}
		if err != nil {
			return treated{}, err
		}
		if err := r.copyTo(ctx, f, table, m, data); err != nil {
			if ctx.Err() != nil {
				return treated{}, err
			}
			a.log.Warn("no copy on a drive", "drive", m.label(), "err", err)
			continue
		}
		place.holders = append(place.holders, a.driveNo(m))
		relied++ // if it travels, and does not count, the others have been asked before
		r.report.Rebuilt++
	}
	if len(home) > 0 && f.size >= smallBlob && relied < want { // no room for more copies: perhaps for shards
		if striped, err := r.restripe(ctx, p, relied-1, false); err != nil || striped.fresh {
			return striped, err
		}
	}
	if len(place.holders) == 0 {
		return treated{}, fmt.Errorf("%s: no drive takes it: %w", f.name, storage.ErrUnavailable)
	}
	bare := f.size < smallBlob && len(place.holders) > 1 && place.side != noSide // it was alone before
	place.m = len(place.holders) - 1
	if !bare && place.key() == f.place.key() {
		return treated{placed: placed{place: place}}, nil
	}
	table, err := a.table(ctx, f)
	if bare && err == nil {
		place.side = noSide
		table = table[:f.tableAt(1)]
	}
	return treated{placed{place, table}, true}, err
}

// copyTo puts a whole copy, and its side parity if the others have it, on a drive.
func (r *repairer) copyTo(ctx context.Context, f fact, table []byte, m *member, p []byte) error {
	if err := r.write(ctx, f, table, blobFile{h: holder{m, wholePath(f.name)}}, p); err != nil {
		return err
	}
	return r.sideTo(ctx, f, table, 0, m, p)
}

// sideTo puts the side parity of file i on a drive, if the blob has any.
func (r *repairer) sideTo(ctx context.Context, f fact, table []byte, i int, m *member, data []byte) error {
	sec := f.sectors(f.shardOf(i))
	if sec.groups == 0 {
		return nil
	}
	side := make([]byte, sec.parityLen())
	if err := r.a.coders.encodeSide(data, sec, side); err != nil {
		return err
	}
	return r.write(ctx, f, table, blobFile{i, true, holder{m, f.sidePath(f.name, i)}}, side)
}

// shards puts shards that no drive holds whose presence counts on other drives, or stripes the blob anew if that protects it
// better.
func (r *repairer) shards(ctx context.Context, p *patient) (treated, error) {
	a, f := r.a, p.main
	a.mu.RLock()
	survive := a.led.survive
	draining := false
	var gone []int
	for i, no := range f.place.holders {
		if !a.relied(no) {
			gone = append(gone, i)
			draining = draining || no != nowhere && a.draining[a.led.driveIDs[no]]
		}
	}
	a.mu.RUnlock()
	spare := f.m - len(gone)
	home, _ := r.takers(f)
	need := f.stripe() + f.sectors(0).parityLen()
	home = slices.DeleteFunc(home, func(m *member) bool { return !m.up() || r.room[m] < need })
	switch {
	case spare >= survive && !draining:
		return treated{placed: placed{place: f.place}}, nil
	case f.m >= survive && len(gone) <= len(home):
		return r.relocate(ctx, f, gone, home)
	}
	return r.restripe(ctx, p, spare, draining)
}

// relocate computes shards that are on no drive that counts and puts them on drives that hold none of the blob.
func (r *repairer) relocate(ctx context.Context, f fact, gone []int, to []*member) (treated, error) {
	table, err := r.a.table(ctx, f)
	if err != nil {
		return treated{}, err
	}
	place := f.place
	place.holders = slices.Clone(place.holders)
	for n, i := range gone {
		data, err := r.shard(ctx, f, table, f.shardOf(i))
		if err != nil {
			return treated{}, err
		}
		m := to[n]
		if err := r.write(ctx, f, table, blobFile{i, false, holder{m, f.path(f.name, i)}}, data); err != nil {
			return treated{}, err
		}
		if err := r.sideTo(ctx, f, table, i, m, data); err != nil {
			return treated{}, err
		}
		place.holders[i] = r.a.driveNo(m)
		r.report.Rebuilt++
	}
	return treated{placed{place, table}, true}, nil
}

// restripe spreads a blob anew over the drives there are, if that protects it better than spare, or if it has to leave a
// drive.
func (r *repairer) restripe(ctx context.Context, p *patient, spare int, leave bool) (treated, error) {
	a, f := r.a, p.main
	place, err := a.plan(ctx, f.size, nil)
	if errors.Is(err, storage.ErrFull) && spare >= 0 && !leave {
		return treated{placed: placed{place: f.place}}, nil // as it is; Health tells
	}
	if err != nil {
		return treated{}, err
	}
	a.mu.RLock()
	most := a.led.survive
	better := min(place.spare(a.relied), most) - min(spare, most)
	a.mu.RUnlock()
	if better < 0 || better == 0 && !leave {
		return treated{placed: placed{place: f.place}}, nil
	}
	data, err := r.bytes(ctx, p)
	if err != nil {
		return treated{}, err
	}
	return r.spread(ctx, p, data)
}

// spread stripes a blob anew and reads it back.
func (r *repairer) spread(ctx context.Context, p *patient, data []byte) (treated, error) {
	a := r.a
	place, table, err := a.spread(ctx, p.name, data, nil)
	if err != nil {
		return treated{}, err
	}
	fresh := fact{name: p.name, shape: shape{p.size, place.k, place.m, place.side}}
	for i, part := range a.partsOf(p.name, fresh.shape, place) {
		if part.m == nil {
			return treated{}, storage.ErrUnavailable
		}
		b := blobFile{i % len(place.holders), i >= len(place.holders), holder{part.m, part.path}}
		if _, _, err := a.verifyFile(ctx, fresh, table, b, &r.buf); err != nil {
			return treated{}, fmt.Errorf("read back: %w", err)
		}
		r.room[part.m] -= fresh.fileLen(b)
		r.written += fresh.fileLen(b)
	}
	r.report.Spread++
	return treated{placed{place, table}, true}, nil
}
