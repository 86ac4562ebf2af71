package vault

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
)

// An index knows every blob's places. Its memory is counted, because a million blobs must fit in less than 50 MB: 40 bytes a
// place, of which 32 are the hash, 8 more if it is compressed, 1.3 to 2.7 for finding it, and about 70 a pack. That is why the places of a pack lie side
// by side in the order of the pack, as runs: whose pack a place is in, and where a blob ends, its run tells. No hash is
// shortened: two blobs are the same if all of it is.
type index struct {
	mu       sync.RWMutex
	seed     uint64 // so that nobody can choose blobs that collide
	blocks   [][]cell
	n        int      // cells in all blocks
	zipped   []plain  // of the cells that are compressed, in their order
	heads    []uint32 // number of the newest cell of a chain plus 1. A power of two long
	runs     []run    // in order of their cells
	packs    []pack
	packHead []uint32                // number of the newest pack of a chain plus 1. A power of two long
	open     map[blobKey]place       // places in packs that have no name yet
	opened   map[uint32][]packedBlob // the same, by pack
}

// A cell is a place in memory.
type cell struct {
	id   hash
	off  uint32 // bytes from the pack's beginning, and two flags
	next uint32 // the next older cell of the chain plus 1; 0 is the end
}

// Flags in a cell's off; maxPack is well below.
const (
	treeBit   = 1 << 31
	zippedBit = 1 << 30
	offMask   = zippedBit - 1
)

// A plain is the plain of a packedBlob. Photos and videos have none.
type plain struct{ cell, size uint32 }

// A run is cells of one pack whose blobs follow each other without a gap. A pack has one run, unless index files are at odds.
type run struct {
	first uint32 // its first cell
	end   uint32 // where its last blob ends, in bytes from the pack's beginning
	pack  uint32
	more  uint32 // another run of the same pack plus 1; 0 is none
}

// A place is one of the places of a blob.
type place struct {
	packedBlob
	pack uint32 // its number
}

type blobKey struct {
	id  hash
	typ blobType
}

// A pack is what the index knows about a pack.
type pack struct {
	id    hash
	size  int64  // bytes, the header included; 0 if not known
	run   uint32 // number of its newest run plus 1
	next  uint32 // the next older pack of the chain plus 1
	state packState
}

type packState byte

const (
	packStored packState = iota
	packOpen             // being filled or put; it has no name yet
	packLost             // could not be put, or is dropped: its places do not count
)

// blockSize is the number of cells that are allocated at once: memory grows without anything being copied.
const blockSize = 4096

func newIndex() *index {
	return &index{seed: rand.Uint64() | 1, heads: make([]uint32, 1024), packHead: make([]uint32, 256),
		open: map[blobKey]place{}, opened: map[uint32][]packedBlob{}}
}

func (x *index) at(i uint32) *cell { return &x.blocks[i/blockSize][i%blockSize] }

// slot is the chain of id among n.
func (x *index) slot(id hash, n int) uint32 {
	h := binary.LittleEndian.Uint64(id[:]) * x.seed
	return uint32(h>>32) & uint32(n-1)
}

// runOf is the number of the run that a cell is in.
func (x *index) runOf(i uint32) int {
	return sort.Search(len(x.runs), func(r int) bool { return x.runs[r].first > i }) - 1
}

// place is a cell as a place, given the number of its run.
func (x *index) place(i uint32, r int) place {
	c, end := x.at(i), x.runs[r].end
	if last := x.runEnd(r) - 1; i != last {
		end = x.at(i+1).off & offMask
	}
	p := place{packedBlob{id: c.id, off: c.off & offMask}, x.runs[r].pack}
	p.length = end - p.off
	if c.off&treeBit != 0 {
		p.typ = treeBlob
	}
	if c.off&zippedBit != 0 {
		at, _ := slices.BinarySearchFunc(x.zipped, i, func(z plain, i uint32) int { return cmp.Compare(z.cell, i) })
		p.plain = x.zipped[at].size
	}
	return p
}

// runEnd is the number of the cell after a run's last.
func (x *index) runEnd(r int) uint32 {
	if r+1 < len(x.runs) {
		return x.runs[r+1].first
	}
	return uint32(x.n)
}

