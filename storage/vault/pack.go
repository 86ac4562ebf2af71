package vault

import (
	"context"
	"encoding/binary"
	"fmt"

	"phonebackupbox/storage"
)

// Limits of a blob and of a pack, in bytes.
const (
	chunkSize = 4 << 20   // files are cut at multiples of this
	packSize  = 17 << 20  // our packs, header included: four chunks, or as many smaller blobs as fit
	maxTree   = 128 << 20 // a plain tree, and any other blob or document
	maxPack   = storage.MaxBlob
	maxHeader = 16 << 20 // as in restic
)

// A blobType tells a file's data from a tree.
type blobType byte

const (
	dataBlob blobType = 0
	treeBlob blobType = 1
)

func (t blobType) String() string {
	if t == treeBlob {
		return "tree"
	}
	return "data"
}

// A packedBlob is a blob's place in a pack.
type packedBlob struct {
	id     hash
	typ    blobType
	off    uint32 // bytes from the pack's beginning
	length uint32 // sealed, in bytes
	plain  uint32 // bytes when decompressed; 0 if it is not compressed
}

// size is the blob's plain length in bytes.
func (b packedBlob) size() int64 {
	if b.plain != 0 {
		return int64(b.plain)
	}
	return int64(b.length) - overhead
}

// valid reports whether a blob can be one: lengths within the limits and within a pack.
func (b packedBlob) valid() bool {
	return b.length >= overhead && b.size() <= maxTree && int64(b.off)+int64(b.length) <= maxPack
}

// entrySize is the largest size of a blob's entry in the header: type, two lengths and the hash.
const entrySize = 1 + 4 + 4 + 32

// headerSize bounds what sealing a header of n entries adds to a pack, its length included.
func headerSize(n int) int { return n*entrySize + overhead + 4 }

// appendHeader appends the plain header of a pack (design.rst, "Pack Format").
func appendHeader(p []byte, blobs []packedBlob) []byte {
	for _, b := range blobs {
		if b.plain == 0 {
			p = append(p, byte(b.typ))
			p = binary.LittleEndian.AppendUint32(p, b.length)
		} else {
			p = append(p, byte(b.typ)|2)
			p = binary.LittleEndian.AppendUint32(p, b.length)
			p = binary.LittleEndian.AppendUint32(p, b.plain)
		}
		p = append(p, b.id[:]...)
	}
	return p
}

// parseHeader is the inverse of appendHeader. size is the sum of the blobs' lengths: all of the pack before the header.
func parseHeader(p []byte, size int64) ([]packedBlob, error) {
	blobs := make([]packedBlob, 0, min(len(p)/37+1, maxHeader/37))
	var off int64
	for len(p) > 0 {
		kind := p[0]
		n := 37
		if kind&2 != 0 {
			n = entrySize
		}
		if kind > 3 || len(p) < n {
			return nil, fmt.Errorf("%w: pack header: entry %d", ErrDamaged, len(blobs))
		}
		b := packedBlob{typ: blobType(kind & 1), off: uint32(off), length: binary.LittleEndian.Uint32(p[1:])}
		if kind&2 != 0 {
			b.plain = binary.LittleEndian.Uint32(p[5:])
		}
		copy(b.id[:], p[n-32:n])
		if off += int64(b.length); off > size || !b.valid() || kind&2 != 0 && b.plain == 0 {
			return nil, fmt.Errorf("%w: pack header: blob %d has an impossible length", ErrDamaged, len(blobs))
		}
		blobs = append(blobs, b)
		p = p[n:]
	}
	if off != size || len(blobs) == 0 {
		return nil, fmt.Errorf("%w: pack header: blobs of %d bytes, not %d", ErrDamaged, off, size)
	}
	return blobs, nil
}

// readHeader reads the header of a pack of the given size from the store.
func (v *Vault) readHeader(ctx context.Context, pack hash, size int64) ([]packedBlob, error) {
	if size < overhead+4 || size > maxPack {
		return nil, fmt.Errorf("vault: pack %s: %w: %d bytes", pack, ErrDamaged, size)
	}
	// One read fetches the length together with the header of most packs.
	p := make([]byte, min(size, 16<<10))
	if _, err := v.s.Get(ctx, packName(pack), size-int64(len(p)), p); err != nil {
		return nil, fmt.Errorf("vault: pack %s: %w", pack, err)
	}
	n := int64(binary.LittleEndian.Uint32(p[len(p)-4:]))
	if n < overhead || n > maxHeader || n > size-4 {
		return nil, fmt.Errorf("vault: pack %s: %w: header of %d bytes", pack, ErrDamaged, n)
	}
	if n+4 > int64(len(p)) {
		p = make([]byte, n+4)
		if _, err := v.s.Get(ctx, packName(pack), size-int64(len(p)), p); err != nil {
			return nil, fmt.Errorf("vault: pack %s: %w", pack, err)
		}
	}
	plain, err := v.key.open(p[int64(len(p))-4-n : len(p)-4])
	if err != nil {
		return nil, fmt.Errorf("vault: pack %s: header: %w: %w", pack, ErrDamaged, err)
	}
	blobs, err := parseHeader(plain, size-4-n)
	if err != nil {
		return nil, fmt.Errorf("vault: pack %s: %w", pack, err)
	}
	return blobs, nil
}
