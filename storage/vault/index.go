package vault

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// An index knows every blob's places. It is a hash table of our own because a million blobs must fit in about 64 MB:
// 48 bytes a place and 4 to 8 for the table.
type index struct {
	mu     sync.RWMutex
	seed   uint64 // so that nobody can choose blobs that collide
	blocks [][]place
	n      int      // places in all blocks
	table  []uint32 // number of a place plus 1; 0 is empty. A power of two long
	packs  []pack
	nums   map[hash]uint32 // numbers of the packs that have a name
}

// A place is one of the places of a blob.
type place struct {
	packedBlob
	pack uint32 // its number
}

// A pack is what the index knows about a pack.
type pack struct {
	id    hash
	size  int64 // bytes, the header included
	state packState
}

type packState byte

const (
	packStored packState = iota
	packOpen             // being filled or put; it has no name yet
	packLost             // could not be put: its places do not count
)

// blockSize is the number of places that are allocated at once.
const blockSize = 4096

func newIndex() *index {
	return &index{seed: rand.Uint64() | 1, table: make([]uint32, 1024), nums: map[hash]uint32{}}
}

func (x *index) at(i uint32) *place { return &x.blocks[i/blockSize][i%blockSize] }

// slot is where looking for id begins.
func (x *index) slot(id hash) uint32 {
	h := binary.LittleEndian.Uint64(id[:]) * x.seed
	return uint32(h>>32) & uint32(len(x.table)-1)
}

// find appends the places of a blob to dst, the newest last.
func (x *index) find(typ blobType, id hash, dst []place) []place {
	x.mu.RLock()
	defer x.mu.RUnlock()
	mask := uint32(len(x.table) - 1)
	for i := x.slot(id); x.table[i] != 0; i = (i + 1) & mask {
		if p := x.at(x.table[i] - 1); p.id == id && p.typ == typ && x.packs[p.pack].state != packLost {
			dst = append(dst, *p)
		}
	}
	return dst
}

// size is the plain length of a blob.
func (x *index) size(typ blobType, id hash) (int64, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	mask := uint32(len(x.table) - 1)
	for i := x.slot(id); x.table[i] != 0; i = (i + 1) & mask {
		if p := x.at(x.table[i] - 1); p.id == id && p.typ == typ && x.packs[p.pack].state != packLost {
			return p.packedBlob.size(), true
		}
	}
	return 0, false
}

// add records a place. A place that is known already is not recorded again.
func (x *index) add(num uint32, b packedBlob) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if 4*(x.n+1) > 3*len(x.table) {
		x.grow()
	}
	mask := uint32(len(x.table) - 1)
	i := x.slot(b.id)
	for ; x.table[i] != 0; i = (i + 1) & mask {
		if p := x.at(x.table[i] - 1); p.pack == num && p.packedBlob == b {
			return
		}
	}
	if x.n%blockSize == 0 {
		x.blocks = append(x.blocks, make([]place, blockSize))
	}
	*x.at(uint32(x.n)) = place{b, num}
	x.n++
	x.table[i] = uint32(x.n)
}

// grow doubles the table.
func (x *index) grow() {
	x.table = make([]uint32, 2*len(x.table))
	mask := uint32(len(x.table) - 1)
	for n := range uint32(x.n) {
		i := x.slot(x.at(n).id)
		for x.table[i] != 0 {
			i = (i + 1) & mask
		}
		x.table[i] = n + 1
	}
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

// storedPack returns the number of a stored pack, a new one if it is not known. The size may be 0 for not known.
func (x *index) storedPack(id hash, size int64) (num uint32, known bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if num, ok := x.nums[id]; ok {
		return num, true
	}
	num = uint32(len(x.packs))
	x.packs = append(x.packs, pack{id: id, size: size})
	x.nums[id] = num
	return num, false
}

// closePack says how the pack that openPack numbered ended.
func (x *index) closePack(num uint32, id hash, size int64, state packState) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.packs[num] = pack{id: id, size: size, state: state}
	if state == packStored {
		x.nums[id] = num
	}
}

// pack returns what is known about a pack.
func (x *index) pack(num uint32) pack {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.packs[num]
}

// byPack returns the places of the packs that want accepts, by pack number, in no order within a pack. want must not use
// the index.
func (x *index) byPack(want func(num uint32, p pack) bool) map[uint32][]packedBlob {
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := map[uint32][]packedBlob{}
	for i := range uint32(x.n) {
		if p := x.at(i); want(p.pack, x.packs[p.pack]) {
			m[p.pack] = append(m[p.pack], p.packedBlob)
		}
	}
	return m
}
