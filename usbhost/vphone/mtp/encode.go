package mtp

import (
	"encoding/binary"
	"fmt"
	"time"

	"phonebackupbox/usbhost/vphone"
)

// dataset builds a container: its header's place, then fields one after another, little-endian (MTP 1.1, section 3.2).
type dataset []byte

func newDataset(capacity int) dataset { return make(dataset, headerSize, headerSize+capacity) }

func (d *dataset) u8(v uint8)   { *d = append(*d, v) }
func (d *dataset) u16(v uint16) { *d = binary.LittleEndian.AppendUint16(*d, v) }
func (d *dataset) u32(v uint32) { *d = binary.LittleEndian.AppendUint32(*d, v) }
func (d *dataset) u64(v uint64) { *d = binary.LittleEndian.AppendUint64(*d, v) }

// u128 puts the low 64 bits of a UINT128.
func (d *dataset) u128(low uint64) {
	d.u64(low)
	d.u64(0)
}

func (d *dataset) list16(v []uint16) {
	d.u32(uint32(len(v)))
	for _, x := range v {
		d.u16(x)
	}
}

func (d *dataset) list32(v []uint32) {
	d.u32(uint32(len(v)))
	for _, x := range v {
		d.u32(x)
	}
}

// maxUnits is how many UTF-16 units a string may hold besides its NUL: the count is one byte (MTP 1.1, "Strings").
const maxUnits = 254

// str puts a string: a count of units with the NUL, the units, the NUL; the empty string is the count 0 alone. What is
// too long is cut, as AOSP does.
func (d *dataset) str(s string) {
	units := vphone.Units(s)
	units = units[:min(len(units), maxUnits)]
	if len(units) == 0 {
		d.u8(0)
		return
	}
	d.u8(uint8(len(units) + 1))
	for _, u := range units {
		d.u16(u)
	}
	d.u16(0)
}

// header fills in the container's header.
func (d dataset) header(kind, code uint16, transaction uint32) {
	putHeader(d, uint64(len(d)), kind, code, transaction)
}

// putHeader writes a container header; a length that 32 bits cannot hold is FFFFFFFF.
func putHeader(b []byte, length uint64, kind, code uint16, transaction uint32) {
	binary.LittleEndian.PutUint32(b, uint32(min(length, all)))
	binary.LittleEndian.PutUint16(b[4:], kind)
	binary.LittleEndian.PutUint16(b[6:], code)
	binary.LittleEndian.PutUint32(b[8:], transaction)
}

// dateLayout is a DateTime as AOSP writes it: whole seconds, no zone (MTP 1.1, "DateTime").
const dateLayout = "20060102T150405"

func formatDate(t time.Time, loc *time.Location) string {
	if t.IsZero() {
		t = time.Unix(0, 0) // what Linux says of a file without a time
	}
	return t.In(loc).Format(dateLayout)
}

// parseDate reads a DateTime as AOSP does: a trailing Z means UTC, every other zone is overlooked and the time taken for
// the phone's own. Fields out of range run over, as in mktime(3).
func parseDate(s string, loc *time.Location) (time.Time, error) {
	var year, month, day, hour, minute, second int
	if _, err := fmt.Sscanf(s, "%4d%2d%2dT%2d%2d%2d", &year, &month, &day, &hour, &minute, &second); err != nil {
		return time.Time{}, fmt.Errorf("mtp: date %q: %w", s, err)
	}
	tail := s[min(len(s), len(dateLayout)):]
	if len(tail) >= 2 && tail[0] == '.' {
		tail = tail[2:]
	}
	if len(tail) > 0 && tail[0] == 'Z' {
		loc = time.UTC
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, loc), nil
}
