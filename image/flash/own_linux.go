package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
)

// family is the first half of the signature in the table of each box's card, and shared the whole of it in the image (image/pack).
const (
	family = 0xb0c5
	shared = family<<16 | family
)

// signature is the disk's, in a partition table.
func signature(mbr []byte) uint32 { return binary.LittleEndian.Uint32(mbr[440:]) }

// own is an image as one card gets it: with a signature of its own, in the table and wherever the boot partition tells the kernel which
// partition is its root. With the same on all cards, one in a USB reader could be taken for the one that the box started from.
// What is not the box's image is left as it is.
type own struct {
	src  io.ReaderAt
	id   uint32
	ends int64 // of the boot partition, in bytes
}

func newOwn(src io.ReaderAt) (own, error) {
	o := own{src: src, id: shared}
	mbr := make([]byte, 512)
	if _, err := src.ReadAt(mbr, 0); err != nil {
		return o, err
	}
	if signature(mbr) != shared {
		return o, nil
	}
	for o.id == shared {
		var b [2]byte
		if _, err := rand.Read(b[:]); err != nil {
			return o, err
		}
		o.id = family<<16 | uint32(binary.LittleEndian.Uint16(b[:]))
	}
	const first = 446 // entry
	o.ends = 512 * (int64(binary.LittleEndian.Uint32(mbr[first+8:])) + int64(binary.LittleEndian.Uint32(mbr[first+12:])))
	return o, nil
}

// ReadAt implements io.ReaderAt, for parts that begin at multiples of a sector: in the files that name the root, the name is within the
// first sector, and a file begins with one.
func (o own) ReadAt(b []byte, at int64) (int, error) {
	n, err := o.src.ReadAt(b, at)
	if o.id == shared || at >= o.ends {
		return n, err
	}
	if at == 0 && n >= 512 {
		binary.LittleEndian.PutUint32(b[440:], o.id)
	}
	old, ours := root(shared), root(o.id)
	for p := b[:n]; ; {
		i := bytes.Index(p, old)
		if i < 0 {
			return n, err
		}
		p = p[i+copy(p[i:], ours):]
	}
}

// root is how the kernel's line of arguments names a partition of a disk, but for its number.
func root(id uint32) []byte { return fmt.Appendf(nil, "root=PARTUUID=%08x-", id) }