// chain calls yield with the cells of a blob in stored packs, the newest first, until it returns false. x.mu is held.
func (x *index) chain(typ blobType, id hash, yield func(i uint32, r int) bool) {
	for i := x.heads[x.slot(id, len(x.heads))]; i != 0; {
		c := x.at(i - 1)
		if c.id == id && (c.off&treeBit != 0) == (typ == treeBlob) {
			if r := x.runOf(i - 1); x.packs[x.runs[r].pack].state == packStored && !yield(i-1, r) {
				return
			}
		}
		i = c.next
	}
}

// find appends the places of a blob to dst, the newest last.
func (x *index) find(typ blobType, id hash, dst []place) []place {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := len(dst)
	if p, ok := x.open[blobKey{id, typ}]; ok {
		dst = append(dst, p)
	}
	x.chain(typ, id, func(i uint32, r int) bool {
		dst = append(dst, x.place(i, r))
		return true
	})
	slices.Reverse(dst[n:])
	return dst
}

// size is the plain length of a blob.
func (x *index) size(typ blobType, id hash) (size int64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p, ok := x.open[blobKey{id, typ}]; ok {
		return p.packedBlob.size(), true
	}
	x.chain(typ, id, func(i uint32, r int) bool {
		size, ok = x.place(i, r).packedBlob.size(), true
		return false
	})
	return size, ok
}

// first is the number of the cell of a blob's oldest place, and so a number for the blob itself, below count.
func (x *index) first(typ blobType, id hash) (uint32, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.firstLocked(typ, id)
}

func (x *index) firstLocked(typ blobType, id hash) (first uint32, ok bool) {
	x.chain(typ, id, func(i uint32, _ int) bool {
		first, ok = i, true
		return true
	})
	return first, ok
}

// blob is the ID and the plain length of the blob with a number that first returned.
func (x *index) blob(first uint32) (hash, int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p := x.place(first, x.runOf(first)).packedBlob
	return p.id, p.size()
}

// count is how many cells there are: numbers of blobs are below.
func (x *index) count() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.n
}

// places calls yield with every place in a stored pack, and the number of its blob.
func (x *index) places(yield func(first uint32, p place)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for r := range x.runs {
		if x.packs[x.runs[r].pack].state != packStored {
			continue
		}
		for i := x.runs[r].first; i < x.runEnd(r); i++ {
			p := x.place(i, r)
			if first, ok := x.firstLocked(p.typ, p.id); ok {
				yield(first, p)
			}
		}
	}
}

// add records a place in a pack that is open.
func (x *index) add(num uint32, b packedBlob) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open[blobKey{b.id, b.typ}] = place{b, num}
	x.opened[num] = append(x.opened[num], b)
}

// addPack records what a stored pack holds and returns its number. Places that are known already are not recorded again.
// The size may be 0 for not known. It sorts blobs.
func (x *index) addPack(id hash, size int64, blobs []packedBlob) (num uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	num, ok := x.packNumber(id)
	if !ok {
		num = uint32(len(x.packs))
		x.packs = append(x.packs, pack{id: id, size: size})
		x.chainPack(num)
	}
	if x.packs[num].run != 0 {
		known := x.blobsOf(num)
		blobs = slices.DeleteFunc(blobs, func(b packedBlob) bool {
			i, ok := slices.BinarySearchFunc(known, b, packedBlob.compare)
			return ok && known[i] == b
		})
	}
	x.addRuns(num, blobs)
	return num
}

// compare orders the blobs of a pack: by place, and where places are at odds by hash.
func (b packedBlob) compare(c packedBlob) int {
	return cmp.Or(cmp.Compare(b.off, c.off), slices.Compare(b.id[:], c.id[:]), cmp.Compare(b.typ, c.typ),
		cmp.Compare(b.length, c.length), cmp.Compare(b.plain, c.plain))
}

// addRuns appends the cells of a stored pack. x.mu is held.
func (x *index) addRuns(num uint32, blobs []packedBlob) {
	slices.SortFunc(blobs, packedBlob.compare)
	for i, b := range blobs {
		if i > 0 && b == blobs[i-1] {
			continue
		}
		if i == 0 || b.off != x.runs[len(x.runs)-1].end {
			x.runs = append(x.runs, run{first: uint32(x.n), pack: num, more: x.packs[num].run})
			x.packs[num].run = uint32(len(x.runs))
		}
		x.runs[len(x.runs)-1].end = b.off + b.length
		x.addCell(b)
	}
}

