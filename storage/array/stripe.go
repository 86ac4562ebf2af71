package array

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// coders makes Reed-Solomon coders once for each k and m. The field and matrix are the library's (FORMAT.md, "Reed-
// Solomon"): GF(2⁸) with polynomial 0x11d; one parity shard is the exclusive or of the data.
type coders struct {
	castagnoli *crc32.Table
	mu         sync.Mutex // guards made
	made       map[[2]int]reedsolomon.Encoder
}

func newCoders() *coders {
	return &coders{castagnoli: crc32.MakeTable(crc32.Castagnoli), made: make(map[[2]int]reedsolomon.Encoder)}
}

func (c *coders) get(k, m int) (reedsolomon.Encoder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.made[[2]int{k, m}]; e != nil {
		return e, nil
	}
	// One goroutine: blocks are small, and the other cores have encryption to do.
	e, err := reedsolomon.New(k, m, reedsolomon.WithFastOneParityMatrix(), reedsolomon.WithMaxGoroutines(1))
	if err == nil {
		c.made[[2]int{k, m}] = e
	}
	return e, err
}

func (c *coders) sum(p []byte) uint32 { return crc32.Checksum(p, c.castagnoli) }

// sums appends the CRC-32C of each block of p to table.
func (c *coders) sums(table, p []byte, block int) []byte {
	for len(p) > 0 {
		n := min(block, len(p))
		table = binary.LittleEndian.AppendUint32(table, c.sum(p[:n]))
		p = p[n:]
	}
	return table
}

// encode computes the parity shards of a blob and the checksums of all its shards in one pass, a column of blocks at
// a time while it is in the CPU's cache. It copies no data but the last, short block.
func (c *coders) encode(p []byte, s shape, parity [][]byte) (table []byte, err error) {
	e, err := c.get(s.k, s.m)
	if err != nil {
		return nil, err
	}
	table = make([]byte, s.tableLen())
	var pad [blockSize]byte // the tail of the last data shard
	var zero [blockSize]byte
	column := make([][]byte, s.shards())
	stripe := s.stripe()
	for at := int64(0); at < stripe; at += blockSize {
		n := min(blockSize, stripe-at)
		for i := range column {
			switch have := min(max(s.shardLen(i)-at, 0), n); {
			case i >= s.k:
				column[i] = parity[i-s.k][at : at+n]
			case have == n:
				column[i] = p[int64(i)*stripe+at:][:n]
			case have == 0:
				column[i] = zero[:n]
			default:
				clear(pad[copy(pad[:], p[int64(i)*stripe+at:][:have]):])
				column[i] = pad[:n]
			}
		}
		if err := e.Encode(column); err != nil {
			return nil, err
		}
		for i := range column {
			if have := min(max(s.shardLen(i)-at, 0), n); have > 0 {
				binary.LittleEndian.PutUint32(table[s.tableAt(i)+4*int(at/blockSize):], c.sum(column[i][:have]))
			}
		}
	}
	return table, nil
}

// rebuild computes block b of shard target from blocks of other shards, which have[i] holds where they are good, each
// as long as its shard has bytes there. It needs at least k of them. The block is in dst if its capacity suffices.
func (c *coders) rebuild(s shape, target int, at int64, have [][]byte, dst []byte) ([]byte, error) {
	e, err := c.get(s.k, s.m)
	if err != nil {
		return nil, err
	}
	n := int(min(blockSize, s.stripe()-at))
	column := make([][]byte, s.shards())
	need := make([]bool, s.shards())
	need[target] = true
	for i := range column {
		switch {
		case i == target:
			column[i] = dst[:0]
		case s.shardLen(i) <= at: // past the end of the last data shard: zeros, known without reading
			column[i] = make([]byte, n)
		case have[i] == nil:
		case len(have[i]) == n:
			column[i] = have[i]
		default:
			column[i] = append(make([]byte, 0, n), have[i]...)[:n]
		}
	}
	if err := e.ReconstructSome(column, need); err != nil {
		return nil, err
	}
	return column[target][:min(int64(n), s.shardLen(target)-at)], nil
}
