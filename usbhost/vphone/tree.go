package vphone

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
	"time"
)

// A Tree is a usbhost.Tree in memory: what a driver backs up into where no vault is at hand. Its exported fields may be
// looked at and changed while no driver uses it.
type Tree struct {
	Nodes map[string]*TreeNode // by path; "." is the root
	Down  error                // returned by Create if not nil: the drives are gone
	Parts map[string]*TreeNode // beginnings of files whose reader failed; Size and ModTime are the whole file's

	mu sync.Mutex // guards Nodes and Parts
}

// TreeNode is a file or a folder.
type TreeNode struct {
	Dir     bool
	Data    []byte // the first memLimit bytes of a file
	Size    int64  // bytes
	Sum     [sha256.Size]byte
	ModTime time.Time
}

// memLimit is how many bytes of a file are kept; of a longer one the sum alone tells what followed.
const memLimit = 32 << 20

// NewTree makes an empty Tree.
func NewTree() *Tree {
	return &Tree{Nodes: map[string]*TreeNode{".": {Dir: true}}, Parts: map[string]*TreeNode{}}
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

func (t *Tree) mkdirAll(name string) error {
	if n := t.Nodes[name]; n != nil {
		if !n.Dir {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("not a directory")}
		}
		return nil
	}
	if err := t.mkdirAll(parent(name)); err != nil {
		return err
	}
	t.Nodes[name] = &TreeNode{Dir: true}
	return nil
}

// Create implements usbhost.Tree.
func (t *Tree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	if t.Down != nil {
		return t.Down
	}
	h, buf := sha256.New(), bytes.Buffer{}
	limit := size + 1
	if size < 0 {
		limit = 1 << 62
	}
	n, err := io.Copy(io.MultiWriter(h, &capped{&buf}), io.LimitReader(r, limit))
	if err != nil {
		t.begin(name, size, mtime, n, buf.Bytes())
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
	if old := t.Nodes[name]; old != nil && old.Dir {
		return &fs.PathError{Op: "create", Path: name, Err: errors.New("is a directory")}
	}
	delete(t.Parts, name)
	t.Nodes[name] = &TreeNode{Data: buf.Bytes(), Size: n, Sum: [sha256.Size]byte(h.Sum(nil)), ModTime: mtime}
	return nil
}

// begin remembers the n bytes that came of a file before its reader failed.
func (t *Tree) begin(name string, size int64, mtime time.Time, n int64, data []byte) {
	if n == 0 || n >= size || n > int64(len(data)) || mtime.IsZero() {
		return
	}
	t.mu.Lock()
	t.Parts[name] = &TreeNode{Data: data, Size: size, ModTime: mtime}
	t.mu.Unlock()
}

// Begun implements usbhost.Resumer.
func (t *Tree) Begun(name string, size int64, mtime time.Time) (*io.SectionReader, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.Parts[name]
	if p == nil || p.Size != size || !p.ModTime.Equal(mtime) {
		return nil, &fs.PathError{Op: "begun", Path: name, Err: fs.ErrNotExist}
	}
	return io.NewSectionReader(bytes.NewReader(p.Data), 0, int64(len(p.Data))), nil
}

// Continue implements usbhost.Resumer.
func (t *Tree) Continue(name string, size int64, mtime time.Time, from int64, r io.Reader) error {
	begun, err := t.Begun(name, size, mtime)
	if err != nil {
		return err
	}
	if begun.Size() != from {
		return &fs.PathError{Op: "continue", Path: name, Err: fs.ErrNotExist}
	}
	return t.Create(name, size, mtime, io.MultiReader(begun, r))
}

// capped keeps the first bytes and counts the others as written.
type capped struct{ b *bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.b.Len() < memLimit {
		c.b.Write(p)
	}
	return len(p), nil
}

// Keep implements usbhost.Tree.
func (t *Tree) Keep(name string, size int64, mtime time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.Nodes[name]
	if n == nil || n.Dir || n.Size != size || mtime.IsZero() || !n.ModTime.Equal(mtime) {
		return &fs.PathError{Op: "keep", Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

// Mkdir implements usbhost.Tree.
func (t *Tree) Mkdir(name string, mtime time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mkdirAll(name); err != nil {
		return err
	}
	if !mtime.IsZero() {
		t.Nodes[name].ModTime = mtime
	}
	return nil
}

// Remove implements usbhost.Tree.
func (t *Tree) Remove(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Nodes[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	for p := range t.Nodes {
		if p == name || strings.HasPrefix(p, name+"/") {
			delete(t.Nodes, p)
		}
	}
	return nil
}

// Rename implements usbhost.Tree.
func (t *Tree) Rename(oldname, newname string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Nodes[oldname] == nil {
		return &fs.PathError{Op: "rename", Path: oldname, Err: fs.ErrNotExist}
	}
	for p, n := range t.Nodes {
		if p == oldname || strings.HasPrefix(p, oldname+"/") {
			delete(t.Nodes, p)
			t.Nodes[newname+strings.TrimPrefix(p, oldname)] = n
		}
	}
	return t.mkdirAll(parent(newname))
}

// Open implements usbhost.Tree.
func (t *Tree) Open(name string) (fs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.Nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f := &TreeFile{info: n.info(name), Reader: bytes.NewReader(n.Data)}
	if !n.Dir {
		return f, nil
	}
	for p, c := range t.Nodes {
		if p != "." && parent(p) == name {
			f.entries = append(f.entries, fs.FileInfoToDirEntry(c.info(p)))
		}
	}
	slices.SortFunc(f.entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return f, nil
}

func (n *TreeNode) info(name string) fs.FileInfo { return memInfo{path.Base(name), n} }

type memInfo struct {
	name string
	n    *TreeNode
}

func (i memInfo) Name() string { return i.name }
func (i memInfo) Size() int64  { return i.n.Size }
func (i memInfo) Mode() fs.FileMode {
	if i.n.Dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
func (i memInfo) ModTime() time.Time { return i.n.ModTime }
func (i memInfo) IsDir() bool        { return i.n.Dir }
func (i memInfo) Sys() any           { return nil }

// TreeFile is a file or folder of a Tree, opened.
type TreeFile struct {
	*bytes.Reader
	info    fs.FileInfo
	entries []fs.DirEntry
}

// Stat implements fs.File.
func (f *TreeFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements fs.File.
func (f *TreeFile) Close() error { return nil }

// ReadDir implements fs.ReadDirFile.
func (f *TreeFile) ReadDir(n int) ([]fs.DirEntry, error) {
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

// Files lists "path size mtime" of files and "path/ mtime" of directories, sorted.
func (t *Tree) Files() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for p, n := range t.Nodes {
		switch {
		case p == ".":
		case n.Dir:
			lines = append(lines, fmt.Sprintf("%q/ %d", p, n.ModTime.UnixNano()))
		default:
			lines = append(lines, fmt.Sprintf("%q %d %x %d", p, n.Size, n.Sum[:6], n.ModTime.UnixNano()))
		}
	}
	slices.Sort(lines)
	return lines
}
