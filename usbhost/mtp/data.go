package mtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// errMalformed: the phone sent bytes that are no dataset of the kind that was asked for.
var errMalformed = errors.New("malformed data")

// A cursor reads little-endian fields off the front of a dataset (MTP 1.1, section 3.2). After the first field that is
// missing every further one is zero and err tells.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err != nil || n > len(c.b) {
		if c.err == nil {
			c.err = fmt.Errorf("%w: %d bytes left where %d were due", errMalformed, len(c.b), n)
		}
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) u8() uint8 {
	if p := c.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if p := c.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if p := c.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if p := c.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// str reads a string (MTP 1.1, section 3.2.3): a count byte, then that many UTF-16LE units, the last of them NUL. Android
// leaves the NUL out of names of 255 units. What follows a NUL within the count is dropped. The result is WTF-8: units that
// are half of no pair stay, as three bytes each, so that every name survives.
func (c *cursor) str() string {
	n := int(c.u8())
	p := c.take(2 * n)
	units := make([]uint16, 0, n)
	for ; len(p) > 0; p = p[2:] {
		u := binary.LittleEndian.Uint16(p)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return wtf8(units)
}

// u16s reads an array of 16-bit codes.
func (c *cursor) u16s() []uint16 {
	n := c.u32()
	if uint64(n)*2 > uint64(len(c.b)) {
		c.take(len(c.b) + 1)
		return nil
	}
	a := make([]uint16, n)
	for i := range a {
		a[i] = c.u16()
	}
	return a
}

// u32s reads an array of handles or storage IDs.
func (c *cursor) u32s() []uint32 {
	n := c.u32()
	if uint64(n)*4 > uint64(len(c.b)) {
		c.take(len(c.b) + 1)
		return nil
	}
	a := make([]uint32, n)
	for i := range a {
		a[i] = c.u32()
	}
	return a
}

// wtf8 encodes UTF-16 units, lone surrogates included (simonsapin.github.io/wtf-8).
func wtf8(units []uint16) string {
	b := make([]byte, 0, len(units)+len(units)/2)
	for i := 0; i < len(units); i++ {
		u := rune(units[i])
		if utf16.IsSurrogate(u) {
			if i+1 < len(units) {
				if r := utf16.DecodeRune(u, rune(units[i+1])); r != 0xFFFD {
					b = append(b, string(r)...)
					i++
					continue
				}
			}
			b = append(b, byte(0xE0|u>>12), byte(0x80|u>>6&0x3F), byte(0x80|u&0x3F))
			continue
		}
		b = append(b, string(u)...)
	}
	return string(b)
}

// utf16Units decodes WTF-8. ok is false if s is neither UTF-8 nor WTF-8: no MTP string can hold it.
func utf16Units(s string) (units []uint16, ok bool) {
	for i := 0; i < len(s); {
		if i+2 < len(s) && s[i] == 0xED && s[i+1]&0xE0 == 0xA0 && s[i+2]&0xC0 == 0x80 {
			units = append(units, 0xD000|uint16(s[i+1]&0x3F)<<6|uint16(s[i+2]&0x3F))
			i += 3
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size <= 1 {
			return nil, false
		}
		units = utf16.AppendRune(units, r)
		i += size
	}
	return units, true
}

// maxString is how many UTF-16 units a string can hold beside its NUL (the count is one byte).
const maxString = 254

// appendString encodes a string; ok is false if no MTP string can hold it.
func appendString(b []byte, s string) (out []byte, ok bool) {
	units, ok := utf16Units(s)
	if !ok || len(units) > maxString {
		return b, false
	}
	if len(units) == 0 {
		return append(b, 0), true
	}
	b = append(b, byte(len(units)+1))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, 0, 0), true
}
