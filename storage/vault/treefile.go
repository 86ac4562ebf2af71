package vault

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// content is the list of a file's chunks while it grows.
type content struct {
	mu   sync.Mutex
	ids  []hash
	left int           // chunks not stored yet, and one while the file is being read
	done chan struct{} // closed when left is 0; nil if nothing ever was on its way
}

func (c *content) add() (i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, hash{})
	c.left++
	return len(c.ids) - 1
}

func (c *content) set(i int, id hash) {
	c.mu.Lock()
	c.ids[i] = id
	c.mu.Unlock()
	c.end()
}

func (c *content) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// Create stores size bytes of r as the file name; size < 0 means until io.EOF. If r fails or ends early, Create returns
// that error (or io.ErrUnexpectedEOF; more bytes than size is ErrTooLong) and the file's former version stays. The last
// bytes may still be on their way to the store when Create returns; an error of theirs comes from any later call, and from Commit.
func (t *Tree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	return t.create("create", name, size, mtime, r, nil)
}

// create stores a file whose first chunks are there already, each of chunkSize bytes.
func (t *Tree) create(op, name string, size int64, mtime time.Time, r io.Reader, there []hash) error {
	elems, err := split(op, name)
	if err == nil && len(elems) == 0 {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return err
	}
	if err := t.usable(); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	e := newEntry(node{name: strings.Clone(elems[len(elems)-1]), mode: fileMode, mtime: cleanTime(mtime)})
	if size >= 0 && size <= inlineSize {
		err = t.readSmall(e, int(size), r)
	} else {
		err = t.readLarge(name, e, size, r, there)
	}
	if err != nil {
		t.notePart(name, size, e, err)
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return t.insert(op, name, elems, e)
}

// cleanTime is a modification time as the vault keeps it: in UTC, or unknown if no snapshot can hold it.
func cleanTime(mtime time.Time) time.Time {
	if !storable(mtime) {
		return time.Time{}
	}
	return mtime.UTC().Round(0)
}

// insert puts a file into its folder.
func (t *Tree) insert(op, name string, elems []string, e *entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return &fs.PathError{Op: op, Path: name, Err: ErrClosed}
	}
	d, err := t.parent(op, name, elems)
	if err != nil {
		return err
	}
	if old := d.entries[e.name]; old != nil && old.dir != nil {
		return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("a folder is in its way: %w", fs.ErrExist)}
	}
	t.open.put(d, e)
	t.rec.mu.Lock()
	if e.timed() {
		t.rec.fresh = append(t.rec.fresh, freshFile{strings.Clone(name), e})
	}
	delete(t.rec.parts, name)
	t.rec.mu.Unlock()
	return t.trim()
}

// ErrTooLong: a file had more bytes than its size said.
var ErrTooLong = errors.New("more bytes than the file's size")

// readFull reads until p is full or r ends (io.EOF) or fails, and tells these apart, which io.ReadFull does not.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; idle++ {
		var m int
		if m, err = r.Read(p[n:]); m > 0 {
			n += m
			idle = 0
		} else if idle > 100 {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// readSmall stores a file that is one blob, or none, in this goroutine.
func (t *Tree) readSmall(e *entry, size int, r io.Reader) error {
	buf := t.small.Get().(*[]byte)
	defer t.small.Put(buf)
	// One byte more than expected, to see the end.
	switch n, err := readFull(r, (*buf)[:size+1]); {
	case n > size:
		return ErrTooLong
	case err != io.EOF:
		return err
	case n < size:
		return io.ErrUnexpectedEOF
	case n == 0:
		return nil
	}
	id, err := t.w.store(dataBlob, (*buf)[:size])
	if err != nil {
		return err
	}
	e.size, e.id, e.one = int64(size), id, true
	return nil
}

// readLarge stores a file chunk by chunk, after those that are there; while one is encrypted, the next is read. When r
// fails, e is as much of the file as came.
func (t *Tree) readLarge(name string, e *entry, size int64, r io.Reader, there []hash) error {
	c := &content{ids: there, left: 1, done: make(chan struct{})}
	e.many, e.size = c, int64(len(there))*chunkSize
	defer c.end()
	defer t.beginReading(name, size, e)()
	for {
		if err := t.usable(); err != nil {
			return err
		}
		buf := t.w.chunk()
		want := chunkSize
		if size >= 0 {
			want = int(min(size-e.size, chunkSize))
		}
		n, err := readFull(r, buf[:want])
		e.size += int64(n)
		if n == 0 || err != nil && err != io.EOF && (size < 0 || !e.timed()) {
			t.w.chunks <- buf
		} else {
			i := c.add()
			t.w.background(buf, n, func(id hash) { c.set(i, id) })
		}
		switch {
		case err == io.EOF && size >= 0 && e.size < size:
			return io.ErrUnexpectedEOF
		case err != nil && err != io.EOF:
			return err
		case size >= 0 && e.size == size && err == nil:
			var one [1]byte
			if n, err := readFull(r, one[:]); n > 0 {
				return ErrTooLong
			} else if err != io.EOF {
				return err
			}
			return nil
		case err == io.EOF:
			return nil
		}
	}
}
