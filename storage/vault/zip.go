package vault

import (
	"crypto/sha256"
	"fmt"
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

// decompress returns the content of one zstd frame, which is size bytes long (< 0: unknown) and at most limit. dst is
// used if size is known and its capacity suffices.
func (z *zipper) decompress(p []byte, size, limit int64, dst []byte) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrDamaged, err)
	}
	if size > limit || h.HasFCS && h.FrameContentSize > uint64(limit) {
		return nil, fmt.Errorf("%w: it decompresses to more than %d bytes", ErrDamaged, limit)
	}
	if size < 0 {
		dst = nil
	} else if int64(cap(dst)) < size {
		dst = make([]byte, 0, size)
	}
	out, err := z.dec.DecodeAll(p, dst[:0])
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

// squeezable reports whether p looks as if compressing it would pay: photos, videos and archives do not. It asks how often
// two bytes of a sample from the middle are equal. Of random bytes, and nearly so of compressed ones, one pair in 256 is; of
// base64 it is one in 64, of text more. Twice as often as random is worth a try.
func squeezable(p []byte) bool {
	if len(p) < 128 {
		return false
	}
	if len(p) > sampleSize {
		mid := (len(p) - sampleSize) / 2
		p = p[mid : mid+sampleSize]
	}
	var count [256]uint32
	for _, b := range p {
		count[b]++
	}
	equal := 0 // ordered pairs
	for _, n := range count {
		equal += int(n) * (int(n) - 1)
	}
	return equal*256 > 2*len(p)*(len(p)-1)
}
