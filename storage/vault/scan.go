package vault

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
)

// scanIndex is parseIndex for documents laid out as stock restic and we write them, to the byte: a million and a half blobs
// are 270 MB of JSON, and to open a vault must not take long. It reports whether it got to the end. Where it does not, the
// packs that it has added are right, and what follows is for a real parser to judge.
func scanIndex(p []byte, add func(pack hash, blobs []packedBlob)) bool {
	s := scanner{p: p}
	if !s.skip(`{"packs":[`) {
		return false
	}
	var blobs []packedBlob
	for first := true; first || s.skip(","); first = false {
		var pack hash
		if !s.skip(`{"id":"`) || !s.hash(&pack) || !s.skip(`","blobs":[`) {
			return false
		}
		blobs = blobs[:0]
		for first := true; first || s.skip(","); first = false {
			var b packedBlob
			if !s.blob(&b) || !b.valid() {
				return false
			}
			blobs = append(blobs, b)
		}
		if !s.skip(`]}`) {
			return false
		}
		add(pack, blobs)
	}
	return s.skip(`]}`) && len(bytes.TrimSpace(s.p)) == 0
}

// scanTree is parseTree for documents laid out as stock restic and we write them: to keep a million files, their nodes are
// read. It reports whether it got to the end. Where it does not, the nodes that it has added are right, and what follows is
// for a real parser to judge.
func scanTree(p []byte, add func(node) error) (done bool, err error) {
	s := scanner{p: p}
	if !s.skip(`{"nodes":[`) {
		return false, nil
	}
	var buf []byte
	for first := true; first || s.skip(","); first = false {
		begin := s.p
		n, ok := s.node()
		if ok {
			// What looks like ours is, if we would write it so.
			buf = n.append(buf[:0])
			ok = bytes.Equal(buf, begin[:len(begin)-len(s.p)])
		}
		if !ok {
			s.p = begin
			if n, ok, err = s.strangeNode(); !ok || err != nil {
				return false, err
			}
		}
		if err := add(n); err != nil {
			return false, err
		}
	}
	return s.skip(`]}`) && len(bytes.TrimSpace(s.p)) == 0, nil
}

// A scanner reads what it is told to expect. After a false, the rest is of no use.
type scanner struct{ p []byte }

func (s *scanner) skip(what string) bool {
	if len(s.p) < len(what) || string(s.p[:len(what)]) != what {
		return false
	}
	s.p = s.p[len(what):]
	return true
}

// hash reads 64 hexadecimal digits.
func (s *scanner) hash(h *hash) bool {
	if len(s.p) < 2*len(h) {
		return false
	}
	if _, err := hex.Decode(h[:], s.p[:2*len(h)]); err != nil {
		return false
	}
	s.p = s.p[2*len(h):]
	return true
}

// number reads a whole number below 2³².
func (s *scanner) number(n *uint32) bool {
	m, ok := s.digits()
	*n = uint32(m)
	return ok && m < 1<<32
}

func (s *scanner) blob(b *packedBlob) bool {
	if !s.skip(`{"id":"`) || !s.hash(&b.id) {
		return false
	}
	switch {
	case s.skip(`","type":"data","offset":`):
	case s.skip(`","type":"tree","offset":`):
		b.typ = treeBlob
	default:
		return false
	}
	if !s.number(&b.off) || !s.skip(`,"length":`) || !s.number(&b.length) {
		return false
	}
	if s.skip(`,"uncompressed_length":`) && !s.number(&b.plain) {
		return false
	}
	return s.skip("}")
}

// node reads a node as we write it, but for odd names and times. That it is one, nobody has checked.
func (s *scanner) node() (n node, ok bool) {
	if !s.skip(`{"name":"`) {
		return n, false
	}
	i := bytes.IndexByte(s.p, '"')
	if i < 0 || bytes.IndexByte(s.p[:i], '\\') >= 0 {
		return n, false
	}
	n.name = string(s.p[:i])
	s.p = s.p[i:]
	isDir := false
	switch {
	case s.skip(`","type":"file","mode":`):
	case s.skip(`","type":"dir","mode":`):
		isDir = true
	default:
		return n, false
	}
	mode, ok := s.digits()
	n.mode = fs.FileMode(mode)
	if !ok || n.mode&^(fs.ModeDir|fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 || n.mode.IsDir() != isDir ||
		!validElement(n.name) || !s.skip(`,"mtime":"`) {
		return n, false
	}
	if i = bytes.IndexByte(s.p, '"'); i < 0 || n.mtime.UnmarshalText(s.p[:i]) != nil {
		return n, false
	}
	at := s.p[:i]
	n.mtime = n.mtime.UTC()
	s.p = s.p[i:]
	for _, field := range [...]string{`","atime":"`, `","ctime":"`} {
		if !s.skip(field) || !bytes.HasPrefix(s.p, at) {
			return n, false
		}
		s.p = s.p[len(at):]
	}
	if !s.skip(`","uid":0,"gid":0`) {
		return n, false
	}
	if isDir {
		return n, s.skip(`,"content":null,"subtree":"`) && s.hash(&n.subtree) && s.skip(`"}`)
	}
	if s.skip(`,"size":`) {
		size, ok := s.digits()
		if n.size = int64(size); !ok || size > 1<<62 {
			return n, false
		}
	}
	return n, s.skip(`,"links":1,"content":[`) && s.hashes(&n.content) && s.skip(`]}`)
}

// hashes reads hashes in quotes.
func (s *scanner) hashes(list *[]hash) bool {
	const each = 2*len(hash{}) + len(`"",`)
	n := (max(bytes.IndexByte(s.p, ']'), 0) + 1) / each
	*list = make([]hash, n)
	for i := range *list {
		if i > 0 && !s.skip(`,`) || !s.skip(`"`) || !s.hash(&(*list)[i]) || !s.skip(`"`) {
			return false
		}
	}
	return true
}

// digits reads a whole number below 10¹⁹.
func (s *scanner) digits() (n uint64, ok bool) {
	i := 0
	for i < len(s.p) && i < 19 && s.p[i]-'0' <= 9 {
		n = n*10 + uint64(s.p[i]-'0')
		i++
	}
	ok = i > 0 && (i == 1 || s.p[0] != '0')
	s.p = s.p[i:]
	return n, ok
}

// strangeNode reads one node of any kind.
func (s *scanner) strangeNode() (n node, ok bool, err error) {
	d := json.NewDecoder(bytes.NewReader(s.p))
	var raw json.RawMessage
	if d.Decode(&raw) != nil {
		return n, false, nil
	}
	n, err = parseNode(raw)
	s.p = s.p[d.InputOffset():]
	return n, err == nil, err
}
