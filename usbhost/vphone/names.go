package vphone

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Names in this package are WTF-8 (Simon Sapin, "The WTF-8 encoding"): UTF-8 that may also hold lone surrogates, since a
// phone's names are UTF-16 units of which nobody checks that they pair. Every sequence of units has exactly one such
// string.

const (
	surrogateMin, surrogateMax = 0xd800, 0xdfff
)

// Name makes a name from UTF-16 units, paired or not.
func Name(units []uint16) string {
	var b strings.Builder
	for i := 0; i < len(units); i++ {
		u := rune(units[i])
		if i+1 < len(units) {
			if r := utf16.DecodeRune(u, rune(units[i+1])); r != utf8.RuneError {
				b.WriteRune(r)
				i++
				continue
			}
		}
		if u >= surrogateMin && u <= surrogateMax {
			b.Write([]byte{0xed, byte(0x80 | u>>6&0x3f), byte(0x80 | u&0x3f)})
			continue
		}
		b.WriteRune(u)
	}
	return b.String()
}

// Units gives a name's UTF-16 units. Bytes that are not WTF-8 become U+FFFD.
func Units(name string) []uint16 {
	units := make([]uint16, 0, len(name))
	for name != "" {
		if u, ok := loneSurrogate(name); ok {
			units = append(units, u)
			name = name[3:]
			continue
		}
		r, n := utf8.DecodeRuneInString(name)
		units = utf16.AppendRune(units, r)
		name = name[n:]
	}
	return units
}

func loneSurrogate(s string) (uint16, bool) {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[1] > 0xbf || s[2]&0xc0 != 0x80 {
		return 0, false
	}
	return 0xd000 | uint16(s[1]&0x3f)<<6 | uint16(s[2]&0x3f), true
}
