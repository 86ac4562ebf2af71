package drive

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SMART is what a drive's own electronics tell of its health. A count is nil where the drive does not tell it.
type SMART struct {
	Kind        string `json:"kind"`                            // "ata" or "nvme"
	Failing     bool   `json:"failing"`                         // by its maker's own thresholds
	Reallocated *int64 `json:"reallocated,omitempty"`           // sectors that spare ones took the place of
	Pending     *int64 `json:"pending,omitempty"`               // sectors that cannot be read and wait for being written anew
	Offline     *int64 `json:"offline_uncorrectable,omitempty"` // sectors that the drive's own test cannot read
	Unreadable  *int64 `json:"unreadable,omitempty"`            // reads that failed for good
	Transfer    *int64 `json:"transfer_errors,omitempty"`       // between the drive and what it is plugged into
	Used        *int64 `json:"life_used_percent,omitempty"`     // flash only; may pass 100
	Spare       *int64 `json:"spare_percent,omitempty"`         // flash only
	Celsius     *int64 `json:"celsius,omitempty"`
}

// ErrNoSMART: the drive, or the box it is in, does not tell of its health.
var ErrNoSMART = errors.New("does not tell of its health")

// When a number becomes a warning.
const (
	worn         = 90  // per cent of life used
	garbled      = 100 // transfer errors: a few happen when a plug is pulled
	hot          = 60  // °C: makers of disks allow 55 to 65, of flash 70
	manyReplaced = 50  // sectors: a few are what the spare ones are for; this many is a disk that wears out
)

// Warnings says in words what of it an owner should know; nothing for a drive that is well.
func (s SMART) Warnings() []string {
	var out []string
	add := func(n *int64, from int64, one, many string) {
		switch {
		case n == nil || *n < from:
		case *n == 1:
			out = append(out, one)
		default:
			out = append(out, fmt.Sprintf(many, *n))
		}
	}
	if s.Failing {
		out = append(out, "says itself that it is about to fail: replace it now")
	}
	add(s.Pending, 1, "has 1 sector that it cannot read; if it gets more of them, replace it", "has %d sectors that it cannot read; if they become more, replace it")
	add(s.Offline, 1, "found 1 sector unreadable when it tested itself", "found %d sectors unreadable when it tested itself")
	add(s.Unreadable, 1, "failed to read 1 time", "failed to read %d times")
	if s.Reallocated != nil && *s.Reallocated >= manyReplaced {
		add(s.Reallocated, 1, "", "has replaced %d worn out sectors: replace it soon")
	} else {
		add(s.Reallocated, 1, "has replaced 1 worn out sector", "has replaced %d worn out sectors")
	}
	add(s.Transfer, garbled, "", "had %d errors on its cable; try another cable or enclosure")
	add(s.Used, worn, "", "has used up %d %% of its life: replace it soon")
	if s.Spare != nil && *s.Spare <= 100-worn {
		out = append(out, fmt.Sprintf("has %d %% of its spare memory left: replace it soon", *s.Spare))
	}
	add(s.Celsius, hot, "", "is %d °C hot: give it air")
	return out
}

// The SMART attributes that we know; their numbers are each maker's choice, and these are what all makers agree on
// (T13 e05148r0, "ATA SMART Attribute Annex").
const (
	attrReallocated = 5
	attrUnreadable  = 187
	attrAirflow     = 190
	attrCelsius     = 194
	attrPending     = 197
	attrOffline     = 198
	attrTransfer    = 199
)

// lifeAttrs tell, in their normalized value, the per cent of life that flash has left, in the order of how well makers agree.
var lifeAttrs = []byte{231, 233, 177, 202, 173}

// ataPage is the size of what ATA's SMART commands return, in bytes.
const ataPage = 512

// parseATA reads what the commands SMART READ DATA and SMART READ THRESHOLDS returned (ATA-8 ACS, 7.52; the tables are from
// SFF-8035i, revision 2.0): 30 entries of 12 bytes after a revision. thresholds may be nil.
func parseATA(data, thresholds []byte, flash bool) (SMART, error) {
	if len(data) != ataPage || !sumsUp(data) {
		return SMART{}, fmt.Errorf("%w: its answer is damaged", ErrNoSMART)
	}
	limit := make(map[byte]byte)
	if len(thresholds) == ataPage && sumsUp(thresholds) {
		for e := thresholds[2:362]; len(e) > 0; e = e[12:] {
			limit[e[0]] = e[1]
		}
	}
	s := SMART{Kind: "ata"}
	left := make(map[byte]byte)
	for e := data[2:362]; len(e) > 0; e = e[12:] {
		id, flags, value, raw := e[0], binary.LittleEndian.Uint16(e[1:]), e[3], e[5:11]
		if id == 0 {
			continue
		}
		const prefailure = 1
		if t := limit[id]; flags&prefailure != 0 && t > 0 && t < 0xfe && value > 0 && value <= t {
			s.Failing = true
		}
		s.attribute(id, raw)
		left[id] = value
	}
	for _, id := range lifeAttrs {
		if v := left[id]; flash && v > 0 && v <= 100 && s.Used == nil {
			used := 100 - int64(v)
			s.Used = &used
		}
	}
	return s, nil
}

// attribute takes over a raw value. The upper bytes of some makers' counts hold something else.
func (s *SMART) attribute(id byte, raw []byte) {
	count := int64(binary.LittleEndian.Uint32(raw))
	switch id {
	case attrReallocated:
		s.Reallocated = &count
	case attrPending:
		s.Pending = &count
	case attrOffline:
		s.Offline = &count
	case attrUnreadable:
		count &= 0xffff
		s.Unreadable = &count
	case attrTransfer:
		s.Transfer = &count
	case attrCelsius, attrAirflow:
		if t := int64(int8(raw[0])); t > 0 && (id == attrCelsius || s.Celsius == nil) {
			s.Celsius = &t
		}
	}
}

// sumsUp: the bytes of an ATA page add up to 0.
func sumsUp(p []byte) bool {
	var sum byte
	for _, b := range p {
		sum += b
	}
	return sum == 0
}

// nvmeLog is the size of NVMe's log page 02h, in bytes.
const nvmeLog = 512

// parseNVMe reads the log page "SMART / Health Information" (NVM Express 1.4, figure 196).
func parseNVMe(p []byte) (SMART, error) {
	if len(p) != nvmeLog {
		return SMART{}, fmt.Errorf("%w: its answer is damaged", ErrNoSMART)
	}
	const spareLow, unreliable, readOnly = 1, 4, 8 // of the critical warnings; 2 is temperature
	kelvin, spare, used := int64(binary.LittleEndian.Uint16(p[1:])), int64(p[3]), int64(p[5])
	errs := int64(min(binary.LittleEndian.Uint64(p[160:]), 1<<62))
	s := SMART{Kind: "nvme", Failing: p[0]&(spareLow|unreliable|readOnly) != 0, Unreadable: &errs, Used: &used}
	if p[3] > 0 || p[4] > 0 { // both 0: the disk does not tell, as QEMU's
		s.Spare = &spare
	}
	if c := kelvin - 273; c > 0 && c < 200 {
		s.Celsius = &c
	}
	return s, nil
}
