package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Tree is a snapshot being written. It has the methods of usbhost.Tree and is safe for concurrent use. It starts as the
// phone's last snapshot; nothing of it can be seen by readers of the vault until Commit.
//
// A file takes the place of a file of the same name. A folder in the way of a file, or a file in the way of a folder, is
// fs.ErrExist: whoever knows that it is gone from the phone removes it first.
type Tree struct {
	v     *Vault
	ctx   context.Context // of Begin: Create, Keep and Open stop when it ends
	phone Phone
	src   *source
	w     *writer
	small sync.Pool // *[]byte of inlineSize+1 bytes
	start time.Time
	run   uint64 // snapshots of the phone that came before
	first uint32 // packs with this number and higher are this Tree's

	quit   chan struct{} // closed to end the keeper
	keeper sync.WaitGroup
	rec    recorder

	mu     sync.Mutex // guards what follows
	root   *dir
	open   openDirs   // folders in memory
	enc    treeWriter // of folders that leave memory
	resume *resumes   // what runs that never committed had stored
	lost   []string   // folders of the last snapshot that could not be read
	done   bool
}

const (
	inlineSize = 128 << 10 // files up to this size, in bytes, are stored by the goroutine that brings them
	maxPath    = 64 << 10  // bytes
	maxDepth   = 1000      // folders in folders
)

// Begin opens a Tree that holds what the phone's last snapshot holds, or nothing. The Tree works until ctx ends; whoever
// began it calls Commit, or Close.
func (v *Vault) Begin(ctx context.Context, phone Phone) (*Tree, error) {
	switch {
	case v.o.ReadOnly:
		return nil, fmt.Errorf("vault: begin: opened for reading only: %w", fs.ErrPermission)
	case v.cfg.Version != 2:
		return nil, fmt.Errorf("vault: begin: format version 1 can only be read: %w", errors.ErrUnsupported)
	case phone.ID == "" || len(phone.ID) > 4096 || len(phone.Name) > 4096:
		return nil, fmt.Errorf("vault: begin: a phone's ID has %d bytes and its name %d: %w", len(phone.ID), len(phone.Name), fs.ErrInvalid)
	}
	t := &Tree{v: v, ctx: ctx, phone: phone, src: v.newSource(), root: newDir(nil),
		quit: make(chan struct{}), start: v.o.Now()}
	t.small.New = func() any { p := make([]byte, inlineSize+1); return &p }
	t.w = newWriter(ctx, v)
	t.first = v.index.packCount()
	v.mu.Lock()
	busy, closed := v.tree != nil || v.held, v.closed
	if !busy && !closed {
		v.tree = t
	}
	v.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("vault: begin: %w", ErrBusy)
	}
	if closed {
		return nil, fmt.Errorf("vault: begin: %w", ErrClosed)
	}
	if err := t.begin(ctx); err != nil {
		v.mu.Lock()
		v.tree = nil
		v.mu.Unlock()
		return nil, err
	}
	t.keeper.Go(t.keep)
	return t, nil
}

