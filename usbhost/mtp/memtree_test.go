package mtp_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"time"
)

// memTree is a usbhost.Tree in memory.
type memTree struct {
	mu    sync.Mutex
	nodes map[string]*memNode
	down  error // returned by Create: the drives are gone
}

type memNode struct {
	dir   bool
	data  []byte // files up to memLimit
	size  int64
	sum   [32]byte
	mtime time.Time
}

const memLimit = 32 << 20 // bytes of a file that are kept; of longer ones only the sum

func newTree() *memTree { return &memTree{nodes: map[string]*memNode{".": {dir: true}}} }

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

func (t *memTree) mkdirAll(name string) error {
	if n := t.nodes[name]; n != nil {
		if !n.dir {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("not a directory")}
		}
		return nil
	}
	if err := t.mkdirAll(parent(name)); err != nil {
		return err
	}
	t.nodes[name] = &memNode{dir: true}
	return nil
}

func (t *memTree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	if t.down != nil {
		return t.down
	}
	h, buf := sha256.New(), bytes.Buffer{}
	limit := size + 1
	if size < 0 {
		limit = 1 << 62
	}
	n, err := io.Copy(io.MultiWriter(h, &cap{&buf}), io.LimitReader(r, limit))
	if err != nil {
		return err
	}
	if size >= 0 && n < size {
		return io.ErrUnexpectedEOF
	}
	if size >= 0 && n > size {
		return fmt.Errorf("%s is longer than %d bytes", name, size)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mkdirAll(parent(name)); err != nil {
		return err
	}
	if old := t.nodes[name]; old != nil && old.dir {
		return &fs.PathError{Op: "create", Path: name, Err: errors.New("is a directory")}
	}
	t.nodes[name] = &memNode{data: buf.Bytes(), size: n, sum: [32]byte(h.Sum(nil)), mtime: mtime}
	return nil
}

type cap struct{ b *bytes.Buffer }

func (c *cap) Write(p []byte) (int, error) {
	if c.b.Len() < memLimit {
		c.b.Write(p)
	}
	return len(p), nil
}

func (t *memTree) Keep(name string, size int64, mtime time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[name]
	if n == nil || n.dir || n.size != size || mtime.IsZero() || !n.mtime.Equal(mtime) {
		return &fs.PathError{Op: "keep", Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

func (t *memTree) Mkdir(name string, mtime time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mkdirAll(name); err != nil {
		return err
	}
	if !mtime.IsZero() {
		t.nodes[name].mtime = mtime
	}
	return nil
}

func (t *memTree) Remove(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	for p := range t.nodes {
		if p == name || strings.HasPrefix(p, name+"/") {
			delete(t.nodes, p)
		}
	}
	return nil
}

func (t *memTree) Rename(oldname, newname string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[oldname] == nil {
		return &fs.PathError{Op: "rename", Path: oldname, Err: fs.ErrNotExist}
	}
	for p, n := range t.nodes {
		if p == oldname || strings.HasPrefix(p, oldname+"/") {
			delete(t.nodes, p)
			t.nodes[newname+strings.TrimPrefix(p, oldname)] = n
		}
	}
	return t.mkdirAll(parent(newname))
}

func (t *memTree) Open(name string) (fs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f := &memFile{info: n.info(name), Reader: bytes.NewReader(n.data)}
	for p, c := range t.nodes {
		if n.dir && p != "." && parent(p) == name {
			f.entries = append(f.entries, fs.FileInfoToDirEntry(c.info(p)))
		}
	}
	slices.SortFunc(f.entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return f, nil
}

func (n *memNode) info(name string) fs.FileInfo {
	f := &fstest.MapFile{ModTime: n.mtime, Mode: 0o644}
	if n.dir {
		f.Mode = fs.ModeDir | 0o755
	}
	return memInfo{path.Base(name), n, f}
}

type memInfo struct {
	name string
	n    *memNode
	f    *fstest.MapFile
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.n.size }
func (i memInfo) Mode() fs.FileMode  { return i.f.Mode }
func (i memInfo) ModTime() time.Time { return i.n.mtime }
func (i memInfo) IsDir() bool        { return i.n.dir }
func (i memInfo) Sys() any           { return nil }

type memFile struct {
	*bytes.Reader
	info    fs.FileInfo
	entries []fs.DirEntry
}

func (f *memFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memFile) Close() error               { return nil }

func (f *memFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		all := f.entries
		f.entries = nil
		return all, nil
	}
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	part := f.entries[:min(n, len(f.entries))]
	f.entries = f.entries[len(part):]
	return part, nil
}

// files lists "path size mtime" of files and "path/ mtime" of directories, sorted.
func (t *memTree) files() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for p, n := range t.nodes {
		switch {
		case p == ".":
		case n.dir:
			lines = append(lines, fmt.Sprintf("%q/ %d", p, n.mtime.UnixNano()))
		default:
			lines = append(lines, fmt.Sprintf("%q %d %x %d", p, n.size, n.sum[:6], n.mtime.UnixNano()))
		}
	}
	slices.Sort(lines)
	return lines
}
