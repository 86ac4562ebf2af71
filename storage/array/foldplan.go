package array

import (
	"cmp"
	"iter"
	"slices"
)

// foldPlan is what a checkpoint takes up, and what it leaves where it is.
type foldPlan struct {
	facts  []committedFact // by name; those of one blob together
	graves []nameKey
	pieces []parent
	waste  []int // by source: the rank of a segment that is to go, the best first; 0 for one that stays
}

type committedFact struct {
	name  nameKey
	entry entry
}

// moves reports whether checksums go with their facts into the checkpoint.
func (p *foldPlan) moves(source uint32) bool { return p.waste[source] > 0 }

// choice is a blob that a checkpoint may take up.
type choice struct {
	name nameKey
	es   []entry // none for a grave
	rec  uint32
	rank int   // 0: it has to
	cost int64 // bytes
}

// planFold chooses what the next checkpoint takes up: what stands in no piece, and, as far as there is room, what stands in
// segments that are small or half of which is out of date, those first that it gets rid of for the fewest bytes. A segment
// may so go in several steps. The caller holds mu.
func (a *Array) planFold(pending []*pendingRecord) *foldPlan {
	p := &foldPlan{waste: a.waste(pending)}
	free := make([]bool, len(a.led.sources)) // what stands there has to be taken up
	stays := make([]bool, len(a.led.sources))
	for no := range free {
		free[no] = true
	}
	if !(len(a.led.pieces) >= mostPieces || len(a.led.pieces) >= manyPieces && a.stored >= largeSession) {
		for _, piece := range a.led.pieces {
			free[a.led.srcNos[piece.id.String()]] = false
		}
	}
	var choices []choice
	offer := func(c choice) {
		switch c.rank = p.rank(c); {
		case free[c.rec]:
			c.rank = 0
		case c.rank == 0:
			stays[c.rec] = true
			return
		}
		for _, e := range c.es {
			if p.moves(e.src) {
				c.cost += int64(a.led.shapeOf(e).tableLen())
			}
		}
		c.es = slices.Clone(c.es)
		choices = append(choices, c)
	}
	for name, es := range a.durable(pending) {
		offer(choice{name: name, es: es, rec: es[0].rec, cost: a.recordsLen(name, es)})
	}
	for name, rec := range a.led.graves {
		offer(choice{name: name, rec: rec, cost: a.recordsLen(name, nil)})
	}
	slices.SortFunc(choices, func(x, y choice) int { return cmp.Or(cmp.Compare(x.rank, y.rank), x.name.compare(y.name)) })
	room := a.room
	for _, c := range choices {
		if room -= c.cost; c.rank > 0 && room < 0 {
			stays[c.rec] = true
			continue
		}
		p.take(c)
	}
	for _, piece := range a.led.pieces {
		if stays[a.led.srcNos[piece.id.String()]] {
			p.pieces = append(p.pieces, piece)
		}
	}
	if len(p.pieces) == 0 {
		p.graves = nil
	}
	slices.SortStableFunc(p.facts, func(x, y committedFact) int { return x.name.compare(y.name) })
	slices.SortFunc(p.graves, nameKey.compare)
	return p
}

// rank is that of the best of the segments that a blob's records and checksums stand in, 0 if none is to go.
func (p *foldPlan) rank(c choice) int {
	best := p.waste[c.rec]
	for _, e := range c.es {
		if r := p.waste[e.src]; r > 0 && (best == 0 || r < best) {
			best = r
		}
	}
	return best
}

func (p *foldPlan) take(c choice) {
	if len(c.es) == 0 {
		p.graves = append(p.graves, c.name)
	}
	for _, e := range c.es {
		p.facts = append(p.facts, committedFact{c.name, e})
	}
}

// waste ranks the segments that are small, or half of which is out of date, by what is to be moved before they can go. The caller
// holds mu.
func (a *Array) waste(pending []*pendingRecord) []int {
	use := make([]int64, len(a.led.sources)) // bytes
	for name, es := range a.durable(pending) {
		use[es[0].rec] += a.recordsLen(name, es)
		for _, e := range es {
			use[e.src] += int64(a.led.shapeOf(e).tableLen())
		}
	}
	for name, rec := range a.led.graves {
		use[rec] += a.recordsLen(name, nil)
	}
	var list []int
	for no, name := range a.led.sources {
		if f := a.led.files[name]; f != nil && (f.size < a.small || use[no] < f.size/2) {
			list = append(list, no)
		}
	}
	slices.SortStableFunc(list, func(x, y int) int { return cmp.Compare(use[x], use[y]) })
	ranks := make([]int, len(use))
	for i, no := range list {
		ranks[no] = i + 1
	}
	return ranks
}

// recordsLen is about how long a blob's records are, or its tombstone if it has none.
func (a *Array) recordsLen(name nameKey, es []entry) int64 {
	n := len(name.text) + 3
	if name.sealed.dir != 0 {
		n = 34
	}
	sum := max(len(es), 1) * n
	for _, e := range es {
		sum += 16 + len(a.led.places[e.place].holders) // size, source and offset take about 8
	}
	return int64(sum)
}

// durable yields what the ledger says, without what is pending: blobs, and their facts until the next. The caller holds mu.
func (a *Array) durable(pending []*pendingRecord) iter.Seq2[nameKey, []entry] {
	old := make(map[nameKey][]entry)
	for _, r := range pending {
		if r.dropped || r.kind != factRecord && r.kind != tombstoneRecord {
			continue
		}
		if _, later := old[keyOf(r.name)]; !later {
			old[keyOf(r.name)] = r.old
		}
	}
	return func(yield func(nameKey, []entry) bool) {
		for name, es := range old {
			if len(es) > 0 && !yield(name, es) {
				return
			}
		}
		var es []entry
		for name, i := range a.led.idx.all() {
			if _, pending := old[name]; pending {
				continue
			}
			for es = es[:0]; i != 0; i = a.led.idx.entries[i].next {
				es = append(es, a.led.idx.entries[i])
			}
			if !yield(name, es) {
				return
			}
		}
	}
}
