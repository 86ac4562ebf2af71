package array

import (
	"cmp"
	"slices"
)

const (
	ledgerDir = "ledger/"
	// copyDir holds a second copy of each segment where there is only one drive to write to, against bad sectors.
	copyDir = "ledger-copy/"
	// maxSegments bounds how many segments a ledger may list on one drive.
	maxSegments = 1 << 20
)

// holder is a file on a member.
type holder struct {
	m    *member
	path string
}

// ledgerFile is one segment and where it is.
type ledgerFile struct {
	id      segmentID
	size    int64 // of the first copy listed, bytes
	holders []holder
	bad     []holder // copies found damaged
	// needed segments are kept on every member: those that a replay reads, and those whose checksums facts name.
	needed bool
	// chained segments are those that a replay reads, in the order of their counters: one without its parent would make the
	// ledger look damaged.
	chained bool
	next    []string // segments of the chain that were written after it, when the ledger was read
}

// ledger is what the members' ledgers say together.
type ledger struct {
	*tables
	*view
	array      [16]byte
	files      map[string]*ledgerFile
	heads      []parent // segments that nothing was written after; several after a fork
	covers     map[[16]byte]uint64
	highest    uint64   // count in use
	pieces     []parent // what the last checkpoint reads before itself, and itself
	since      debt     // since the last checkpoint
	incomplete bool
}

// debt is what the next checkpoint has to take up.
type debt struct {
	segments int
	bytes    int64 // as far as it would be written anew
}

func (d *debt) add(s *segment) {
	d.segments++
	d.bytes += s.tablesAt
	if s.tablesAt+s.tablesLen < smallSegment {
		d.bytes += s.tablesLen
	}
}

// sortPrompt puts drives that failed or stalled last.
func sortPrompt(holders []holder) {
	rank := func(h holder) int { return int(boolByte(h.m.isSuspect())) + 2*int(boolByte(!h.m.up())) }
	slices.SortStableFunc(holders, func(x, y holder) int { return cmp.Compare(rank(x), rank(y)) })
}

// markBad moves a copy from the good to the damaged ones.
func (f *ledgerFile) markBad(h holder) {
	f.holders = slices.DeleteFunc(slices.Clone(f.holders), func(o holder) bool { return o == h })
	f.bad = append(f.bad, h)
}

func (l *ledger) cover(id segmentID) {
	l.covers[id.session] = max(l.covers[id.session], id.counter)
}

// tableBytes counts the bytes of live checksums in each source.
func (l *ledger) tableBytes() []int64 {
	n := make([]int64, len(l.sources))
	for _, i := range l.idx.all() {
		for ; i != 0; i = l.idx.entries[i].next {
			e := l.idx.entries[i]
			n[e.src] += int64(l.shapeOf(e).tableLen()) + 1 // a blob without bytes has no checksums, and a source
		}
	}
	return n
}

func (l *ledger) shapeOf(e entry) shape {
	p := l.places[e.place]
	return shape{int64(e.size), p.k, p.m, p.side}
}

// coverList is covers in an order that does not change.
func (l *ledger) coverList() []cover {
	cs := make([]cover, 0, len(l.covers))
	for s, n := range l.covers {
		cs = append(cs, cover{s, n})
	}
	slices.SortFunc(cs, func(a, b cover) int {
		return cmp.Or(cmp.Compare(a.upTo, b.upTo), slices.Compare(a.session[:], b.session[:]))
	})
	return cs
}
