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

// parseHeader reads the first headerLen bytes of a segment file of size bytes. The id comes back without its name
// being checked; factsSum is the hash that the facts must have.
func parseHeader(h []byte, size int64) (s *segment, factsLen int64, factsSum [32]byte, err error) {
	if len(h) != headerLen || string(h[:8]) != segmentMagic {
		return nil, 0, factsSum, fmt.Errorf("%w: no header", errSegment)
	}
	le := binary.LittleEndian
	if le.Uint32(h[100:]) != crc32.Checksum(h[:100], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, 0, factsSum, fmt.Errorf("%w: header checksum", errSegment)
	}
	version := le.Uint32(h[8:])
	switch {
	case version > piecesVersion:
		return nil, 0, factsSum, fmt.Errorf("ledger of version %d: %w", version, errNewer)
	case version < wholeVersion:
		return nil, 0, factsSum, fmt.Errorf("%w: version %d is not known", errSegment, version)
	}
	s = &segment{hash: sha256.Sum256(h), version: version}
	flags := le.Uint32(h[12:])
	if flags&^flagCheckpoint != 0 || flags == 0 && version == piecesVersion || le.Uint32(h[96:]) != 0 {
		return nil, 0, factsSum, fmt.Errorf("%w: unknown flags", errSegment)
	}
	s.id.folded = flags&flagCheckpoint != 0
	copy(s.array[:], h[16:])
	copy(s.id.session[:], h[32:])
	s.id.counter = le.Uint64(h[48:])
	factsLen = int64(le.Uint32(h[56:]))
	s.tablesAt, s.tablesLen = headerLen+factsLen, int64(le.Uint32(h[60:]))
	copy(factsSum[:], h[64:96])
	if s.tablesAt+s.tablesLen != size || size > storage.MaxBlob {
		return nil, 0, factsSum, fmt.Errorf("%w: %d bytes where the header says %d", errSegment, size, s.tablesAt+s.tablesLen)
	}
	return s, factsLen, factsSum, nil
}

// parseSegment reads header and facts; b may be cut off after them. size is the file's. The segment keeps b.
func parseSegment(b []byte, size int64) (*segment, error) {
	if len(b) < headerLen {
		return nil, fmt.Errorf("%w: %d bytes", errSegment, len(b))
	}
	s, factsLen, factsSum, err := parseHeader(b[:headerLen], size)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < headerLen+factsLen {
		return nil, fmt.Errorf("%w: facts cut off", errSegment)
	}
	facts := b[headerLen:][:factsLen]
	if sha256.Sum256(facts) != factsSum {
		return nil, fmt.Errorf("%w: facts checksum", errSegment)
	}
	r := reader{b: facts}
	s.read(&r)
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("%w: facts end at the wrong place or make no sense", errSegment)
	}
	return s, nil
}

// checkTables verifies all of a segment file's checksums of checksums; b is the whole file.
func (s *segment) checkTables(b []byte) error {
	var err error
	s.each(func(r *record) {
		if r.kind == factRecord && r.source == 0 && err == nil && !s.tableIs(b, r) {
			err = fmt.Errorf("%w: checksums of %s", errSegment, r.name)
		}
	})
	return err
}

// tableIs reports whether the checksums of a fact, which are in this segment's file b, are good.
func (s *segment) tableIs(b []byte, r *record) bool {
	t := b[s.tablesAt:][r.off:][:r.shape().tableLen()]
	return crc32.Checksum(t, crc32.MakeTable(crc32.Castagnoli)) == r.sum
}

