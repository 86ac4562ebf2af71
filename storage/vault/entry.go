package vault

import (
	"io/fs"
	"time"
)

// An entry is a file or a folder of a Tree in memory: a node in 112 bytes, since half a million may be there at once.
type entry struct {
	name string
	mode fs.FileMode
	nsec int32 // of the modification time; unknown is -1
	sec  int64
	size int64
	id   hash     // the tree of a folder that is not dirty; the chunk of a file that has one
	one  bool     // a file whose only chunk is id
	many *content // the chunks of any other file; nil if it has none
	dir  *dir     // of a folder
	rest *rest    // of what only stock restic makes
}

// rest is what few nodes have.
type rest struct {
	link string
	raw  []byte
}

func newEntry(n node) *entry {
	e := &entry{name: n.name, mode: n.mode, size: n.size}
	e.setTime(n.mtime)
	switch {
	case n.mode.IsDir():
		e.id = n.subtree
	case len(n.content) == 1:
		e.id, e.one = n.content[0], true
	case len(n.content) > 1:
		e.many = &content{ids: n.content}
	}
	if n.raw != nil || n.link != "" {
		e.rest = &rest{n.link, n.raw}
	}
	return e
}

func newFolder(name string, d *dir) *entry {
	e := newEntry(node{name: name, mode: dirMode})
	e.dir = d
	return e
}

// bare is the entry as a node without its chunks.
func (e *entry) bare() node {
	n := node{name: e.name, mode: e.mode, mtime: e.mtime(), size: e.size}
	if e.dir != nil {
		n.subtree = e.id
	}
	if e.rest != nil {
		n.link, n.raw = e.rest.link, e.rest.raw
	}
	return n
}

// node is the entry as a node. It waits for chunks on their way.
func (e *entry) node() node {
	n := e.bare()
	n.content = e.ids()
	return n
}

// ids are the file's chunks. It waits for those on their way.
func (e *entry) ids() []hash {
	switch {
	case e.one:
		return []hash{e.id}
	case e.many == nil:
		return nil
	case e.many.done != nil:
		<-e.many.done
	}
	return e.many.ids
}

// settled reports whether ids would not wait.
func (e *entry) settled() bool {
	if e.many == nil || e.many.done == nil {
		return true
	}
	select {
	case <-e.many.done:
		return true
	default:
		return false
	}
}

// timed reports whether the modification time is known.
func (e *entry) timed() bool { return e.nsec >= 0 }

func (e *entry) mtime() time.Time {
	if !e.timed() {
		return time.Time{}
	}
	return time.Unix(e.sec, int64(e.nsec)).UTC()
}

// setTime sets the modification time; the zero Time is unknown.
func (e *entry) setTime(t time.Time) {
	if t.IsZero() {
		e.sec, e.nsec = 0, -1
		return
	}
	e.sec, e.nsec = t.Unix(), int32(t.Nanosecond())
}
