package vault

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// A polynomial over GF(2); bit i is the coefficient of x^i. A repository's config holds a random irreducible one of
// degree 53, by which stock restic cuts files into chunks. Ours are cut at fixed sizes, so we only have to make one.
type polynomial uint64

// newPolynomial makes a random irreducible polynomial of degree 53. About one in 53 is irreducible.
func newPolynomial() polynomial {
	for {
		var p [8]byte
		rand.Read(p[:]) // never fails (Go 1.24)
		// Degree exactly 53, and a constant term, without which x divides it.
		f := polynomial(binary.LittleEndian.Uint64(p[:]))&(1<<53-1) | 1<<53 | 1
		if f.irreducible() {
			return f
		}
	}
}

func (f polynomial) degree() int { return bits.Len64(uint64(f)) - 1 }

// mod is f modulo g, which is not 0.
func (f polynomial) mod(g polynomial) polynomial {
	for f.degree() >= g.degree() {
		f ^= g << (f.degree() - g.degree())
	}
	return f
}

// mulMod is f times h modulo g, for f and h of a degree below g's, which is at most 62.
func (f polynomial) mulMod(h, g polynomial) polynomial {
	var sum polynomial
	for ; h != 0; h >>= 1 {
		if h&1 != 0 {
			sum ^= f
		}
		f = (f << 1).mod(g)
	}
	return sum
}

// irreducible is Ben-Or's test: f has no factor of degree i for any i up to half its own, that is, f has no common
// factor with x^(2^i) - x.
func (f polynomial) irreducible() bool {
	power := polynomial(2).mod(f) // x^(2^0)
	for range f.degree() / 2 {
		power = power.mulMod(power, f)
		a, b := f, power^2
		for b != 0 {
			a, b = b, a.mod(b)
		}
		if a != 1 {
			return false
		}
	}
	return true
}
