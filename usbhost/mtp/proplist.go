package mtp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Data type codes (MTP 1.1, section 3.2): 1 to 10 are integers of 8 to 128 bits, 0x4000 marks an array of them.
const (
	typeUint32 = 0x0006
	typeArray  = 0x4000
	typeString = 0xFFFF
)

// maxArray bounds an array property that is only skipped, in bytes.
const maxArray = 1 << 20

// A property is one element of an ObjectPropList dataset (MTP 1.1, appendix E.2.1.1).
type property struct {
	handle uint32
	code   uint16
	num    uint64 // an integer's low 64 bits
	str    string // a string, as WTF-8
}

// propList reads an ObjectPropList element by element: a phone of 100,000 objects sends megabytes.
type propList struct {
	r    *bufio.Reader
	left uint32
	buf  [512]byte
}

// newPropList reads the list's count. limit is the most elements that the caller wants to see.
func newPropList(r io.Reader, limit uint32) (*propList, error) {
	l := &propList{r: bufio.NewReaderSize(r, 16<<10)}
	p, err := l.take(4)
	if err != nil {
		return nil, err
	}
	if l.left = binary.LittleEndian.Uint32(p); l.left > limit {
		return nil, fmt.Errorf("property list: %w: %d elements, more than the %d allowed", errMalformed, l.left, limit)
	}
	return l, nil
}

// take reads n bytes, at most len(l.buf), that are valid until the next take.
func (l *propList) take(n int) ([]byte, error) {
	if _, err := io.ReadFull(l.r, l.buf[:n]); err != nil {
		return nil, cut(err)
	}
	return l.buf[:n], nil
}

// next returns the next element, io.EOF after the last. Array properties have no value here.
func (l *propList) next() (property, error) {
	if l.left == 0 {
		return property{}, io.EOF
	}
	p, err := l.take(8)
	if err != nil {
		return property{}, err
	}
	l.left--
	prop := property{handle: binary.LittleEndian.Uint32(p), code: binary.LittleEndian.Uint16(p[4:])}
	kind := binary.LittleEndian.Uint16(p[6:])
	switch {
	case kind == typeString:
		prop.str, err = l.str()
	case kind >= 1 && kind <= 10:
		if prop.num, err = l.integer(kind); kind == typeUint32 && prop.code == propSize && prop.num == sizeUnknown {
			prop.num = 1 << 63 // some phones give a size 32 bits, and then it says no more than ObjectInfo does
		}
	case kind >= typeArray+1 && kind <= typeArray+10:
		err = l.skipArray(kind - typeArray)
	default:
		err = fmt.Errorf("property list: %w: data type %#04x", errMalformed, kind)
	}
	return prop, err
}

// width is the size of integer type 1 to 10 in bytes: types come in pairs, signed and unsigned.
func width(kind uint16) int { return 1 << ((kind - 1) / 2) }

func (l *propList) integer(kind uint16) (uint64, error) {
	p, err := l.take(width(kind))
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[:], p)
	return binary.LittleEndian.Uint64(word[:]), nil
}

func (l *propList) str() (string, error) {
	n, err := l.r.ReadByte()
	if err != nil {
		return "", cut(err)
	}
	l.buf[0] = n
	if _, err := io.ReadFull(l.r, l.buf[1:1+2*int(n)]); err != nil {
		return "", cut(err)
	}
	c := cursor{b: l.buf[:1+2*int(n)]}
	s := c.str()
	return s, c.err
}

func (l *propList) skipArray(kind uint16) error {
	p, err := l.take(4)
	if err != nil {
		return err
	}
	size := uint64(binary.LittleEndian.Uint32(p)) * uint64(width(kind))
	if size > maxArray {
		return fmt.Errorf("property list: %w: an array of %d bytes", errMalformed, size)
	}
	if _, err := l.r.Discard(int(size)); err != nil {
		return cut(err)
	}
	return nil
}

// cut makes an end within an element an error of the data; all other errors are the transport's.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("%w: %w", errMalformed, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("property list: %w", err)
}