// addCell appends a cell. x.mu is held.
func (x *index) addCell(b packedBlob) {
	if x.n >= 3*len(x.heads) {
		x.heads = make([]uint32, 2*len(x.heads))
		for i := range uint32(x.n) {
			x.link(i)
		}
	}
	if x.n%blockSize == 0 {
		x.blocks = append(x.blocks, make([]cell, blockSize))
	}
	i := uint32(x.n)
	x.n++
	*x.at(i) = cell{id: b.id, off: b.off}
	if b.typ == treeBlob {
		x.at(i).off |= treeBit
	}
	if b.plain != 0 {
		x.at(i).off |= zippedBit
		x.zipped = append(x.zipped, plain{i, b.plain})
	}
	x.link(i)
}

// link puts a cell at the head of its chain.
func (x *index) link(i uint32) {
	c := x.at(i)
	h := x.slot(c.id, len(x.heads))
	c.next, x.heads[h] = x.heads[h], i+1
}

// chainPack makes a pack findable by its name. x.mu is held.
func (x *index) chainPack(num uint32) {
	link := func(num uint32) {
		h := x.slot(x.packs[num].id, len(x.packHead))
		x.packs[num].next, x.packHead[h] = x.packHead[h], num+1
	}
	if len(x.packs) >= 2*len(x.packHead) {
		x.packHead = make([]uint32, 2*len(x.packHead))
		for n, p := range x.packs {
			if p.state != packOpen && uint32(n) != num {
				link(uint32(n))
			}
		}
	}
	link(num)
}

// packNumber is the number of a stored pack. x.mu is held.
func (x *index) packNumber(id hash) (uint32, bool) {
	for n := x.packHead[x.slot(id, len(x.packHead))]; n != 0; n = x.packs[n-1].next {
		if p := &x.packs[n-1]; p.id == id && p.state == packStored {
			return n - 1, true
		}
	}
	return 0, false
}

// storedPack returns the number of a stored pack.
func (x *index) storedPack(id hash) (num uint32, known bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.packNumber(id)
}

// packCount is the number that the next pack gets.
func (x *index) packCount() uint32 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return uint32(len(x.packs))
}

// openPack makes a number for a pack that has no name yet.
func (x *index) openPack() uint32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.packs = append(x.packs, pack{state: packOpen})
	return uint32(len(x.packs) - 1)
}

// closePack says how the pack that openPack numbered ended: packStored or packLost.
func (x *index) closePack(num uint32, id hash, size int64, state packState) {
	x.mu.Lock()
	defer x.mu.Unlock()
	blobs := x.opened[num]
	delete(x.opened, num)
	for _, b := range blobs {
		if key := (blobKey{b.id, b.typ}); x.open[key].pack == num {
			delete(x.open, key)
		}
	}
	if len(x.open) == 0 {
		x.open = map[blobKey]place{} // a map never shrinks
	}
	x.packs[num] = pack{id: id, size: size, state: state}
	if state == packStored {
		x.chainPack(num)
		x.addRuns(num, blobs)
	}
}

// setSize notes the size of a pack.
func (x *index) setSize(num uint32, size int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.packs[num].size = size
}

// pack returns what is known about a pack.
func (x *index) pack(num uint32) pack {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.packs[num]
}

// blobs lists what a stored pack holds, in order of place.
func (x *index) blobs(num uint32) []packedBlob {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.blobsOf(num)
}

func (x *index) blobsOf(num uint32) (blobs []packedBlob) {
	if x.packs[num].state != packStored {
		return nil
	}
	several := false
	for r := x.packs[num].run; r != 0; r = x.runs[r-1].more {
		several = several || len(blobs) > 0
		for i := x.runs[r-1].first; i < x.runEnd(int(r-1)); i++ {
			blobs = append(blobs, x.place(i, int(r-1)).packedBlob)
		}
	}
	if several {
		slices.SortFunc(blobs, packedBlob.compare)
	}
	return blobs
}

// drop forgets packs: their places do not count any more.
func (x *index) drop(nums []uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range nums {
		x.packs[n].state = packLost
	}
}
