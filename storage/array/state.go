package array

import (
	"slices"
)

// pendingSource is the source number of checksums that are in memory only, until a Sync.
const pendingSource = 0

// tables number what facts name again and again. Numbers only grow, until the ledger is loaded again.
type tables struct {
	driveIDs []string
	driveNos map[string]driveNo
	places   []placement
	placeNos map[string]uint32
	sources  []string // names of segments; 0 is pendingSource
	srcNos   map[string]uint32
}

func newTables() *tables {
	return &tables{
		driveNos: make(map[string]driveNo),
		placeNos: make(map[string]uint32),
		sources:  make([]string, 1),
		srcNos:   make(map[string]uint32),
	}
}

// drive numbers a drive; nowhere if there are too many.
func (t *tables) drive(id string) driveNo {
	no, ok := t.driveNos[id]
	if !ok {
		if len(t.driveIDs) >= maxDrives {
			return nowhere
		}
		no = driveNo(len(t.driveIDs))
		t.driveIDs = append(t.driveIDs, id)
		t.driveNos[id] = no
	}
	return no
}

func (t *tables) place(p placement) uint32 {
	key := p.key()
	no, ok := t.placeNos[key]
	if !ok {
		no = uint32(len(t.places))
		p.holders = slices.Clone(p.holders)
		t.places = append(t.places, p)
		t.placeNos[key] = no
	}
	return no
}

func (t *tables) source(name string) uint32 {
	no, ok := t.srcNos[name]
	if !ok {
		no = uint32(len(t.sources))
		t.sources = append(t.sources, name)
		t.srcNos[name] = no
	}
	return no
}

// driveState is what the ledger says of a drive.
type driveState struct {
	label   string
	removed bool
	travels bool // goes away and comes back: nothing but whole copies are on it, and no protection counts on it
}

// view is what a ledger says up to some segment.
type view struct {
	survive int
	drives  map[string]driveState
	idx     *index
	// graves are blobs that are deleted but that a segment may still speak of, and the segments that say that they are: numbers
	// in tables.sources.
	graves map[nameKey]uint32
}

func newView() *view {
	return &view{survive: DefaultSurvive, drives: make(map[string]driveState), idx: newIndex(), graves: make(map[nameKey]uint32)}
}

// apply replays a segment. A fact takes the place of every older one of its blob; a tombstone removes them.
func (v *view) apply(t *tables, s *segment) {
	nos := make([]driveNo, 256)
	for i := range nos {
		nos[i] = nowhere
	}
	for i, id := range s.drives {
		nos[i] = t.drive(id)
	}
	own := t.source(s.id.String())
	sources := make([]uint32, len(s.sources))
	for i, name := range s.sources {
		sources[i] = t.source(name)
	}
	places := make(map[string]uint32) // by the segment's own drive numbers: nearly all facts have one of a few
	var last nameKey                  // several facts of a blob, one after another, count together
	s.each(func(r *record) {
		switch r.kind {
		case factRecord:
			e := entry{size: uint32(r.size), src: own, off: r.off, sum: r.sum, rec: own}
			if r.source > 0 {
				e.src = sources[r.source-1]
			}
			key := r.place.key()
			no, ok := places[key]
			if !ok {
				p := r.place
				p.holders = make([]driveNo, len(r.place.holders))
				for i, h := range r.place.holders {
					p.holders[i] = nos[h]
				}
				no = t.place(p)
				places[key] = no
			}
			e.place = no
			if r.name == last {
				v.idx.setKey(r.name, append(v.idx.chainKey(r.name), e)...)
			} else {
				v.idx.setKey(r.name, e)
				delete(v.graves, r.name)
			}
			last = r.name
		case tombstoneRecord:
			v.bury(r.name, v.idx.getKey(r.name) != 0, own)
			v.idx.setKey(r.name)
			last = nameKey{}
		case driveRecord:
			t.drive(r.id)
			v.drives[r.id] = r.drive
		case surviveRecord:
			v.survive = r.survive
		}
	})
}

// bury remembers which segment says that a blob is deleted, if it is known or was, for then another may speak of it.
func (v *view) bury(name nameKey, known bool, segment uint32) {
	if _, ok := v.graves[name]; ok || known {
		v.graves[name] = segment
	}
}

// union adds what another branch of a forked ledger knows: no delete crosses a fork, and a drive that either branch
// counts on is counted on. One that travels for either branch travels: then nothing counts on its being here.
func (v *view) union(t *tables, w *view) {
	v.survive = max(v.survive, w.survive)
	for id, d := range w.drives {
		mine, ok := v.drives[id]
		switch {
		case !ok || mine.removed:
			v.drives[id] = d
		case !d.removed:
			mine.travels = mine.travels || d.travels
			v.drives[id] = mine
		}
	}
	for name := range w.idx.all() {
		mine := v.idx.chainKey(name)
		changed := false
		for _, e := range w.idx.chainKey(name) {
			var c bool
			mine, c = t.merge(mine, e)
			changed = changed || c
		}
		if changed {
			for i := range mine {
				mine[i].rec = 0
			}
			v.idx.setKey(name, mine...)
			delete(v.graves, name)
		}
	}
}

// merge adds a fact to those of a blob: one that says the same is left out, whole copies of the same bytes are joined.
func (t *tables) merge(es []entry, e entry) ([]entry, bool) {
	for i, mine := range es {
		if mine.size != e.size || mine.sum != e.sum {
			continue
		}
		if mine.place == e.place {
			return es, false
		}
		p, q := t.places[mine.place], t.places[e.place]
		if p.k == 1 && q.k == 1 && p.side == q.side {
			p.holders = slices.Clone(p.holders)
			for _, h := range q.holders {
				if !slices.Contains(p.holders, h) {
					p.holders = append(p.holders, h)
				}
			}
			p.m = len(p.holders) - 1
			es[i].place = t.place(p)
			return es, true
		}
	}
	return append(es, e), true
}
