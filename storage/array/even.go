package array

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"phonebackupbox/storage"
)

const (
	// shortShare: room for protected blobs is short when it is less than one in so many parts of all that the drives
	// could hold. With more room than that, evening out would wear the drives for nothing.
	shortShare = 4
	// evenShare: drives are even enough when more evenness would gain less room than one in so many parts of all.
	evenShare = 32
	// worthShare: a blob is striped anew only if each byte written gains at least one in so many of room.
	worthShare = 8
)

// shelf is a drive that blobs are evened out over.
type shelf struct {
	no   driveNo
	m    *member
	free int64 // once what is replaced has been deleted, bytes
}

// protectable is how many bytes of blobs fit into free room so that any m drives may die: the widest stripes first, then
// narrower ones on the drives that still have room, take all but what the m roomiest drives have.
func protectable(free []int64, m int) int64 {
	sorted := slices.Sorted(slices.Values(free))
	var sum int64
	for _, f := range sorted[:max(len(sorted)-m, 0)] {
		sum += max(f, 0)
	}
	return sum
}

// leveller evens out the room on the drives that stay.
type leveller struct {
	r       *repairer
	survive int
	shelves []shelf
	all     int64 // protectable room if the drives were empty, bytes
}

// even makes room for protected blobs where it is short because drives are unequally full, as after a new drive came in:
// it moves shards and copies from drives with less room than the average to those with more, and stripes blobs wider where
// that gains enough, until room is no longer short. It needs every drive that stays. It reports whether it moved anything.
func (r *repairer) even(ctx context.Context, names []string) (bool, error) {
	if err := r.sync(ctx); err != nil {
		return false, err
	}
	l, err := r.leveller(ctx)
	if err != nil || l == nil {
		return false, err
	}
	before := r.report.Moved + r.report.Spread
	for _, step := range []func(context.Context, *patient) error{l.move, l.widen, l.move} {
		for _, name := range names {
			if !l.short() {
				break
			}
			if err := l.blob(ctx, name, step); err != nil {
				if ctx.Err() != nil {
					return false, err
				}
				r.a.log.Warn("blob stays where it is", "err", err)
			}
			if r.written < repairGroup {
				continue
			}
			if ok, err := l.look(ctx); err != nil || !ok {
				return true, err
			}
		}
		if r.written == 0 {
			continue
		}
		if ok, err := l.look(ctx); err != nil || !ok {
			return true, err
		}
	}
	return r.report.Moved+r.report.Spread > before, nil
}

// look makes durable what was done and measures the drives anew. It returns false if there is nothing to even out now.
func (l *leveller) look(ctx context.Context) (bool, error) {
	if err := l.r.sync(ctx); err != nil {
		return false, err
	}
	fresh, err := l.r.leveller(ctx)
	if err != nil || fresh == nil {
		return false, err
	}
	*l = *fresh
	return true, nil
}

// leveller returns nil where there is nothing to even out.
func (r *repairer) leveller(ctx context.Context) (*leveller, error) {
	l := r.a.leveller(func(ms []*member) []storage.Space { return r.a.spaces(ctx, ms) })
	if l != nil {
		l.r = r
	}
	return l, ctx.Err()
}

// leveller is one over the drives as they are, nil where there is nothing to even out.
func (a *Array) leveller(spaces func([]*member) []storage.Space) *leveller {
	a.mu.RLock()
	l := &leveller{survive: a.led.survive}
	whole := len(a.draining) == 0 && !a.led.incomplete
	for id, d := range a.led.drives {
		if d.removed || d.travels {
			continue
		}
		i := slices.IndexFunc(a.members, func(m *member) bool { return m.ID == id })
		if i < 0 || !a.members[i].up() {
			whole = false
			continue
		}
		l.shelves = append(l.shelves, shelf{no: a.led.driveNos[id], m: a.members[i]})
	}
	a.mu.RUnlock()
	if !whole || l.survive == 0 || len(l.shelves) <= l.survive+1 {
		return nil
	}
	var ms []*member
	for _, s := range l.shelves {
		ms = append(ms, s.m)
	}
	total := make([]int64, len(ms))
	for i, space := range spaces(ms) {
		l.shelves[i].free, total[i] = space.Free, space.Total
		if space.Total == 0 { // it does not say
			return nil
		}
	}
	l.all = protectable(total, l.survive)
	return l
}

