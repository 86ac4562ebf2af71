package vphone

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
)

// Content is what a file holds. *bytes.Reader and *io.SectionReader satisfy it.
type Content interface {
	io.ReaderAt
	Size() int64 // bytes
}

// Bytes is content held in memory; b must not change any more.
func Bytes(b []byte) Content { return bytes.NewReader(b) }

// Text is content held in memory.
func Text(s string) Content { return bytes.NewReader([]byte(s)) }

// FromReaderAt is content of size bytes read from r, such as an *os.File.
func FromReaderAt(r io.ReaderAt, size int64) Content { return io.NewSectionReader(r, 0, size) }

// Generated is size incompressible bytes that follow from the seed and cost no memory: a video of many gigabytes.
func Generated(seed uint64, size int64) Content {
	return generated{start: mix(seed ^ 0x6a09e667f3bcc908), size: size}
}

type generated struct {
	start uint64
	size  int64
}

func (g generated) Size() int64 { return g.size }

// golden is 2^64 divided by the golden ratio, the step of SplitMix64 (Steele, Lea, Flood 2014).
const golden = 0x9e3779b97f4a7c15

// mix is SplitMix64's finalizer: it makes a counter look random, so any offset can be had without the ones before.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (g generated) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, os.ErrInvalid
	}
	if off >= g.size {
		return 0, io.EOF
	}
	if left := g.size - off; int64(len(p)) > left {
		p, err = p[:left], io.EOF
	}
	n = len(p)
	z := g.start + uint64(off/8)*golden
	var word [8]byte
	if skip := int(off % 8); skip != 0 && len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(z))
		p = p[copy(p, word[skip:]):]
		z += golden
	}
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, mix(z))
		z += golden
	}
	if len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(z))
		copy(p, word[:])
	}
	return n, err
}

// onDisk is a file of the machine that runs the simulator, opened only while it is read: a loaded folder may hold more
// files than a process may keep open.
type onDisk struct {
	path string
	size int64
}

func (d onDisk) Size() int64 { return d.size }

func (d onDisk) ReadAt(p []byte, off int64) (n int, err error) {
	f, err := os.Open(d.path)
	if err != nil {
		return 0, err
	}
	n, err = f.ReadAt(p, off)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return n, err
}

// section is content whose size is cut or stretched from another's.
type section struct {
	Content
	size int64
	tail Content // what follows the Content's own bytes, where it was stretched
}

// Grown is c with more bytes behind it.
func Grown(c Content, more Content) Content {
	return section{Content: c, size: c.Size() + more.Size(), tail: more}
}

func (s section) Size() int64 { return s.size }

func (s section) ReadAt(p []byte, off int64) (n int, err error) {
	if head := s.Content.Size(); off < head {
		n, err = s.Content.ReadAt(p[:min(int64(len(p)), head-off)], off)
		if err != nil && err != io.EOF || n == len(p) {
			return n, err
		}
	}
	m, err := s.tail.ReadAt(p[n:], off+int64(n)-s.Content.Size())
	return n + m, err
}
