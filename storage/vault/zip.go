package vault

import (
	"crypto/sha256"
	"fmt"
	"math"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

func sum(p []byte) hash { return sha256.Sum256(p) }

// A zipper compresses and decompresses with zstd. It is safe for concurrent use.
type zipper struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func (z *zipper) init() error {
	n := min(runtime.GOMAXPROCS(0), 4)
	var err error
	z.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(n),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return fmt.Errorf("vault: zstd: %w", err)
	}
	// Every blob is authenticated before it is decompressed; the limits below are for a hostile writer with the key.
	z.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(maxTree),
		zstd.WithDecoderMaxWindow(32<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return fmt.Errorf("vault: zstd: %w", err)
	}
	return nil
}

func (z *zipper) close() { z.dec.Close() }

// document compresses a document and puts the byte that says so before it.
func (z *zipper) document(p []byte) []byte { return z.enc.EncodeAll(p, []byte{2}) }

// decompress returns the content of one zstd frame, which is size bytes long (< 0: unknown) and at most limit.
func (z *zipper) decompress(p []byte, size, limit int64) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrDamaged, err)
	}
	if size > limit || h.HasFCS && h.FrameContentSize > uint64(limit) {
		return nil, fmt.Errorf("%w: it decompresses to more than %d bytes", ErrDamaged, limit)
	}
	var dst []byte
	if size >= 0 {
		dst = make([]byte, 0, size)
	}
	out, err := z.dec.DecodeAll(p, dst)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: zstd: %w", ErrDamaged, err)
	case size >= 0 && int64(len(out)) != size || int64(len(out)) > limit:
		return nil, fmt.Errorf("%w: it decompresses to %d bytes", ErrDamaged, len(out))
	}
	return out, nil
}

// sampleSize is how many bytes decide whether a chunk is worth compressing.
const sampleSize = 4 << 10

// squeezable reports whether p looks as if compressing it would pay: photos, videos and archives do not. It looks at
// the distribution of byte values in a sample from the middle, which costs about 5 microseconds.
func squeezable(p []byte) bool {
	if len(p) < 256 {
		return false
	}
	if len(p) > sampleSize {
		mid := (len(p) - sampleSize) / 2
		p = p[mid : mid+sampleSize]
	}
	var count [256]uint16
	for _, b := range p {
		count[b]++
	}
	// Shannon's entropy, in bits per byte.
	var bits float64
	for _, n := range count {
		if n > 0 {
			bits += float64(n) * math.Log2(float64(len(p))/float64(n))
		}
	}
	// Short samples of random bytes cannot show all 256 values: 256 random bytes give about 7.2 bits.
	most := 7.4
	if len(p) < 1024 {
		most = 6.5
	}
	return bits/float64(len(p)) < most
}
