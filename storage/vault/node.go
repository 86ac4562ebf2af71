package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A node is one entry of a tree (design.rst, "Trees and Data").
type node struct {
	name    string // any bytes but '/' and NUL
	mode    fs.FileMode
	mtime   time.Time // the zero Time: unknown
	size    int64     // bytes
	content []hash    // of a regular file
	subtree hash      // of a directory
	link    string    // target of a symbolic link
	raw     []byte    // its JSON if it came from a tree and we have no field for all of it; nil for ours
}

// nodeJSON is a node as stock restic writes it.
type nodeJSON struct {
	Name       string      `json:"name"`
	Type       string      `json:"type"`
	Mode       fs.FileMode `json:"mode"`
	ModTime    time.Time   `json:"mtime"`
	ChangeTime time.Time   `json:"ctime"`
	Size       uint64      `json:"size"`
	Link       string      `json:"linktarget"`
	LinkRaw    []byte      `json:"linktarget_raw"`
	Content    []hash      `json:"content"`
	Subtree    *hash       `json:"subtree"`
}

// nodeTypes are the bits of fs.FileMode that a node's type stands for.
var nodeTypes = map[string]fs.FileMode{
	"file": 0, "dir": fs.ModeDir, "symlink": fs.ModeSymlink, "dev": fs.ModeDevice,
	"chardev": fs.ModeDevice | fs.ModeCharDevice, "fifo": fs.ModeNamedPipe, "socket": fs.ModeSocket, "irregular": fs.ModeIrregular,
}

// parseTree calls add for each node of a tree, in ascending byte order of their names.
func parseTree(p []byte, add func(node) error) error {
	last := ""
	inOrder := func(n node) error {
		if n.name <= last {
			return fmt.Errorf("%w: tree is not in order", ErrDamaged)
		}
		last = n.name
		return add(n)
	}
	seen := 0
	if done, err := scanTree(p, func(n node) error { seen++; return inOrder(n) }); done || err != nil {
		return err
	}
	return decodeTree(p, seen, inOrder)
}

// decodeTree is parseTree for any JSON, without the first skip nodes.
func decodeTree(p []byte, skip int, add func(node) error) error {
	d := json.NewDecoder(bytes.NewReader(p))
	found, err := seekArray(d, "nodes")
	if err != nil || !found {
		return err
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if skip > 0 {
			skip--
			continue
		}
		n, err := parseNode(raw)
		if err == nil {
			err = add(n)
		}
		if err != nil {
			return err
		}
	}
	return endArray(d)
}

