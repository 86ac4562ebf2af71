package array

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
)

// sealedDirs are where restic keeps blobs that are named by their hash (restic, doc/design.rst, "Repository Layout").
// Their names are kept in binary, in memory and in the ledger: 33 bytes and not 73. The order is part of the format.
var sealedDirs = [...]string{1: "data/", 2: "index/", 3: "snapshots/", 4: "keys/"}

// sealedName is a name in one of sealedDirs.
type sealedName struct {
	dir  uint8
	hash [32]byte
}

// seal returns the binary form of a name, if it has one.
func seal(name string) (s sealedName, ok bool) {
	for i := 1; i < len(sealedDirs); i++ {
		rest, found := strings.CutPrefix(name, sealedDirs[i])
		if !found {
			continue
		}
		if i == 1 { // data/ab/abcd…
			if len(rest) != 3+64 || rest[2] != '/' || rest[:2] != rest[3:5] {
				return s, false
			}
			rest = rest[3:]
		}
		if len(rest) != 64 {
			return s, false
		}
		if _, err := hex.Decode(s.hash[:], []byte(rest)); err != nil || strings.ContainsAny(rest, "ABCDEF") {
			return sealedName{}, false
		}
		s.dir = uint8(i)
		return s, true
	}
	return s, false
}

func (s sealedName) String() string {
	h := hex.EncodeToString(s.hash[:])
	if s.dir == 1 {
		h = h[:2] + "/" + h
	}
	return sealedDirs[s.dir] + h
}

// nameKey is any blob's name as it is kept: in binary if it can be.
type nameKey struct {
	sealed sealedName // if its dir is not 0
	text   string     // otherwise
}

func keyOf(name string) nameKey {
	if s, ok := seal(name); ok {
		return nameKey{sealed: s}
	}
	return nameKey{text: name}
}

func (n nameKey) String() string {
	if n.sealed.dir != 0 {
		return n.sealed.String()
	}
	return n.text
}

func (n nameKey) compare(m nameKey) int {
	return cmp.Or(cmp.Compare(n.sealed.dir, m.sealed.dir), bytes.Compare(n.sealed.hash[:], m.sealed.hash[:]), strings.Compare(n.text, m.text))
}

// entry is a fact as it is kept in memory for each blob: 28 bytes. Checksums stay in the ledger.
type entry struct {
	size  uint32 // bytes; maxSize fits
	place uint32 // in tables.places
	src   uint32 // in tables.sources: the segment that holds the checksums; pendingSource while in memory only
	off   uint32 // of the checksums in that segment's table section
	sum   uint32 // CRC-32C of the checksums
	rec   uint32 // in tables.sources: the segment whose record this is; 0 if the next checkpoint has to say it
	next  uint32 // another fact of the same blob, from a fork, 0 if none
}

// index knows the facts of every live blob by its name, in about 95 bytes each. It is not safe for concurrent use.
type index struct {
	sealed  map[sealedName]uint32
	other   map[string]uint32
	entries []entry // 0 is none. Deleted ones stay until the ledger is loaded again.
}

func newIndex() *index {
	return &index{sealed: make(map[sealedName]uint32), other: make(map[string]uint32), entries: make([]entry, 1)}
}

// get returns the number of a blob's first entry, 0 if there is none.
func (x *index) get(name string) uint32 { return x.getKey(keyOf(name)) }

func (x *index) getKey(n nameKey) uint32 {
	if n.sealed.dir != 0 {
		return x.sealed[n.sealed]
	}
	return x.other[n.text]
}

// chain returns all entries of a blob.
func (x *index) chain(name string) []entry { return x.chainKey(keyOf(name)) }

func (x *index) chainKey(n nameKey) []entry {
	var es []entry
	for i := x.getKey(n); i != 0; i = x.entries[i].next {
		es = append(es, x.entries[i])
	}
	return es
}

// set makes es the facts of a blob; without any the blob is gone. It returns the number of the first.
func (x *index) set(name string, es ...entry) uint32 { return x.setKey(keyOf(name), es...) }

func (x *index) setKey(n nameKey, es ...entry) uint32 {
	var first uint32
	for _, e := range slices.Backward(es) {
		e.next = first
		x.entries = append(x.entries, e)
		first = uint32(len(x.entries) - 1)
	}
	if n.sealed.dir != 0 {
		setOrDelete(x.sealed, n.sealed, first)
	} else {
		setOrDelete(x.other, strings.Clone(n.text), first)
	}
	return first
}

func setOrDelete[K comparable](m map[K]uint32, k K, v uint32) {
	if v == 0 {
		delete(m, k)
	} else {
		m[k] = v
	}
}

// names returns the blobs with a prefix, sorted.
func (x *index) names(prefix string) []string {
	return slices.Collect(x.list(prefix))
}

// list takes down the blobs with a prefix and returns their names, sorted. They are spelled out as they are asked for: a
// hundred thousand packs take 3 MB so and not 10. What happens to the index meanwhile does not matter.
func (x *index) list(prefix string) iter.Seq[string] {
	var sealed []sealedName
	for s := range x.sealed {
		dir := sealedDirs[s.dir]
		if strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir) && strings.HasPrefix(s.String(), prefix) {
			sealed = append(sealed, s)
		}
	}
	slices.SortFunc(sealed, func(a, b sealedName) int {
		return cmp.Or(strings.Compare(sealedDirs[a.dir], sealedDirs[b.dir]), bytes.Compare(a.hash[:], b.hash[:]))
	})
	var other []string
	for name := range x.other {
		if strings.HasPrefix(name, prefix) {
			other = append(other, name)
		}
	}
	slices.Sort(other)
	return func(yield func(string) bool) {
		rest := other
		for _, s := range sealed {
			name := s.String()
			for len(rest) > 0 && rest[0] < name {
				if !yield(rest[0]) {
					return
				}
				rest = rest[1:]
			}
			if !yield(name) {
				return
			}
		}
		for _, name := range rest {
			if !yield(name) {
				return
			}
		}
	}
}

// all yields the blobs with the numbers of their first entries, in no order.
func (x *index) all() iter.Seq2[nameKey, uint32] {
	return func(yield func(nameKey, uint32) bool) {
		for s, i := range x.sealed {
			if !yield(nameKey{sealed: s}, i) {
				return
			}
		}
		for name, i := range x.other {
			if !yield(nameKey{text: name}, i) {
				return
			}
		}
	}
}
