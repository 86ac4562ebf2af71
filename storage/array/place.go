package array

import (
	"fmt"

	"phonebackupbox/storage"
)

const (
	// blockSize is what one checksum covers, in bytes.
	blockSize = 64 << 10
	// smallBlob is the size from which blobs are striped, in bytes; smaller ones go whole to every drive.
	smallBlob = 256 << 10
	// maxSize is the largest blob, in bytes: the index keeps sizes in 32 bits.
	maxSize = 1 << 30
	// maxName leaves room within storage.ValidName's 200 bytes for what a drive's file names add, in bytes.
	maxName = 180
	// maxStripe is the most drives one blob is spread over. Wider gains no room worth having and costs a seek each.
	maxStripe = 32
)

// driveNo numbers the drives that the ledger names; it is good until the ledger is loaded again.
type driveNo = uint8

// nowhere stands for a shard that no drive holds.
const nowhere driveNo = 255

// placement says on which drives a blob is.
type placement struct {
	k, m int
	// holders has, for k > 1, the drive of each of the k+m shards; for k = 1 the drives with a whole copy.
	holders []driveNo
	// side is the parity against bad sectors that each holder has beside its shard or copy.
	side sideKind
}

func (p placement) key() string {
	return string(append([]byte{byte(p.k), byte(p.m), byte(p.side)}, p.holders...))
}

// shape is what a blob's size and placement say about its files.
type shape struct {
	size int64
	k, m int
	side sideKind
}

func blocks(size int64) int { return int((size + blockSize - 1) / blockSize) }

// shards is how many different files the blob is made of, copies counted once and side parity not at all.
func (s shape) shards() int {
	if s.k == 1 {
		return 1
	}
	return s.k + s.m
}

// stripe is the length of all shards but perhaps the last data shard, in bytes.
func (s shape) stripe() int64 { return (s.size + int64(s.k) - 1) / int64(s.k) }

// shardLen is the length of shard i: data shards hold the blob's bytes from i×stripe on and end where the blob ends.
func (s shape) shardLen(i int) int64 {
	if i >= s.k {
		return s.stripe()
	}
	return max(min(s.stripe(), s.size-int64(i)*s.stripe()), 0)
}

// tableLen is the length of the blob's checksums, in bytes.
func (s shape) tableLen() int {
	n := 0
	for i := range s.shards() {
		n += blocks(s.shardLen(i))
	}
	for i := range s.shards() {
		n += s.sectors(i).parityBlocks()
	}
	return 4 * n
}

// sectors is the parity against bad sectors of shard i.
func (s shape) sectors(i int) sectors { return sectorShape(s.shardLen(i), s.side) }

// sideAt is where the checksums of shard i's side parity begin within the blob's, in bytes.
func (s shape) sideAt(i int) int {
	n := s.tableAt(s.shards())
	for j := range i {
		n += 4 * s.sectors(j).parityBlocks()
	}
	return n
}

// tableAt is where shard i's checksums begin within the blob's, in bytes; i = shards() is where those of the side parity do.
func (s shape) tableAt(i int) int {
	n := 0
	for j := range i {
		n += blocks(s.shardLen(j))
	}
	return 4 * n
}

// Files on a member.

func wholePath(name string) string { return "vault/" + name }

func healPath(file string) string { return "heal/" + file }

func shardPath(name string, k, m, i int) string {
	return fmt.Sprintf("shards/%s.%d.%d.%d", name, k, m, i)
}

// path is the file that holds shard i of a blob.
func (s shape) path(name string, i int) string {
	if s.k == 1 {
		return wholePath(name)
	}
	return shardPath(name, s.k, s.m, i)
}

// sidePath is the file that holds the side parity of shard i of a blob.
func (s shape) sidePath(name string, i int) string {
	if s.k == 1 {
		return "parity/" + name
	}
	return shardPath(name, s.k, s.m, i) + ".p"
}

// candidate is a drive that a blob may be put on.
type candidate struct {
	no      driveNo
	m       *member
	free    int64
	travels bool
}

// choose places a blob of some size on the candidates, which are sorted by free room, most first. The stripe is the
// widest that survives m losses and fits; with fewer drives than that it is as protected as it can be. Drives that
// travel get whole copies and no shards: what stays at home has its full protection without them. turn rotates the
// shards over the drives, so that reading is shared. It returns false if the blob fits nowhere.
func choose(size int64, survive int, all []candidate, turn int) (placement, bool) {
	var home, travelling []candidate
	for _, c := range all {
		if c.travels {
			travelling = append(travelling, c)
		} else {
			home = append(home, c)
		}
	}
	home = home[:min(len(home), maxStripe)]
	if size >= smallBlob && survive > 0 {
		for n := len(home); n > survive+1; n-- {
			p := placement{k: n - survive, m: survive, side: exclusiveOr}
			s := shape{size, p.k, p.m, p.side}
			if need := s.stripe() + s.sectors(0).parityLen(); home[n-1].free < need {
				continue // the fullest of them has no room: narrower, without it
			}
			for i := range n {
				p.holders = append(p.holders, home[(i+turn)%n].no)
			}
			return p, true
		}
	}
	if size >= smallBlob {
		home = home[:min(len(home), survive+1)]
	}
	return chooseCopies(size, append(home, travelling...))
}

// chooseCopies places whole copies of a blob on all drives that have room.
func chooseCopies(size int64, c []candidate) (placement, bool) {
	p := placement{k: 1}
	least := int64(maxSize) * 2
	for _, d := range c {
		if d.free >= size {
			p.holders = append(p.holders, d.no)
			least = min(least, d.free)
		}
	}
	if len(p.holders) == 0 {
		return p, false
	}
	p.m = len(p.holders) - 1
	side := noSide
	switch {
	case len(p.holders) == 1 && size > 0:
		side = reedSolomon
	case size >= smallBlob:
		side = exclusiveOr
	}
	if least >= size+sectorShape(size, side).parityLen() {
		p.side = side
	}
	return p, true
}

// spare is how many more drives may die before the blob is lost, given which drives count; negative if it is lost.
func (p placement) spare(counts func(driveNo) bool) int {
	n := 0
	for _, no := range p.holders {
		if no != nowhere && counts(no) {
			n++
		}
	}
	return n - p.k
}

// checkName refuses names that an array cannot keep.
func checkName(op, name string) error {
	if !storage.ValidName(name) || len(name) > maxName {
		return fmt.Errorf("array: %s %q: %w", op, name, errName)
	}
	return nil
}
