package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// An FS shows the files of a snapshot. It is an fs.FS with ReadDir, ReadFile and Stat, bound to the context of Vault.FS
// and safe for concurrent use. Names may hold any bytes but '/' and NUL. Files are io.ReaderAt, io.Seeker and io.WriterTo;
// symbolic links and other special files are listed with their mode, never followed, and cannot be opened. The
// modification time of a file is the zero Time where the phone did not tell it.
type FS struct {
	v    *Vault
	ctx  context.Context
	src  *source
	root hash

	mu    sync.Mutex
	dirs  map[hash]*treeCache // folders read lately
	order []hash              // their keys, the newest last
	held  int                 // nodes in dirs
}

// treeCache is a folder that was read. Nodes are in order of their names.
type treeCache struct{ nodes []node }

// maxHeld is how many nodes an FS remembers: about 12 MB.
const maxHeld = 50_000

// FS opens a snapshot for reading.
func (v *Vault) FS(ctx context.Context, s Snapshot) (*FS, error) {
	if s.Err != nil {
		return nil, s.Err
	}
	if s.tree == (hash{}) {
		return nil, fmt.Errorf("vault: snapshot %.8s: %w", s.ID, ErrNoSnapshot)
	}
	f := &FS{v: v, ctx: ctx, src: v.newSource(), root: s.tree, dirs: map[hash]*treeCache{}}
	if _, err := f.tree(s.tree); err != nil {
		return nil, fmt.Errorf("vault: snapshot %.8s: %w", s.ID, err)
	}
	return f, nil
}

// tree returns a folder's nodes.
func (f *FS) tree(id hash) ([]node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.dirs[id]; c != nil {
		return c.nodes, nil
	}
	c := &treeCache{}
	if err := f.v.loadTree(f.ctx, f.src, id, func(n node) error { c.nodes = append(c.nodes, n); return nil }); err != nil {
		return nil, err
	}
	for len(f.order) > 0 && f.held+len(c.nodes) > maxHeld {
		f.held -= len(f.dirs[f.order[0]].nodes)
		delete(f.dirs, f.order[0])
		f.order = f.order[1:]
	}
	f.dirs[id] = c
	f.order = append(f.order, id)
	f.held += len(c.nodes)
	return c.nodes, nil
}

// node finds what name names.
func (f *FS) node(op, name string) (node, error) {
	elems, err := split(op, name)
	if err != nil {
		return node{}, err
	}
	n := node{name: ".", mode: dirMode, subtree: f.root}
	for _, elem := range elems {
		if !n.mode.IsDir() {
			return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		nodes, err := f.tree(n.subtree)
		if err != nil {
			return node{}, &fs.PathError{Op: op, Path: name, Err: err}
		}
		i, ok := slices.BinarySearchFunc(nodes, elem, func(n node, s string) int { return strings.Compare(n.name, s) })
		if !ok {
			return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		n = nodes[i]
	}
	return n, nil
}

// Open opens a file or a directory.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.node("open", name)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		list, err := f.list(n)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{info: info{n}, path: name, list: list}, nil
	}
	return newFile(f.ctx, f.src, n, name)
}

// Stat describes a file without opening it; symbolic links are not followed.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.node("stat", name)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// Lstat is Stat, for fs.ReadLinkFS.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

// ReadLink returns the target of a symbolic link as the phone or stock restic stored it. Nothing here follows it.
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.node("readlink", name)
	if err == nil && n.mode.Type() != fs.ModeSymlink {
		err = &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.link, err
}

// ReadDir lists a directory in ascending byte order of names.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.node("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	list, err := f.list(n)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return list, nil
}

func (f *FS) list(n node) ([]fs.DirEntry, error) {
	nodes, err := f.tree(n.subtree)
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		list[i] = info{n}
	}
	return list, nil
}

// ReadFile reads a whole file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p, err := readAll(file)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// readAll reads a file whose size its Stat tells.
func readAll(file fs.File) ([]byte, error) {
	i, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The size was added up from the chunks in the index, so it is honest; one that does not fit in memory is the caller's.
	p := make([]byte, i.Size()+1)
	n, err := readFull(file, p)
	if err != io.EOF {
		return nil, err
	}
	return p[:n], nil
}

// info is a node as fs.FileInfo and fs.DirEntry.
type info struct{ n node }

func (i info) Name() string               { return i.n.name }
func (i info) Size() int64                { return i.n.size }
func (i info) Mode() fs.FileMode          { return i.n.mode }
func (i info) ModTime() time.Time         { return i.n.mtime }
func (i info) IsDir() bool                { return i.n.mode.IsDir() }
func (i info) Sys() any                   { return i.n.beyond() }
func (i info) Type() fs.FileMode          { return i.n.mode.Type() }
func (i info) Info() (fs.FileInfo, error) { return i, nil }
func (i info) String() string             { return fs.FormatDirEntry(i) }

// ContentID names the content of a file that an FS or Tree told about: files with the same are the same, byte for byte. It is
// the SHA-256 of the IDs of its chunks, in hexadecimal, and "" for what is not a regular file of ours.
func ContentID(i fs.FileInfo) string {
	n, ok := i.(info)
	if !ok || !n.Mode().IsRegular() {
		return ""
	}
	h := sha256.New()
	for _, id := range n.n.content {
		h.Write(id[:]) // never fails (hash.Hash)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// An openDir is a directory being listed.
type openDir struct {
	info
	path string
	list []fs.DirEntry
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	left := d.list[d.next:]
	if n > 0 && len(left) == 0 {
		return nil, io.EOF
	}
	if n > 0 && len(left) > n {
		left = left[:n]
	}
	d.next += len(left)
	return slices.Clone(left), nil
}

// Open reads back what the tree holds now. Directories are fs.ReadDirFile; names may hold any bytes but '/' and NUL.
func (t *Tree) Open(name string) (fs.File, error) {
	if err := t.usable(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	t.mu.Lock()
	e, err := t.find("open", name)
	if err == nil && (e == nil || e.dir != nil) {
		defer t.mu.Unlock()
		return t.openDir(name, e)
	}
	err = cmp.Or(t.trim(), err)
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return newFile(t.ctx, t.src, e.node(), name)
}

// openDir lists a folder; e is nil for the root. t.mu is held.
func (t *Tree) openDir(name string, e *entry) (fs.File, error) {
	d, n := t.root, node{name: ".", mode: dirMode}
	if e != nil {
		d, n = e.dir, e.node()
	}
	elems, err := split("open", name)
	if err == nil {
		err = t.load(d, elems)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, 0, len(d.entries))
	for _, e := range d.entries {
		list = append(list, info{e.bare()})
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	if err := t.trim(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openDir{info: info{n}, path: name, list: list}, nil
}