// begin reads what the Tree starts with.
func (t *Tree) begin(ctx context.Context) error {
	if err := t.v.findUnindexed(ctx); err != nil {
		return err
	}
	t.v.dropReturned(ctx)
	last, ok, err := t.v.lastOf(ctx, t.phone.ID)
	if err != nil {
		return err
	}
	if ok {
		t.root = &dir{id: last.tree, stored: true}
		t.phone.Name = firstNonEmpty(t.phone.Name, last.Name)
		t.run = 1
		if last.Outcome != nil {
			t.run = last.Outcome.Run + 1
		}
	}
	t.w.put = slices.Clone(t.v.unindexed) // found by scanPacks, or left by a Tree that failed: synced and indexed anew
	t.v.unindexed = nil
	return t.loadResume(ctx)
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// split checks a path and returns its elements; "." has none.
func split(op, name string) ([]string, error) {
	if name == "." {
		return nil, nil
	}
	if len(name) > maxPath {
		return nil, &fs.PathError{Op: op, Path: quote(name[:80]) + "...", Err: fs.ErrInvalid}
	}
	elems := strings.Split(name, "/")
	if len(elems) > maxDepth {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	for _, e := range elems {
		if !validElement(e) {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
		}
	}
	return elems, nil
}

// load reads a folder that has not been looked into yet. One that cannot be read is empty from then on, so that its
// files are read from the phone anew, and the snapshot will say so. t.mu is held.
func (t *Tree) load(d *dir, path []string) error {
	if d.loaded {
		t.open.touch(d)
		return nil
	}
	d.entries = map[string]*entry{}
	err := t.v.loadTree(t.ctx, t.src, d.id, func(n node) error {
		e := newEntry(n)
		if n.mode.IsDir() {
			e.dir = &dir{id: n.subtree, stored: true, up: d}
		}
		d.entries[n.name] = e
		return nil
	})
	if err != nil {
		if t.ctx.Err() != nil {
			d.entries = nil
			return t.ctx.Err()
		}
		t.v.o.Log.Warn("a folder of the last snapshot cannot be read", slog.Any("err", err))
		t.lost = append(t.lost, firstNonEmpty(strings.Join(path, "/"), "."))
		d.entries, d.stored, d.dirty = map[string]*entry{}, false, true
	}
	t.open.add(d)
	return nil
}

// loadTree reads a tree blob.
func (v *Vault) loadTree(ctx context.Context, src *source, id hash, add func(node) error) error {
	p, err := src.read(ctx, treeBlob, id, nil)
	if err != nil {
		return err
	}
	if err := parseTree(p, add); err != nil {
		return fmt.Errorf("vault: tree %s: %w", id, err)
	}
	return nil
}

// walk returns the folders along path, the root first. It stops where there is none. t.mu is held.
func (t *Tree) walk(elems []string) (dirs []*dir, err error) {
	d := t.root
	for i := 0; ; i++ {
		if err := t.load(d, elems[:i]); err != nil {
			return nil, err
		}
		dirs = append(dirs, d)
		if i == len(elems) {
			return dirs, nil
		}
		e := d.entries[elems[i]]
		if e == nil || e.dir == nil {
			return dirs, nil
		}
		d = e.dir
	}
}

// find returns an entry; the root has none. t.mu is held.
func (t *Tree) find(op, name string) (*entry, error) {
	elems, err := split(op, name)
	if err != nil || len(elems) == 0 {
		return nil, err
	}
	dirs, err := t.walk(elems[:len(elems)-1])
	if err != nil {
		return nil, err
	}
	var e *entry
	if len(dirs) == len(elems) {
		e = dirs[len(dirs)-1].entries[elems[len(elems)-1]]
	}
	if e == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return e, nil
}

// parent returns the folder of elems' last, made if missing, and marks all of the way as changed. t.mu is held.
func (t *Tree) parent(op, name string, elems []string) (*dir, error) {
	dirs, err := t.walk(elems[:len(elems)-1])
	if err != nil {
		return nil, err
	}
	d := dirs[len(dirs)-1]
	missing := elems[len(dirs)-1 : len(elems)-1]
	if len(missing) > 0 && d.entries[missing[0]] != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("a file is in the way of its folder: %w", fs.ErrExist)}
	}
	for _, m := range missing {
		sub := newDir(d)
		d.dirty = true
		t.open.put(d, newFolder(strings.Clone(m), sub))
		t.open.add(sub)
		d = sub
		dirs = append(dirs, d)
	}
	for _, d := range dirs {
		d.dirty = true
	}
	return d, nil
}

// usable returns why the Tree takes nothing more, or nil.
func (t *Tree) usable() error {
	t.mu.Lock()
	done := t.done
	t.mu.Unlock()
	if done {
		return ErrClosed
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	return t.w.failed()
}

// Keep takes over the unchanged file name without reading it. It returns fs.ErrNotExist where the tree has no file of that
// size and mtime, mtime is unknown, or the content cannot be had now from the attached drives. A file that a run stored
// which never committed is taken over too.
func (t *Tree) Keep(name string, size int64, mtime time.Time) error {
	if err := t.usable(); err != nil {
		return &fs.PathError{Op: "keep", Path: name, Err: err}
	}
	mtime = cleanTime(mtime)
	t.mu.Lock()
	e, err := t.find("keep", name)
	resumed, ok := t.resume.find(name, size, mtime)
	if terr := t.trim(); terr != nil {
		err = terr
	}
	t.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	missing := &fs.PathError{Op: "keep", Path: name, Err: fs.ErrNotExist}
	if mtime.IsZero() {
		return missing
	}
	if e != nil && e.dir == nil && e.mode.IsRegular() && e.size == size && e.mtime().Equal(mtime) && t.present(e.ids()) {
		return nil
	}
	if !ok || !t.present(resumed) {
		return missing
	}
	elems, err := split("keep", name)
	if err != nil || len(elems) == 0 {
		return missing
	}
	return t.insert("keep", name, elems, newEntry(node{name: strings.Clone(elems[len(elems)-1]), mode: fileMode,
		mtime: mtime, size: size, content: resumed}))
}

// present reports whether all of a file's chunks can be read from the drives attached now.
func (t *Tree) present(ids []hash) bool {
	for _, id := range ids {
		if !t.w.has(dataBlob, id) {
			return false
		}
	}
	return true
}

// Run is how many snapshots of the phone came before this one.
func (t *Tree) Run() uint64 { return t.run }
