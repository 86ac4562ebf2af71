package array

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Reed-Solomon as FORMAT.md says it, by the book and slowly, to hold the library to it.

func gfMul(a, b byte) byte {
	var p byte
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		high := a&0x80 != 0
		if a <<= 1; high {
			a ^= 0x1d
		}
	}
	return p
}

func gfInverse(a byte) byte {
	for b := range 256 {
		if gfMul(a, byte(b)) == 1 {
			return byte(b)
		}
	}
	return 0
}

func vandermonde(rows, cols int) [][]byte {
	v := make([][]byte, rows)
	for r := range v {
		v[r] = make([]byte, cols)
		x := byte(1)
		for c := range cols {
			v[r][c] = x
			x = gfMul(x, byte(r))
		}
	}
	return v
}

// inverse inverts a square matrix by Gauss and Jordan.
func inverse(m [][]byte) [][]byte {
	n := len(m)
	work := make([][]byte, n)
	for i := range work {
		work[i] = append(bytes.Clone(m[i]), make([]byte, n)...)
		work[i][n+i] = 1
	}
	for c := range n {
		for r := c; r < n; r++ {
			if work[r][c] != 0 {
				work[c], work[r] = work[r], work[c]
				break
			}
		}
		inv := gfInverse(work[c][c])
		for i := range work[c] {
			work[c][i] = gfMul(work[c][i], inv)
		}
		for r := range n {
			if f := work[r][c]; r != c && f != 0 {
				for i := range work[r] {
					work[r][i] ^= gfMul(f, work[c][i])
				}
			}
		}
	}
	for i := range work {
		work[i] = work[i][n:]
	}
	return work
}

// parityByTheBook computes m parity shards of k data shards.
func parityByTheBook(data [][]byte, m int) [][]byte {
	k := len(data)
	v := vandermonde(k+m, k)
	t := inverse(v[:k])
	parity := make([][]byte, m)
	for r := range parity {
		parity[r] = make([]byte, len(data[0]))
		for c := range k {
			var f byte
			for i := range k {
				f ^= gfMul(v[k+r][i], t[i][c])
			}
			if m == 1 {
				f = 1
			}
			for i, b := range data[c] {
				parity[r][i] ^= gfMul(f, b)
			}
		}
	}
	return parity
}

func TestFormatOfShards(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, km := range [][2]int{{2, 1}, {3, 1}, {2, 2}, {3, 2}, {5, 3}} {
		for _, size := range []int{70_000, 131_072, 200_001} {
			k, m := km[0], km[1]
			p := make([]byte, size)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			s := shape{int64(size), k, m, noSide}
			got := make([][]byte, m)
			for i := range got {
				got[i] = make([]byte, s.stripe())
			}
			if _, err := newCoders().encode(p, s, got); err != nil {
				t.Fatal(err)
			}
			padded := append(bytes.Clone(p), make([]byte, k)...)
			data := make([][]byte, k)
			for i := range data {
				data[i] = padded[i*int(s.stripe()):][:s.stripe()]
			}
			for i, want := range parityByTheBook(data, m) {
				if !bytes.Equal(got[i], want) {
					t.Errorf("%d+%d shards, %d bytes: parity %d differs from FORMAT.md", k, m, size, i)
				}
			}
		}
	}
}

func TestFormatOfSideParity(t *testing.T) {
	for _, tt := range []struct {
		kind        sideKind
		size, group int
	}{
		{reedSolomon, 1, 64}, {reedSolomon, 1000, 64}, {reedSolomon, blockSize + 1, 64}, {reedSolomon, 17 * blockSize, 64},
		{reedSolomon, 130*blockSize - 5, 64}, {exclusiveOr, 1, 16}, {exclusiveOr, 5*blockSize - 1, 16}, {exclusiveOr, 50*blockSize - 5, 16},
	} {
		size := tt.size
		t.Run(fmt.Sprint(tt.kind, " ", size), func(t *testing.T) {
			p := make([]byte, size)
			rng := rand.New(rand.NewPCG(2, uint64(size)))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			s := sectorShape(int64(size), tt.kind)
			got := make([]byte, s.parityLen())
			if err := newCoders().encodeSide(p, s, got); err != nil {
				t.Fatal(err)
			}
			const look = 64 // bytes of each block to compare: by the book is slow
			n := (size + blockSize - 1) / blockSize
			l := min(size, blockSize)
			groups := (n + tt.group - 1) / tt.group
			at := 0
			for g := range groups {
				var data [][]byte
				for b := g; b < n; b += groups {
					block := make([]byte, look)
					copy(block, p[b*blockSize:min((b+1)*blockSize, size)])
					data = append(data, block)
				}
				for _, want := range parityByTheBook(data, (len(data)+15)/16) {
					if c := min(look, l); !bytes.Equal(got[at:at+c], want[:c]) {
						t.Errorf("group %d differs from FORMAT.md", g)
					}
					at += l
				}
			}
			if at != len(got) {
				t.Errorf("side file has %d bytes; want %d", len(got), at)
			}
		})
	}
}
