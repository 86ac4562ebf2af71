package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Mkdir makes a directory and its missing parents, or sets an existing directory's time; the zero Time leaves it.
func (t *Tree) Mkdir(name string, mtime time.Time) error {
	elems, err := split("mkdir", name)
	if err != nil || len(elems) == 0 {
		return err
	}
	if err := t.usable(); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	mtime = cleanTime(mtime)
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.find("mkdir", name)
	if err == nil && e.dir != nil && (mtime.IsZero() || e.mtime().Equal(mtime)) {
		return t.trim() // nothing changes
	}
	d, err := t.parent("mkdir", name, elems)
	if err != nil {
		return err
	}
	if e != nil && e.dir == nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fmt.Errorf("a file is in its way: %w", fs.ErrExist)}
	}
	if e == nil {
		e = newFolder(strings.Clone(elems[len(elems)-1]), newDir(d))
		t.open.put(d, e)
		t.open.add(e.dir)
	}
	if !mtime.IsZero() {
		e.setTime(mtime)
		e.rest = nil
	}
	return t.trim()
}

// Retime gives a file another modification time; the zero Time makes it unknown.
func (t *Tree) Retime(name string, mtime time.Time) error {
	elems, err := split("retime", name)
	if err == nil && len(elems) == 0 {
		err = &fs.PathError{Op: "retime", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return err
	}
	if err := t.usable(); err != nil {
		return &fs.PathError{Op: "retime", Path: name, Err: err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.find("retime", name)
	if err != nil {
		return err
	}
	if e.dir != nil || !e.mode.IsRegular() {
		return &fs.PathError{Op: "retime", Path: name, Err: fmt.Errorf("no file: %w", fs.ErrInvalid)}
	}
	if _, err := t.parent("retime", name, elems); err != nil {
		return err
	}
	e.setTime(cleanTime(mtime))
	e.rest = nil
	return t.trim()
}

// Rename moves a file or a directory with all that it holds; an existing target file is replaced and missing parents of
// the target are made.
func (t *Tree) Rename(oldname, newname string) error {
	from, err := split("rename", oldname)
	if err != nil {
		return err
	}
	to, err := split("rename", newname)
	if err != nil {
		return err
	}
	if err := t.usable(); err != nil {
		return &fs.PathError{Op: "rename", Path: oldname, Err: err}
	}
	if len(from) == 0 || len(to) == 0 || len(to) > len(from) && slices.Equal(from, to[:len(from)]) {
		return &fs.PathError{Op: "rename", Path: newname, Err: fs.ErrInvalid}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.find("rename", oldname)
	if err != nil || slices.Equal(from, to) {
		return err
	}
	if e.dir == nil && !e.mode.IsRegular() {
		return &fs.PathError{Op: "rename", Path: oldname, Err: errors.ErrUnsupported} // only stock restic makes such
	}
	target, err := t.find("rename", newname)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if target != nil && (target.dir != nil || e.dir != nil) {
		return &fs.PathError{Op: "rename", Path: newname, Err: fs.ErrExist}
	}
	into, err := t.parent("rename", newname, to)
	if err != nil {
		return err
	}
	outOf, err := t.parent("rename", oldname, from)
	if err != nil {
		return err
	}
	moved := *e
	moved.name, moved.rest = strings.Clone(to[len(to)-1]), nil
	t.open.take(outOf, from[len(from)-1])
	t.open.put(into, &moved)
	return t.trim()
}

// Remove removes a file, or a directory with all that it holds. Removing what does not exist is fs.ErrNotExist; the root
// is fs.ErrInvalid.
func (t *Tree) Remove(name string) error {
	elems, err := split("remove", name)
	if err == nil && len(elems) == 0 {
		err = &fs.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return err
	}
	if err := t.usable(); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.find("remove", name); err != nil {
		return err
	}
	d, err := t.parent("remove", name, elems)
	if err != nil {
		return err
	}
	last := elems[len(elems)-1]
	if sub := d.entries[last].dir; sub != nil {
		t.open.forget(sub)
	}
	t.open.take(d, last)
	return t.trim()
}
