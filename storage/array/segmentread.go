package array

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"phonebackupbox/storage"
)

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
