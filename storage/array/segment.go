package array

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"phonebackupbox/storage"
)

// errSegment: bytes that are no ledger segment, or a torn or damaged one.
var errSegment = errors.New("damaged ledger segment")

// errNewer: a ledger segment in good order, of a format that came after this program. To take it for damaged would mean to go on
// from what was there before it, and to delete what it speaks of.
var errNewer = errors.New("written by a newer boxd; update this one")

const (
	segmentMagic   = "PBBLEDG\n"
	wholeVersion   = 2
	piecesVersion  = 3   // of a checkpoint that leaves a part of what it says in pieces
	headerLen      = 104 // bytes
	flagCheckpoint = 1

	// Limits of what a segment may say; a segment is also never larger than storage.MaxBlob.
	maxText    = 200
	maxParents = 64
	maxCovers  = 1 << 16
	maxPieces  = 1 << 14
	maxDrives  = 250
	maxSources = 1 << 20
)

// segmentID names a segment: a session, which is one opening of an array for writing, and a count that is higher than
// any in the ledger before.
type segmentID struct {
	counter uint64
	session [16]byte
	folded  bool // a checkpoint
}

// String is the segment's file name below ledger/.
func (id segmentID) String() string {
	s := fmt.Sprintf("%012x-%x", id.counter, id.session)
	if id.folded {
		s += "-f"
	}
	return s
}

// parseSegmentID reads a file name; anything that String would not write is refused.
func parseSegmentID(s string) (id segmentID, ok bool) {
	if len(s) < 12+1+32 {
		return id, false
	}
	n, err := strconv.ParseUint(s[:12], 16, 64)
	if err != nil {
		return id, false
	}
	id.counter = n
	if _, err := hex.Decode(id.session[:], []byte(s[13:45])); err != nil {
		return id, false
	}
	id.folded = strings.HasSuffix(s, "-f")
	return id, id.String() == s
}

// parent is a segment that another one was written after.
type parent struct {
	id   segmentID
	hash [32]byte
}

// cover says that a checkpoint contains a session's segments up to a count.
type cover struct {
	session [16]byte
	upTo    uint64
}

// segment is one group commit: FORMAT.md, "Ledger".
type segment struct {
	id      segmentID
	array   [16]byte
	writer  string
	parents []parent
	covers  []cover  // of a checkpoint
	pieces  []parent // of a checkpoint: segments whose records come before its own, in this order
	drives  []string
	sources []string // names of segments that hold checksums of facts in this one
	count   uint64   // records
	records []byte   // as they are in the file: those of a checkpoint are as many as the array has blobs
	tables  []byte   // checksums of the facts; empty after parsing

	version   uint32
	hash      [32]byte // of the header, which has the facts' hash
	tablesAt  int64
	tablesLen int64
}

type recordKind byte

const (
	factRecord      recordKind = 1
	tombstoneRecord recordKind = 2
	driveRecord     recordKind = 3
	surviveRecord   recordKind = 4
)

// record is one thing that a segment says. Which fields count depends on the kind.
type record struct {
	kind recordKind
	name nameKey // of the blob

	// A fact. Drives are numbers into the segment's drives; source 0 is the segment itself, else sources[source-1].
	size    int64
	place   placement
	source  int
	off     uint32
	sum     uint32
	id      string // of a drive
	drive   driveState
	survive int
}

func (r record) shape() shape {
	return shape{r.size, r.place.k, r.place.m, r.place.side}
}

// add appends a record. The drives and sources that it names are in the segment's lists.
func (s *segment) add(r record) {
	s.records = r.append(s.records)
	s.count++
}

// each calls yield with the records, one after the other. A record's holders are valid during the call only.
func (s *segment) each(yield func(r *record)) {
	rd := reader{b: s.records}
	var rec record
	for range s.count {
		s.readRecord(&rd, &rec)
		yield(&rec)
	}
}

// encode writes a segment: header, facts, tables. It sets hash, tablesAt and tablesLen.
func (s *segment) encode() ([]byte, error) {
	facts := appendText(nil, s.writer)
	facts = appendParents(facts, s.parents)
	facts = binary.AppendUvarint(facts, uint64(len(s.covers)))
	for _, c := range s.covers {
		facts = append(facts, c.session[:]...)
		facts = binary.AppendUvarint(facts, c.upTo)
	}
	s.version = wholeVersion
	if len(s.pieces) > 0 {
		s.version = piecesVersion
		facts = appendParents(facts, s.pieces)
	}
	for _, texts := range [][]string{s.drives, s.sources} {
		facts = binary.AppendUvarint(facts, uint64(len(texts)))
		for _, t := range texts {
			facts = appendText(facts, t)
		}
	}
	facts = binary.AppendUvarint(facts, s.count)
	factsLen := len(facts) + len(s.records)
	total := headerLen + factsLen + len(s.tables)
	if total > storage.MaxBlob {
		return nil, fmt.Errorf("array: ledger segment of %d bytes is too large", total)
	}
	h := make([]byte, 0, total)
	h = append(h, segmentMagic...)
	h = binary.LittleEndian.AppendUint32(h, s.version)
	var flags uint32
	if s.id.folded {
		flags |= flagCheckpoint
	}
	h = binary.LittleEndian.AppendUint32(h, flags)
	h = append(h, s.array[:]...)
	h = append(h, s.id.session[:]...)
	h = binary.LittleEndian.AppendUint64(h, s.id.counter)
	h = binary.LittleEndian.AppendUint32(h, uint32(factsLen))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(s.tables)))
	sum := sha256.New()
	sum.Write(facts) // never fails (hash.Hash)
	sum.Write(s.records)
	h = sum.Sum(h)
	h = binary.LittleEndian.AppendUint32(h, 0) // reserved
	h = binary.LittleEndian.AppendUint32(h, crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)))
	s.hash = sha256.Sum256(h)
	s.tablesAt, s.tablesLen = int64(headerLen+factsLen), int64(len(s.tables))
	return append(append(append(h, facts...), s.records...), s.tables...), nil
}

func appendParents(b []byte, ps []parent) []byte {
	b = binary.AppendUvarint(b, uint64(len(ps)))
	for _, p := range ps {
		b = appendText(b, p.id.String())
		b = append(b, p.hash[:]...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendName(b []byte, name nameKey) []byte {
	if name.sealed.dir != 0 {
		return append(append(b, name.sealed.dir), name.sealed.hash[:]...)
	}
	return appendText(append(b, 0), name.text)
}

func (r record) append(b []byte) []byte {
	b = append(b, byte(r.kind))
	switch r.kind {
	case factRecord:
		b = appendName(b, r.name)
		b = binary.AppendUvarint(b, uint64(r.size))
		b = append(b, byte(r.place.k), byte(r.place.m), byte(r.place.side), byte(len(r.place.holders)))
		b = append(b, r.place.holders...)
		b = binary.AppendUvarint(b, uint64(r.source))
		b = binary.AppendUvarint(b, uint64(r.off))
		b = binary.LittleEndian.AppendUint32(b, r.sum)
	case tombstoneRecord:
		b = appendName(b, r.name)
	case driveRecord:
		b = appendText(appendText(b, r.id), r.drive.label)
		b = append(b, boolByte(r.drive.removed)|2*boolByte(r.drive.travels && !r.drive.removed))
	case surviveRecord:
		b = append(b, byte(r.survive))
	}
	return b
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
