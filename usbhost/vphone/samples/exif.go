package samples

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"
)

// meta is what a picture says about itself.
type meta struct {
	maker, model string
	taken        time.Time // zero if it does not say, or says nonsense
}

// look tells whether b is a sample worth having: a JPEG whose EXIF data names the maker of a camera, a HEIF picture, or
// an MP4 or QuickTime video.
func look(b []byte) (meta, bool) {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xd8}):
		tiff, ok := jpegExif(b)
		if !ok {
			return meta{}, false
		}
		m := readTIFF(tiff)
		return m, m.maker != ""
	case len(b) >= 12 && string(b[4:8]) == "ftyp":
		brand := string(b[8:12])
		if strings.HasPrefix(brand, "mif") || strings.HasPrefix(brand, "msf") || strings.HasPrefix(brand, "hei") || strings.HasPrefix(brand, "hev") {
			return readTIFF(heifExif(b)), true
		}
		return meta{}, true
	case len(b) >= 8 && (string(b[4:8]) == "moov" || string(b[4:8]) == "mdat" || string(b[4:8]) == "wide"):
		return meta{}, true // QuickTime from before there was ftyp
	}
	return meta{}, false
}

// jpegExif returns the TIFF block of a JPEG's first Exif segment (Exif 2.32, 4.5.4: APP1, "Exif", two NULs). It wants
// the scan to begin somewhere behind it, since some collections keep only the heads of pictures.
func jpegExif(b []byte) (tiff []byte, ok bool) {
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		kind := b[at+1]
		if kind == 0xda { // start of scan
			return tiff, tiff != nil
		}
		size := int(binary.BigEndian.Uint16(b[at+2:])) // counts itself, not the marker
		end := at + 2 + size
		if size < 2 || end > len(b) {
			return nil, false
		}
		if t, ok := bytes.CutPrefix(b[at+4:end], []byte("Exif\x00\x00")); kind == 0xe1 && ok && tiff == nil {
			tiff = t
		}
		at = end
	}
	return nil, false
}

// heifExif finds the TIFF block of a HEIF file by its marks. The proper way is through the item tables; here it only
// has to name pictures.
func heifExif(b []byte) []byte {
	for _, mark := range []string{"Exif\x00\x00II*\x00", "Exif\x00\x00MM\x00*"} {
		if i := bytes.Index(b, []byte(mark)); i >= 0 {
			return b[i+6:]
		}
	}
	return nil
}

const maxEntries = 512 // of one directory; cameras write a few dozen

// readTIFF reads maker, model and date of a TIFF block (TIFF 6.0, section 2; tags of Exif 2.32, tables 4 and 7).
func readTIFF(b []byte) meta {
	var m meta
	if len(b) < 8 {
		return m
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	var changed, original string
	exif := uint32(0)
	directory(b, order, order.Uint32(b[4:]), func(tag uint16, value []byte, long uint32) {
		switch tag {
		case 0x010f:
			m.maker = text(value)
		case 0x0110:
			m.model = text(value)
		case 0x0132:
			changed = text(value)
		case 0x8769:
			exif = long
		}
	})
	directory(b, order, exif, func(tag uint16, value []byte, _ uint32) {
		if tag == 0x9003 {
			original = text(value)
		}
	})
	for _, s := range []string{original, changed} {
		t, err := time.Parse("2006:01:02 15:04:05", s)
		if err == nil && t.Year() >= 1990 && t.Year() < 2026 {
			m.taken = t
			break
		}
	}
	m.model = strings.TrimSpace(strings.TrimPrefix(m.model, m.maker)) // some write the maker in both
	return m
}

// directory calls f for each entry of the directory at offset at: value holds an ASCII entry's bytes, long any other's
// first four. Offset 0 is no directory.
func directory(b []byte, order binary.ByteOrder, at uint32, f func(tag uint16, value []byte, long uint32)) {
	if at == 0 || uint64(at)+2 > uint64(len(b)) {
		return
	}
	n := min(int(order.Uint16(b[at:])), maxEntries)
	for e := b[at+2:]; n > 0 && len(e) >= 12; n, e = n-1, e[12:] {
		tag, kind, count, off := order.Uint16(e), order.Uint16(e[2:]), order.Uint32(e[4:]), order.Uint32(e[8:])
		var value []byte
		switch {
		case kind != 2: // not ASCII
		case count <= 4:
			value = e[8 : 8+count]
		case uint64(off)+uint64(count) <= uint64(len(b)):
			value = b[off : uint64(off)+uint64(count)]
		}
		f(tag, value, off)
	}
}

// text is an ASCII entry as people read it; anything unprintable is dropped.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b[:min(len(b), 64)], []byte{0})
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b)))
}
