package array

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"phonebackupbox/storage/vdrive/old"
)

func sampleSegment() *segment {
	s := &segment{
		id:      segmentID{counter: 7, session: [16]byte{1, 2, 3}, folded: true},
		array:   [16]byte{9},
		writer:  "box",
		parents: []parent{{segmentID{counter: 6, session: [16]byte{1, 2, 3}}, [32]byte{4}}, {segmentID{counter: 5}, [32]byte{}}},
		covers:  []cover{{[16]byte{1, 2, 3}, 6}},
		drives:  []string{"a", "b", "c"},
		sources: []string{segmentID{counter: 2}.String()},
		tables:  make([]byte, 4*(2+1+2)),
	}
	hash := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	c := newCoders()
	for _, r := range []record{
		{kind: surviveRecord, survive: 2},
		{kind: driveRecord, id: "a", drive: driveState{label: "disk A"}},
		{kind: driveRecord, id: "b", drive: driveState{label: "disk B", removed: true}},
		{kind: driveRecord, id: "c", drive: driveState{label: "disk C", travels: true}},
		{kind: factRecord, name: keyOf("data/01/" + hash), size: 131073, place: placement{k: 2, m: 1, holders: []driveNo{0, nowhere, 2}}, sum: c.sum(s.tables)},
		{kind: factRecord, name: keyOf("keys/" + hash), size: 5, place: placement{k: 1, holders: []driveNo{1}, side: reedSolomon}, source: 1, off: 99, sum: 3},
		{kind: factRecord, name: keyOf("config"), size: 0, place: placement{k: 1, m: 1, holders: []driveNo{0, 1}}, off: 20},
		{kind: tombstoneRecord, name: keyOf("resume/x")},
	} {
		s.add(r)
	}
	return s
}

// samplePieces is a checkpoint that leaves a part of what it says in pieces.
func samplePieces() *segment {
	s := sampleSegment()
	s.pieces = []parent{{segmentID{counter: 3, folded: true}, [32]byte{7}}, {segmentID{counter: 4, session: [16]byte{2}}, [32]byte{8}}}
	return s
}

func TestSegment(t *testing.T) {
	for _, s := range []*segment{sampleSegment(), samplePieces()} {
		testSegment(t, s)
	}
	s := samplePieces()
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	b[12] = 0 // no checkpoint: only those have pieces
	b = sealed(b, int(s.tablesAt)-headerLen)
	if _, err := parseSegment(b, int64(len(b))); !errors.Is(err, errSegment) {
		t.Errorf("a segment with pieces that is no checkpoint: %v", err)
	}
}

func testSegment(t *testing.T, s *segment) {
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseSegment(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := got.checkTables(b); err != nil {
		t.Error(err)
	}
	want := *s
	want.tables = nil
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v came back as %+v", want, *got)
	}
	if cut, err := parseSegment(b[:s.tablesAt], int64(len(b))); err != nil || cut.hash != s.hash {
		t.Errorf("header and facts alone: %v", err)
	}
	for bit := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := parseSegment(bad, int64(len(bad))); err == nil && got.checkTables(bad) == nil {
			t.Fatalf("flipped bit %d is not noticed", bit)
		}
	}
	for n := range b {
		if _, err := parseSegment(b[:n], int64(n)); err == nil {
			t.Fatalf("cut off after %d bytes is not noticed", n)
		}
	}
}

// FuzzSegment feeds the parser facts with right checksums, as a hostile drive could.
func FuzzSegment(f *testing.F) {
	s := sampleSegment()
	b, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Add(b[:headerLen], false)
	pieces, err := samplePieces().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pieces, true)
	f.Add([]byte(segmentMagic), false)
	seeds, err := old.Files(func(name string) bool { return strings.HasPrefix(name, "drive0/ledger/") })
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range seeds {
		f.Add(p, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = resum(b)
		}
		s, err := parseSegment(b, int64(len(b)))
		if err != nil {
			return
		}
		_ = s.checkTables(b) // must not panic
		v := newView()
		v.apply(newTables(), s)
		s.tables = b[s.tablesAt:]
		packed := *s
		s.records, s.count = nil, 0
		packed.each(func(r *record) { s.add(*r) })
		if again, err := s.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x came back as %x, %v", b, again, err)
		}
	})
}

// resum makes a segment's lengths and checksums right.
func resum(b []byte) []byte {
	if len(b) < headerLen {
		return b
	}
	return sealed(b, len(b)-headerLen-min(20, len(b)-headerLen))
}

// sealed makes a segment's lengths and checksums right for facts of that length.
func sealed(b []byte, facts int) []byte {
	b = bytes.Clone(b)
	le := binary.LittleEndian
	le.PutUint32(b[56:], uint32(facts))
	le.PutUint32(b[60:], uint32(len(b)-headerLen-facts))
	sum := sha256.Sum256(b[headerLen:][:facts])
	copy(b[64:], sum[:])
	le.PutUint32(b[100:], newCoders().sum(b[:100]))
	return b
}

func FuzzSegmentID(f *testing.F) {
	f.Add(segmentID{counter: 1 << 40, session: [16]byte{255}}.String())
	f.Add(segmentID{folded: true}.String())
	f.Add("00000000000g-")
	f.Add("000000000081-4b7d1c2f0a9e8d7c6b5a493827160504-f")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := parseSegmentID(s); ok && id.String() != s {
			t.Errorf("%q came back as %q", s, id)
		}
	})
}

func TestSeal(t *testing.T) {
	hash := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, want := range map[string]bool{
		"data/01/" + hash:          true,
		"index/" + hash:            true,
		"snapshots/" + hash:        true,
		"keys/" + hash:             true,
		"data/02/" + hash:          false,
		"data/" + hash:             false,
		"index/" + hash[:63]:       false,
		"index/" + hash + "0":      false,
		"index/" + hash[:63] + "g": false,
		"index/A" + hash[:63]:      false,
		"config":                   false,
	} {
		s, ok := seal(name)
		if ok != want || ok && s.String() != name {
			t.Errorf("%s: %v, %s", name, ok, s)
		}
	}
}
