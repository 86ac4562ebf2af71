package array

import (
	"encoding/binary"
	"fmt"

	"phonebackupbox/storage"
)

// Parity against bad sectors: the blocks of a copy or shard are the data, and a file beside it on the same drive holds
// parity blocks, one for sixteen. Blocks take turns over the groups, so that a damaged run of neighbours is shared by all
// groups. It is what stands between a drive with a few bad sectors and loss when the other drives are dead.

// sideKind is how the parity against bad sectors is made. The numbers are part of the format.
type sideKind uint8

const (
	noSide sideKind = 0
	// exclusiveOr mends one bad block in each group of sixteen. It costs next to nothing: it is for blobs that other
	// drives protect as well.
	exclusiveOr sideKind = 1
	// reedSolomon mends any four bad blocks in each group of 64, so more scattered damage. Each byte goes into four
	// parity blocks: it is for the only copy.
	reedSolomon sideKind = 2
)

// sideShare is how many data blocks there are to a parity block.
const sideShare = 16

// groupBlocks is the most data blocks of a group.
func (k sideKind) groupBlocks() int {
	if k == reedSolomon {
		return 64
	}
	return sideShare
}

// sectors describes the side parity of a shard or copy.
type sectors struct {
	size   int64 // of what is protected, bytes
	block  int   // bytes: blockSize, or all of something smaller
	data   int   // blocks
	groups int
}

// sectorShape describes the side parity of size bytes; without any, it has no groups.
func sectorShape(size int64, kind sideKind) sectors {
	s := sectors{size: size, block: int(min(size, blockSize)), data: blocks(size)}
	if kind != noSide {
		s.groups = (s.data + kind.groupBlocks() - 1) / kind.groupBlocks()
	}
	return s
}

// members is how many data blocks group g has: those whose number leaves g when divided by groups.
func (s sectors) members(g int) int { return (s.data - g + s.groups - 1) / s.groups }

// parityOf is how many parity blocks group g has.
func (s sectors) parityOf(g int) int { return (s.members(g) + sideShare - 1) / sideShare }

// parityAt is the number of group g's first parity block in the side file.
func (s sectors) parityAt(g int) int {
	n := 0
	for i := range g {
		n += s.parityOf(i)
	}
	return n
}

func (s sectors) parityBlocks() int { return s.parityAt(s.groups) }

// parityLen is the length of the side file, in bytes.
func (s sectors) parityLen() int64 { return int64(s.parityBlocks()) * int64(s.block) }

// blockLen is how many bytes data block b has.
func (s sectors) blockLen(b int) int { return int(min(int64(s.block), s.size-int64(b)*blockSize)) }

// encodeSide computes the side file of a shard or copy into side, which is as long as that has to be.
func (c *coders) encodeSide(p []byte, s sectors, side []byte) error {
	for g := range s.groups {
		group := make([][]byte, 0, s.members(g)+s.parityOf(g))
		for b := g; b < s.data; b += s.groups {
			block := p[b*blockSize:][:s.blockLen(b)]
			if len(block) < s.block {
				block = append(make([]byte, 0, s.block), block...)[:s.block]
			}
			group = append(group, block)
		}
		for i := range s.parityOf(g) {
			group = append(group, side[(s.parityAt(g)+i)*s.block:][:s.block])
		}
		e, err := c.get(s.members(g), s.parityOf(g))
		if err != nil {
			return err
		}
		if err := e.Encode(group); err != nil {
			return err
		}
	}
	return nil
}

// rebuildSide computes data block want of a shard or copy from the good blocks of its group. read returns data block b, or,
// from s.data on, a block of the side file, verified, or an error.
func (c *coders) rebuildSide(s sectors, want int, read func(b int) ([]byte, error)) ([]byte, error) {
	g := want % s.groups
	group := make([][]byte, s.members(g)+s.parityOf(g))
	var errs []error
	for i := range group {
		b := g + i*s.groups
		if i >= s.members(g) {
			b = s.data + s.parityAt(g) + i - s.members(g)
		} else if b == want {
			continue
		}
		block, err := read(b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		group[i] = append(make([]byte, 0, s.block), block...)[:s.block]
	}
	if len(errs) >= s.parityOf(g) { // the wanted block is missing too
		return nil, fmt.Errorf("array: %d blocks of %d are bad: %w: %w", len(errs)+1, len(group), storage.ErrCorrupt, join(errs...))
	}
	e, err := c.get(s.members(g), s.parityOf(g))
	if err != nil {
		return nil, err
	}
	need := make([]bool, s.members(g))
	need[want/s.groups] = true
	if err := e.ReconstructSome(group, need); err != nil {
		return nil, fmt.Errorf("array: %w: %w", storage.ErrCorrupt, err)
	}
	return group[want/s.groups][:s.blockLen(want)], nil
}

// sumAt reads checksum i of a table.
func sumAt(table []byte, i int) uint32 { return binary.LittleEndian.Uint32(table[4*i:]) }