// parseNode reads one node. The node shares no memory with p except raw, which is a copy.
func parseNode(p []byte) (node, error) {
	var j nodeJSON
	if err := json.Unmarshal(p, &j); err != nil {
		return node{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	name, err := strconv.Unquote(`"` + j.Name + `"`)
	if err != nil || !validElement(name) {
		return node{}, fmt.Errorf("%w: node name %.80q", ErrDamaged, j.Name)
	}
	typ, ok := nodeTypes[j.Type]
	if !ok {
		return node{}, fmt.Errorf("%w: node type %.20q", ErrDamaged, j.Type)
	}
	if j.Size > 1<<62 {
		return node{}, fmt.Errorf("%w: a file of %d bytes", ErrDamaged, j.Size)
	}
	n := node{name: name, mode: typ | j.Mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky), mtime: j.ModTime.UTC(), link: j.Link}
	if j.LinkRaw != nil {
		n.link = string(j.LinkRaw)
	}
	if j.ChangeTime.IsZero() && j.ModTime.Equal(time.Unix(0, 0)) {
		n.mtime = time.Time{}
	}
	switch typ {
	case 0:
		n.size, n.content = int64(j.Size), j.Content
	case fs.ModeDir:
		if j.Subtree == nil {
			return node{}, fmt.Errorf("%w: a folder without a tree", ErrDamaged)
		}
		n.subtree = *j.Subtree
	default:
		n.size = int64(len(n.link))
	}
	if ours := n.append(nil); !bytes.Equal(ours, p) {
		n.raw = bytes.Clone(p)
	}
	return n, nil
}

// Beyond is the Sys of a file that stock restic backed up with more than an fs.FS can show.
type Beyond struct{ what []string }

// NotRestored names what a restore from an fs.FS leaves out, in the plural.
func (b Beyond) NotRestored() []string { return b.what }

// beyond is nil where there is nothing to tell.
func (n *node) beyond() any {
	if n.raw == nil {
		return nil
	}
	var j struct {
		Links      uint64            `json:"links"`
		Attributes []json.RawMessage `json:"extended_attributes"`
	}
	if json.Unmarshal(n.raw, &j) != nil {
		return nil
	}
	var b Beyond
	if len(j.Attributes) > 0 {
		b.what = append(b.what, "extended attributes")
	}
	if j.Links > 1 && n.mode.IsRegular() {
		b.what = append(b.what, "hard links to each other")
	}
	if b.what == nil {
		return nil
	}
	return b
}

// validElement reports whether s may be the name of an entry of a folder.
func validElement(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 64<<10 && strings.IndexByte(s, '/') < 0 && strings.IndexByte(s, 0) < 0
}

// Modes of what we write: a phone has none to tell.
const (
	fileMode = 0o644
	dirMode  = fs.ModeDir | 0o755
)

// append appends the node's JSON, field for field as stock restic encodes it, so that the same folder has the same hash
// whoever writes it. uid and gid are 0. A modification time that is unknown, or that JSON cannot hold, is written as 1970
// with a ctime of the year 1, by which parseNode knows it.
func (n *node) append(p []byte) []byte {
	if n.raw != nil {
		return append(p, n.raw...)
	}
	mtime, ctime := n.mtime, n.mtime
	if !storable(mtime) {
		mtime, ctime = time.Unix(0, 0), time.Time{}
	}
	p = appendName(append(p, `{"name":"`...), n.name)
	if n.mode.IsDir() {
		p = append(p, `","type":"dir","mode":`...)
	} else {
		p = append(p, `","type":"file","mode":`...)
	}
	p = strconv.AppendUint(p, uint64(n.mode), 10)
	p = mtime.UTC().AppendFormat(append(p, `,"mtime":"`...), time.RFC3339Nano)
	p = mtime.UTC().AppendFormat(append(p, `","atime":"`...), time.RFC3339Nano)
	p = ctime.UTC().AppendFormat(append(p, `","ctime":"`...), time.RFC3339Nano)
	p = append(p, `","uid":0,"gid":0`...)
	if n.mode.IsDir() {
		p = appendHex(append(p, `,"content":null,"subtree":"`...), n.subtree)
		return append(p, `"}`...)
	}
	if n.size != 0 {
		p = strconv.AppendInt(append(p, `,"size":`...), n.size, 10)
	}
	p = append(p, `,"links":1,"content":[`...)
	for i, h := range n.content {
		if i > 0 {
			p = append(p, ',')
		}
		p = append(appendHex(append(p, '"'), h), '"')
	}
	return append(p, `]}`...)
}

// storable reports whether a modification time is known and can be written as RFC 3339.
func storable(t time.Time) bool {
	return !t.IsZero() && t.Year() >= 1 && t.Year() <= 9999
}

func appendHex(p []byte, h hash) []byte { return hex.AppendEncode(p, h[:]) }

// appendName appends a name as restic quotes it (strconv.Quote without the quotes), inside a JSON string.
func appendName(p []byte, name string) []byte {
	plain := true
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			plain = false
			break
		}
	}
	if plain {
		return append(p, name...)
	}
	quoted := strconv.Quote(name)
	s, err := json.Marshal(quoted[1 : len(quoted)-1])
	if err != nil { // a string always marshals
		panic(err)
	}
	return append(p, s[1:len(s)-1]...)
}

// A treeWriter encodes one folder's tree as it comes: hashed and compressed, never whole and plain in memory.
type treeWriter struct {
	out bytes.Buffer
	enc *zstd.Encoder
	buf []byte
}

// encodeTree returns a tree's hash, its compressed bytes and its plain size. nodes yields in ascending order of names.
// The bytes are valid until the next call.
func (w *treeWriter) encode(nodes func(yield func(*node) bool)) (id hash, packed []byte, size int64, err error) {
	h := sha256.New()
	w.out.Reset()
	if w.enc == nil {
		if w.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(512<<10)); err != nil {
			return id, nil, 0, fmt.Errorf("vault: zstd: %w", err)
		}
	}
	w.enc.Reset(&w.out)
	w.buf = append(w.buf[:0], `{"nodes":[`...)
	flush := func() error {
		h.Write(w.buf)
		size += int64(len(w.buf))
		_, err := w.enc.Write(w.buf)
		w.buf = w.buf[:0]
		return err
	}
	first := true
	for n := range nodes {
		if !first {
			w.buf = append(w.buf, ',')
		}
		first = false
		if w.buf = n.append(w.buf); len(w.buf) > 32<<10 {
			if err := flush(); err != nil {
				return id, nil, 0, fmt.Errorf("vault: zstd: %w", err)
			}
		}
		if size > maxTree {
			break
		}
	}
	w.buf = append(w.buf, "]}\n"...)
	if err := flush(); err != nil {
		return id, nil, 0, fmt.Errorf("vault: zstd: %w", err)
	}
	if err := w.enc.Close(); err != nil {
		return id, nil, 0, fmt.Errorf("vault: zstd: %w", err)
	}
	if size > maxTree {
		return id, nil, size, fmt.Errorf("its list passes %d MiB: %w", maxTree>>20, ErrTooBig)
	}
	return hash(h.Sum(nil)), w.out.Bytes(), size, nil
}
