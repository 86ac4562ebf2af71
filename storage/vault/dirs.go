package vault

import (
	"maps"
	"slices"
)

// A dir is a folder of a Tree. Its entries are in memory from when somebody first looks into it until so many other folders
// were looked into since that room is needed.
type dir struct {
	id      hash // its tree, as long as it is not dirty
	stored  bool // id is set
	loaded  bool // entries are set
	dirty   bool // differs from id, or something below it does
	entries map[string]*entry

	up           *dir // its parent; nil for the root
	below        int  // loaded folders in it
	newer, older *dir // as they were used

	// What it holds with all below it, if counted. It counts only while the folder is not loaded.
	counted bool
	files   uint
	bytes   uint64
}

// newDir is an empty folder that is not stored yet.
func newDir(up *dir) *dir {
	return &dir{loaded: true, dirty: true, entries: map[string]*entry{}, up: up}
}

// openDirs are the folders of a Tree that are loaded, but for the root: the one used last is newest. A loaded folder's
// parent is loaded.
type openDirs struct {
	newest, oldest *dir
	held           int  // their entries
	grown          bool // folders were added since trim looked
}

// add takes in a folder whose entries have been set.
func (o *openDirs) add(d *dir) {
	d.loaded = true
	if d.up == nil {
		return
	}
	d.up.below++
	o.held += len(d.entries)
	o.grown = true
	o.link(d)
}

func (o *openDirs) link(d *dir) {
	if d.older = o.newest; d.older != nil {
		d.older.newer = d
	} else {
		o.oldest = d
	}
	o.newest = d
}

func (o *openDirs) unlink(d *dir) {
	if d.newer != nil {
		d.newer.older = d.older
	} else {
		o.newest = d.older
	}
	if d.older != nil {
		d.older.newer = d.newer
	} else {
		o.oldest = d.newer
	}
	d.newer, d.older = nil, nil
}

// touch says that a loaded folder was used.
func (o *openDirs) touch(d *dir) {
	if d.up != nil && d != o.newest {
		o.unlink(d)
		o.link(d)
	}
}

// drop forgets a loaded folder's entries. Nothing in it is loaded.
func (o *openDirs) drop(d *dir) {
	if d.up != nil {
		o.unlink(d)
		d.up.below--
		o.held -= len(d.entries)
	}
	d.loaded, d.entries = false, nil
}

// forget drops a folder that is no more, with all below it.
func (o *openDirs) forget(d *dir) {
	if !d.loaded {
		return
	}
	for _, e := range d.entries {
		if e.dir != nil {
			o.forget(e.dir)
		}
	}
	o.drop(d)
}

// put sets an entry of a loaded folder.
func (o *openDirs) put(d *dir, e *entry) {
	if d.entries[e.name] == nil && d.up != nil {
		o.held++
	}
	if e.dir != nil && e.dir.up != d {
		if e.dir.loaded {
			e.dir.up.below--
			d.below++
		}
		e.dir.up = d
	}
	d.entries[e.name] = e
}

// take takes an entry out of a loaded folder.
func (o *openDirs) take(d *dir, name string) {
	if d.entries[name] != nil && d.up != nil {
		o.held--
	}
	delete(d.entries, name)
}

// trim makes room by storing the folders that were used longest ago and forgetting their entries. A walk from folder to
// folder is through with them; whoever comes back to one finds it read again, and the tree that was stored in between is
// garbage for Prune. t.mu is held, and nobody holds a folder but by t.root.
func (t *Tree) trim() error {
	if !t.open.grown || t.open.held <= t.v.pace.held {
		return nil
	}
	t.open.grown = false
	last := t.open.newest // that may leave
	for range t.v.pace.stay {
		if last != nil {
			last = last.older
		}
	}
	if last == nil {
		return nil
	}
	for d := t.open.oldest; d != nil && t.open.held > t.v.pace.held; {
		next := d.newer
		if err := t.put(d); err != nil {
			return err
		}
		if d == last {
			break
		}
		d = next
	}
	return nil
}

// put stores a loaded folder, if it has to be and can be now, and forgets its entries.
func (t *Tree) put(d *dir) error {
	if d.below > 0 {
		return nil
	}
	sum := summary{}
	counted := true
	for _, e := range d.entries {
		switch {
		case !e.settled():
			return nil
		case e.dir != nil:
			if e.id != e.dir.id {
				e.id, e.rest, d.dirty = e.dir.id, nil, true
			}
			counted = counted && e.dir.counted
			sum.Files += e.dir.files
			sum.Bytes += e.dir.bytes
		case e.mode.IsRegular():
			sum.Files++
			sum.Bytes += uint64(e.size)
		}
	}
	if d.dirty || !d.stored {
		if err := t.storeTree(&t.enc, d, slices.Sorted(maps.Keys(d.entries))); err != nil {
			return err
		}
		d.dirty = false
	}
	d.counted, d.files, d.bytes = counted, sum.Files, sum.Bytes
	t.open.drop(d)
	return nil
}