// read decodes the facts.
func (s *segment) read(r *reader) {
	s.writer = r.text(maxText)
	s.parents = r.parents(maxParents)
	for range r.count(maxCovers, 17) {
		var c cover
		copy(c.session[:], r.bytes(16))
		c.upTo = r.uvarint(1<<48 - 1)
		s.covers = append(s.covers, c)
	}
	if s.version == piecesVersion {
		s.pieces = r.parents(maxPieces)
		r.bad = r.bad || len(s.pieces) == 0
	}
	for range r.count(maxDrives, 1) {
		s.drives = append(s.drives, r.text(maxText))
	}
	for range r.count(maxSources, 1) {
		name := r.text(maxText)
		_, ok := parseSegmentID(name)
		r.bad = r.bad || !ok
		s.sources = append(s.sources, name)
	}
	s.count = r.count(1<<28, 2)
	s.records = r.b
	var rec record
	for range s.count {
		if s.readRecord(r, &rec); r.bad {
			return
		}
	}
	s.records = s.records[:len(s.records)-len(r.b)]
	if !s.id.folded && (len(s.parents) > 1 || len(s.covers) > 0) || s.id.counter >= 1<<48 {
		r.bad = true
	}
}

func (s *segment) readRecord(r *reader, rec *record) {
	*rec = record{kind: recordKind(r.byte())}
	switch rec.kind {
	case factRecord:
		s.readFact(r, rec)
	case tombstoneRecord:
		rec.name = r.name()
	case driveRecord:
		rec.id, rec.drive.label = r.text(maxText), r.text(maxText)
		b := r.byte()
		rec.drive.removed, rec.drive.travels = b == 1, b == 2
		r.bad = r.bad || b > 2 || rec.id == ""
	case surviveRecord:
		rec.survive = int(r.byte())
		r.bad = r.bad || rec.survive > MaxSurvive
	default:
		r.bad = true
	}
}

// readFact decodes a fact and refuses one that could not have been written.
func (s *segment) readFact(r *reader, rec *record) {
	rec.name = r.name()
	rec.size = int64(r.uvarint(maxSize))
	p := &rec.place
	p.k, p.m, p.side = int(r.byte()), int(r.byte()), sideKind(r.byte())
	p.holders = r.bytes(int(r.byte()))
	rec.source = int(r.uvarint(uint64(len(s.sources))))
	rec.off = uint32(r.uvarint(storage.MaxBlob))
	rec.sum = binary.LittleEndian.Uint32(r.bytes(4))
	if r.bad {
		return
	}
	known := func(no driveNo) bool { return no == nowhere || int(no) < len(s.drives) }
	for _, h := range p.holders {
		r.bad = r.bad || !known(h)
	}
	switch {
	case p.side > reedSolomon || p.k < 1 || p.k+p.m > 250,
		p.k == 1 && len(p.holders) == 0,
		p.k > 1 && (len(p.holders) != p.k+p.m || rec.size < int64(p.k)*int64(p.k)),
		p.side != noSide && rec.size == 0,
		rec.source == 0 && int64(rec.off)+int64(rec.shape().tableLen()) > s.tablesLen:
		r.bad = true
	}
}

// reader takes a segment's facts apart. Once bad, it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) || r.bad {
		r.bad = true
		return make([]byte, n) // n is at most 255 or was limited by the caller
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte { return r.bytes(1)[0] }

func (r *reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most || r.bad || n > 1 && r.b[n-1] == 0 { // one spelling each
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things follow that take at least each bytes.
func (r *reader) count(most uint64, each int) uint64 {
	n := r.uvarint(most)
	if n > uint64(len(r.b)/each) {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) parents(most uint64) (ps []parent) {
	for range r.count(most, 33) {
		id, ok := parseSegmentID(r.text(maxText))
		r.bad = r.bad || !ok
		p := parent{id: id}
		copy(p.hash[:], r.bytes(32))
		ps = append(ps, p)
	}
	return ps
}

func (r *reader) text(most uint64) string { return string(r.bytes(int(r.uvarint(most)))) }

func (r *reader) name() (n nameKey) {
	n.sealed.dir = r.byte()
	if n.sealed.dir == 0 {
		n.text = r.text(maxName)
		if _, sealed := seal(n.text); sealed || !storage.ValidName(n.text) {
			r.bad = true
		}
		return n
	}
	copy(n.sealed.hash[:], r.bytes(32))
	if int(n.sealed.dir) >= len(sealedDirs) || r.bad {
		r.bad = true
		return nameKey{}
	}
	return n
}
