package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// A part is the beginning of a file whose reading was cut short. Its chunks are chunkSize long, but for the last.
type part struct {
	size  int64  // bytes of the whole file
	e     *entry // as far as it was read
	fresh bool   // from this run, so in no record yet
}

const (
	minPart  = 1 << 20 // bytes that are worth remembering
	maxParts = 100     // files whose beginnings are remembered at once
)

// notePart remembers what was read of a file of size bytes before its reader failed with err. A file that turned out to be
// none of that size is not worth going on with.
func (t *Tree) notePart(name string, size int64, e *entry, err error) {
	if !e.timed() || e.size < minPart || e.size >= size || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrTooLong) {
		return
	}
	t.putPart(name, &part{size: size, e: e, fresh: true})
}

func (t *Tree) putPart(name string, p *part) {
	t.rec.mu.Lock()
	defer t.rec.mu.Unlock()
	if t.rec.parts == nil {
		t.rec.parts = map[string]*part{}
	}
	if _, known := t.rec.parts[name]; known || len(t.rec.parts) < maxParts {
		t.rec.parts[strings.Clone(name)] = p
	}
}

// loadPart takes the beginning of a file out of a resume record, if the index knows its chunks and they are cut as ours are.
// Of several the longest of the newest version counts.
func (t *Tree) loadPart(f resumeFile) {
	var sum int64
	for i, id := range f.Content {
		n, ok := t.v.index.size(dataBlob, id)
		if !ok || n > chunkSize || n < chunkSize && i < len(f.Content)-1 {
			return
		}
		sum += n
	}
	if sum < minPart || sum >= f.Size {
		return
	}
	old := t.rec.parts[f.Name] // nobody else knows the Tree yet
	if old != nil && (old.e.mtime().After(f.ModTime) || old.e.mtime().Equal(f.ModTime) && old.e.size >= sum) {
		return
	}
	t.putPart(f.Name, &part{size: f.Size, e: newEntry(node{mode: fileMode, mtime: f.ModTime, size: sum, content: f.Content})})
}

// part finds the beginning of a file of this size and time that can be read from the drives attached now.
func (t *Tree) part(op, name string, size int64, mtime time.Time) (*part, error) {
	if err := t.usable(); err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	t.rec.mu.Lock()
	p := t.rec.parts[name]
	t.rec.mu.Unlock()
	if mtime = cleanTime(mtime); p == nil || mtime.IsZero() || p.size != size || !p.e.mtime().Equal(mtime) || !t.present(p.e.ids()) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return p, nil
}

// Begun returns what an earlier Create of the file name, of this size and mtime, had stored when its reader failed: fewer
// than size bytes, and the tree's file is not touched. It is fs.ErrNotExist where there is nothing of that kind.
func (t *Tree) Begun(name string, size int64, mtime time.Time) (*io.SectionReader, error) {
	p, err := t.part("begun", name, size, mtime)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(partReader{t, p.e.ids()}, 0, p.e.size), nil
}

// partReader reads the chunks of a part.
type partReader struct {
	t   *Tree
	ids []hash
}