// planned is about how many bytes even would write; 0 exactly where it would write none, since it asks the same questions of the
// same blobs. It changes only the leveller.
func (l *leveller) planned() (bytes int64) {
	a := l.r.a
	a.mu.RLock()
	defer a.mu.RUnlock()
	for n, step := range []func(fact) (change, bool){
		func(f fact) (change, bool) {
			i, _, c := l.bestMove(f)
			return c, i >= 0
		},
		func(f fact) (change, bool) {
			_, c := l.bestStripe(f)
			return c, c.cost > 0
		},
	} {
		if !l.short() {
			return bytes
		}
		uneven := l.uneven()
		for _, first := range a.led.idx.all() {
			if n == 0 && !uneven {
				break // there is no move to be made
			}
			if int64(a.led.idx.entries[first].size) < smallBlob {
				continue
			}
			c, ok := step(a.mainFact(first))
			if !ok {
				continue
			}
			bytes += c.cost
			l.apply(c)
			for i, s := range l.shelves {
				l.r.room[s.m] += min(c.delta[i], 0)
			}
			if !l.short() {
				return bytes
			}
			uneven = l.uneven()
		}
	}
	return bytes
}

// mainFact is the fact of a blob that its protection counts on, without its files. The caller holds mu.
func (a *Array) mainFact(first uint32) (f fact) {
	most := math.MinInt
	for i := first; i != 0; i = a.led.idx.entries[i].next {
		e := a.led.idx.entries[i]
		place, spare := a.led.places[e.place], 0
		if i != first || e.next != 0 { // else there is nothing to choose from
			spare = place.spare(a.relied)
		}
		if spare > most {
			f, most = fact{shape: a.led.shapeOf(e), place: place}, spare
		}
	}
	return f
}

// protectable is the room for protected blobs as the drives are, and if all of them had the same.
func (l *leveller) protectable() (now, even int64) {
	free := make([]int64, len(l.shelves))
	for i, s := range l.shelves {
		free[i] = s.free
	}
	return protectable(free, l.survive), l.average() * int64(len(free)-l.survive)
}

// average is how much room the drives have, in bytes.
func (l *leveller) average() int64 {
	var sum int64
	for _, s := range l.shelves {
		sum += max(s.free, 0)
	}
	return sum / int64(len(l.shelves))
}

func (l *leveller) short() bool {
	now, _ := l.protectable()
	return now < l.all/shortShare
}

// uneven reports whether evening out gains enough.
func (l *leveller) uneven() bool {
	now, even := l.protectable()
	return even-now >= l.all/evenShare
}

// change is what a move or a new stripe does to the drives' free room, in bytes.
type change struct {
	delta []int64 // by shelf
	cost  int64   // written
}

// blob does one step for a blob, if it is one of the large ones.
func (l *leveller) blob(ctx context.Context, name string, step func(context.Context, *patient) error) error {
	a := l.r.a
	if err := a.names.acquire(ctx, name); err != nil {
		return err
	}
	defer a.names.release(name)
	facts := a.facts(name)
	if len(facts) == 0 || facts[0].size < smallBlob {
		return nil
	}
	return step(ctx, l.r.diagnose(name, facts))
}

// fileSizes is how much each shelf has of a blob by one fact, in bytes.
func (l *leveller) fileSizes(s shape, p placement) []int64 {
	sizes := make([]int64, len(l.shelves))
	for i, no := range p.holders {
		if j := l.shelf(no); j >= 0 {
			sizes[j] += s.shardLen(s.shardOf(i)) + s.sectors(s.shardOf(i)).parityLen()
		}
	}
	return sizes
}

