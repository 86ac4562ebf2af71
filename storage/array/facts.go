package array

import (
	"cmp"
	"slices"
)

// fact is a blob's entry spelled out, good without the lock.
type fact struct {
	name string
	shape
	place  placement
	files  []holder // by shard, or copies; the member is nil where the drive is not present
	sides  []holder // their side parity, on the same drives; none if there is none
	source string   // segment that holds the checksums
	off    uint32
	sum    uint32
	table  []byte // the checksums, while they are pending
	counts int    // drives that hold it, present or away
}

// facts returns what is known of a blob, best readable first; none if it does not exist.
func (a *Array) facts(name string) []fact {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var fs []fact
	for i := a.led.idx.get(name); i != 0; i = a.led.idx.entries[i].next {
		fs = append(fs, a.fact(name, i))
	}
	slices.SortStableFunc(fs, func(x, y fact) int { return cmp.Compare(y.present()-y.k, x.present()-x.k) })
	return fs
}

// fact spells entry i out. The caller holds mu.
func (a *Array) fact(name string, i uint32) fact {
	e := a.led.idx.entries[i]
	f := fact{
		name: name, shape: a.led.shapeOf(e), place: a.led.places[e.place],
		source: a.led.sources[e.src], off: e.off, sum: e.sum,
	}
	if r := a.held[i]; r != nil {
		f.table = r.tableOf(i)
	}
	for i, no := range f.place.holders {
		f.files = append(f.files, holder{a.member(no), f.path(name, i)})
		if f.shape.side != noSide {
			f.sides = append(f.sides, holder{a.member(no), f.sidePath(name, i)})
		}
		if a.known(no) {
			f.counts++
		}
	}
	return f
}

// blobFile is one of the files that a blob is made of.
type blobFile struct {
	i    int  // of the fact's files
	side bool // its side parity
	h    holder
}

// all lists the files of a blob, shards or copies first, those of drives that are not present too.
func (f fact) all() []blobFile {
	var all []blobFile
	for i, h := range f.files {
		all = append(all, blobFile{i, false, h})
	}
	for i, h := range f.sides {
		all = append(all, blobFile{i, true, h})
	}
	return all
}

// shardOf is the shard that file i holds: all copies hold shard 0.
func (s shape) shardOf(i int) int {
	if s.k == 1 {
		return 0
	}
	return i
}

// fileLen is the length of a file, in bytes.
func (s shape) fileLen(b blobFile) int64 {
	if b.side {
		return s.sectors(s.shardOf(b.i)).parityLen()
	}
	return s.shardLen(s.shardOf(b.i))
}

// present counts the files whose drives are.
func (f fact) present() int {
	n := 0
	for _, h := range f.files {
		if h.m != nil {
			n++
		}
	}
	return n
}