func (r partReader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && off/chunkSize < int64(len(r.ids)) {
		b, err := r.t.src.read(r.t.ctx, dataBlob, r.ids[off/chunkSize], nil)
		if err != nil {
			return n, err
		}
		b = b[min(off%chunkSize, int64(len(b))):]
		if len(b) == 0 {
			break
		}
		m := copy(p[n:], b)
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Continue is Create for a file whose first from bytes are those of Begun; r begins behind them. That they still belong
// to the file is for the caller to know. It is fs.ErrNotExist if Begun has not so many bytes (any more).
func (t *Tree) Continue(name string, size int64, mtime time.Time, from int64, r io.Reader) error {
	p, err := t.part("continue", name, size, mtime)
	if err != nil {
		return err
	}
	if p.e.size != from {
		return &fs.PathError{Op: "continue", Path: name, Err: fmt.Errorf("there are %d bytes, not %d: %w", p.e.size, from, fs.ErrNotExist)}
	}
	ids := p.e.ids()
	whole := int(from / chunkSize)
	if whole < len(ids) { // the last chunk was cut short: it is read again from the drives, so that all chunks are as long as ever
		tail, err := t.src.read(t.ctx, dataBlob, ids[whole], nil)
		if err != nil {
			return &fs.PathError{Op: "continue", Path: name, Err: err}
		}
		r = io.MultiReader(bytes.NewReader(tail), r)
	}
	return t.create("continue", name, size, mtime, r, slices.Clone(ids[:whole]))
}

// recordParts writes one resume record of all parts, unless fresh is asked for and none is. All packs have been put.
func (t *Tree) recordParts(fresh bool) error {
	t.rec.mu.Lock()
	var files []resumeFile
	some := false
	for name, p := range t.rec.parts {
		if p.fresh && t.wholly(p.e) || !p.fresh && t.present(p.e.ids()) {
			files = append(files, resumeFile{quote(name), p.size, p.e.mtime(), p.e.ids()})
			some = some || p.fresh
		}
	}
	t.rec.mu.Unlock()
	if len(files) == 0 || fresh && !some {
		return nil
	}
	_, err := t.putRecord(files)
	return err
}

// reading is a large file that is being read.
type reading struct {
	size int64 // bytes of the whole file
	e    *entry
	put  int // its first chunks that are in packs that were put
	said int // of these, how many a record names
}

// minGrown is how many bytes of a file that is being read are worth another record. Of a long file it takes a 64th of what was
// read, since a record names each chunk: all of a film's records come to as much as 65 of the last.
const minGrown = 16 << 20

// beginReading says that a file is being read, so that a power cut in its middle leaves a record of its beginning. done ends that.
func (t *Tree) beginReading(name string, size int64, e *entry) (done func()) {
	if size < minGrown || !e.timed() {
		return func() {}
	}
	t.rec.mu.Lock()
	defer t.rec.mu.Unlock()
	if t.rec.reading == nil {
		t.rec.reading = map[string]*reading{}
	}
	r := &reading{size: size, e: e}
	t.rec.reading[name] = r
	return func() {
		t.rec.mu.Lock()
		defer t.rec.mu.Unlock()
		if t.rec.reading[name] == r {
			delete(t.rec.reading, name)
		}
	}
}

// recordBegun writes a record of the beginnings of files that are being read, if they have grown. old is the record whose
// place it takes once it is durable.
func (t *Tree) recordBegun() (old string, err error) {
	t.rec.mu.Lock()
	var files []resumeFile
	grown := false
	for name, r := range t.rec.reading {
		ids := t.beginning(r)
		if len(ids) == 0 {
			continue
		}
		files = append(files, resumeFile{quote(name), r.size, r.e.mtime(), ids})
		grown = grown || int64(r.put-r.said)*chunkSize >= max(minGrown, int64(r.said)*chunkSize/64)
	}
	if grown {
		for _, r := range t.rec.reading {
			r.said = r.put
		}
	}
	t.rec.mu.Unlock()
	if !grown {
		return "", nil
	}
	name, err := t.putRecord(files)
	if err != nil {
		return "", err
	}
	t.rec.mu.Lock()
	defer t.rec.mu.Unlock()
	old, t.rec.begun = t.rec.begun, name
	t.rec.logs = append(t.rec.logs, name)
	return old, nil
}

// beginning returns the first chunks of a file that is being read, each of chunkSize bytes, as far as they are in packs that
// were put. t.rec.mu is held.
func (t *Tree) beginning(r *reading) []hash {
	c := r.e.many
	if c == nil {
		return nil
	}
	c.mu.Lock()
	ids := slices.Clone(c.ids)
	c.mu.Unlock()
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for r.put < len(ids) && int64(r.put+1)*chunkSize < r.size && ids[r.put] != (hash{}) && t.isPut(ids[r.put]) {
		r.put++
	}
	return ids[:r.put]
}

// dropRecord deletes a record that a later one made needless; "" is none.
func (t *Tree) dropRecord(name string) error {
	if name == "" {
		return nil
	}
	t.rec.mu.Lock()
	t.rec.logs = slices.DeleteFunc(t.rec.logs, func(l string) bool { return l == name })
	t.rec.mu.Unlock()
	return t.v.deleteAll(t.w.ctx, []string{name})
}