func (l *leveller) shelf(no driveNo) int {
	return slices.IndexFunc(l.shelves, func(s shelf) bool { return s.no == no })
}

// bestMove finds the blob's file on the fullest drive, and the emptiest drive that has none; i is -1 if moving it there would
// make the drives less even, or if they are even enough.
func (l *leveller) bestMove(f fact) (i, to int, c change) {
	i, to = -1, -1
	if !l.uneven() {
		return i, to, c
	}
	for n, no := range f.place.holders {
		if at := l.shelf(no); at >= 0 && (i < 0 || l.shelves[at].free < l.shelves[l.shelf(f.place.holders[i])].free) {
			i = n
		}
	}
	for n, s := range l.shelves {
		if !slices.Contains(f.place.holders, s.no) && (to < 0 || s.free > l.shelves[to].free) {
			to = n
		}
	}
	if i < 0 || to < 0 {
		return -1, to, c
	}
	from := l.shelf(f.place.holders[i])
	c.cost = f.shardLen(f.shardOf(i)) + f.sectors(f.shardOf(i)).parityLen()
	c.delta = make([]int64, len(l.shelves))
	c.delta[from], c.delta[to] = c.cost, -c.cost
	average := l.average()
	if l.shelves[from].free >= average || l.shelves[to].free <= average || l.shelves[from].free+c.cost > l.shelves[to].free-c.cost ||
		l.r.room[l.shelves[to].m] < c.cost {
		return -1, to, c
	}
	return i, to, c
}

// bestStripe is the widest stripe that has room beside what is there; its cost is 0 if it does not gain enough. What it saves
// counts as if it were shared by all drives: that is what moves make of it.
func (l *leveller) bestStripe(f fact) (p placement, c change) {
	if f.k >= len(l.shelves)-l.survive {
		return p, c // none is wider
	}
	var all []candidate
	for _, s := range l.shelves {
		all = append(all, candidate{no: s.no, m: s.m, free: l.r.room[s.m]})
	}
	slices.SortFunc(all, func(x, y candidate) int { return cmp.Compare(y.free, x.free) })
	p, ok := choose(f.size, l.survive, all, 0)
	if !ok || p.k <= f.k || p.m < l.survive {
		return p, change{}
	}
	var saved int64
	c.delta = l.fileSizes(f.shape, f.place)
	for i, n := range l.fileSizes(shape{f.size, p.k, p.m, p.side}, p) {
		c.delta[i] -= n
		c.cost += n
		saved += c.delta[i]
	}
	if n := int64(len(l.shelves)); saved*(n-int64(l.survive))/n*worthShare < c.cost {
		return p, change{}
	}
	return p, c
}

// apply counts a change as done.
func (l *leveller) apply(c change) {
	for i, d := range c.delta {
		l.shelves[i].free += d
	}
}

// move puts a file of a blob from the fullest drive on the emptiest, if that makes the drives more even.
func (l *leveller) move(ctx context.Context, p *patient) error {
	i, to, c := l.bestMove(p.main)
	if i < 0 {
		return nil
	}
	main, err := l.r.relocate(ctx, p.main, []int{i}, []*member{l.shelves[to].m})
	if err != nil {
		return err
	}
	l.r.report.Rebuilt-- // it was not missing
	l.r.report.Moved++
	l.apply(c)
	return l.r.settle(ctx, p, main)
}

// widen stripes a blob wider, if that gains enough.
func (l *leveller) widen(ctx context.Context, p *patient) error {
	want, c := l.bestStripe(p.main)
	if c.cost == 0 {
		return nil
	}
	data, err := l.r.bytes(ctx, p)
	if err != nil {
		return err
	}
	main, err := l.r.spread(ctx, p, data)
	if err != nil {
		return err
	}
	if main.place.k < want.k || main.place.m < want.m {
		// A drive failed meanwhile: the blob stays as it was, and what was written is for the next Repair to remove.
		return errors.Join(errLacking, storage.ErrUnavailable)
	}
	l.apply(c)
	return l.r.settle(ctx, p, main)
}
