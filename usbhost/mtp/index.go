package mtp

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// unknownTime marks an object without a usable date.
const unknownTime = math.MinInt64

// Fields of an object that have been learnt, and what was done with it.
const (
	hasParent = 1 << iota
	hasName
	hasSize
	hasFormat
	isStored // in this run
	isGuess  // taken over from a listing that was cut short: handle is only likely to be this object's
)

// An object is one file or folder of a phone. 100,000 of them are held in about 10 MB, names included.
type object struct {
	handle  uint32
	parent  uint32
	storage uint32
	format  uint16
	has     uint8
	dead    bool  // it went away while the phone was listed
	size    int64 // bytes; -1: the phone does not tell
	mtime   int64 // nanoseconds since 1970, or unknownTime
	name    string
}

func (o *object) isFolder() bool { return o.format == formatAssociation }

// complete reports whether enough is known to place and read the object.
func (o *object) complete() bool {
	need := uint8(hasParent | hasName | hasFormat)
	if !o.isFolder() {
		need |= hasSize
	}
	return o.has&need == need
}

func (o *object) time() time.Time {
	if o.mtime == unknownTime {
		return time.Time{}
	}
	return time.Unix(0, o.mtime)
}

func nanos(t time.Time) int64 {
	if t.IsZero() || t.Year() < 1700 || t.Year() > 2261 { // beyond what 64 bits of nanoseconds hold
		return unknownTime
	}
	return t.UnixNano()
}

// An index is a phone's listing.
type index struct {
	storages []storageInfo
	doubt    bool // storages are what the phone said a moment ago, and may have come or gone since
	objects  []object
	at       map[uint32]int32 // handle → objects
	local    *time.Location
	broken   map[uint32]string // folder's handle → why not all in it could be listed
	cut      map[uint32]string // the same for a storage's root, by storage ID
	remarks  []remark          // what else the report must tell
	kids     map[key]kids      // of each folder that was listed by itself, for the next listing if this is cut short
	before   *cutList          // such a listing from before; nil: none
	most     int               // objects; maxObjects, but for tests
	over     bool              // there were more
}

func newIndex(storages []storageInfo, local *time.Location) *index {
	return &index{
		storages: storages, local: local, most: maxObjects,
		at: map[uint32]int32{}, broken: map[uint32]string{}, cut: map[uint32]string{}, kids: map[key]kids{},
	}
}

// object finds or adds an object.
func (x *index) object(handle uint32) *object {
	i, ok := x.at[handle]
	if !ok {
		i = int32(len(x.objects))
		x.objects = append(x.objects, object{handle: handle, size: -1, mtime: unknownTime})
		x.at[handle] = i
	}
	return &x.objects[i]
}

// set enters one property.
func (x *index) set(p property) {
	if p.handle == handleNone || p.handle == handleAll {
		return
	}
	if _, known := x.at[p.handle]; !known && len(x.objects) >= x.most {
		x.over = true
		return
	}
	o := x.object(p.handle)
	switch p.code {
	case propParent:
		o.parent, o.has = uint32(p.num), o.has|hasParent
	case propFileName:
		o.name, o.has = p.str, o.has|hasName
	case propSize:
		o.size, o.has = -1, o.has|hasSize // the phone does not tell, or tells nonsense
		if p.num < 1<<62 {
			o.size = int64(p.num)
		}
	case propDateModified:
		o.mtime = nanos(parseTime(p.str, x.local))
	case propFormat:
		o.format, o.has = uint16(p.num), o.has|hasFormat
	case propStorageID:
		o.storage = uint32(p.num)
	}
}

// setInfo enters an ObjectInfo dataset.
func (x *index) setInfo(handle uint32, i objectInfo) *object {
	o := x.object(handle)
	o.parent, o.storage, o.format, o.name = i.parent, i.storage, i.format, i.name
	o.mtime = nanos(parseTime(i.modified, x.local))
	o.has = hasParent | hasName | hasFormat
	if i.size != sizeUnknown {
		o.size, o.has = int64(i.size), o.has|hasSize
	}
	return o
}

// reset forgets all objects, before another way of listing is tried.
func (x *index) reset() {
	x.objects = x.objects[:0]
	clear(x.at)
	clear(x.broken)
	clear(x.cut)
	clear(x.kids)
	x.remarks, x.over = nil, false
}

// isRoot reports whether the object lies in its storage's root. Android says 0 there, others FFFFFFFF or the storage's ID. That
// may be a folder's handle, too: Android counts objects from 1, and the 65,537th has the number of the first storage.
func (x *index) isRoot(o *object) bool {
	if o.parent == handleNone || o.parent == handleAll || o.parent == o.handle {
		return true
	}
	if x.storage(o.parent) == nil {
		return false
	}
	i, known := x.at[o.parent]
	return !known || !x.objects[i].isFolder() || x.objects[i].parent == o.parent // in itself: this phone means the storage
}

// A dir is one folder of the phone as it will stand in the tree.
type dir struct {
	path  string
	mtime time.Time
	files []entry
	subs  []string // names of folders in it
	why   string   // "" if all in it was listed, so what is not here is gone
	// For sending: where it is on the phone.
	storage, handle uint32
}

// An entry is one file of a dir.
type entry struct {
	name string // last element of the path
	*object
}

// remark is something about a path that the report must tell.
type remark struct{ path, reason string }

// lost is the folder for objects whose own folder the phone does not know.
const lost = "(without folder)"

// dirs arranges the objects as a tree, parents before children. Every object that is not dead is in it exactly once,
// whatever the phone says about parents.
func (x *index) dirs() ([]dir, []remark) {
	kids := x.families()
	var all []dir
	var remarks []remark
	taken := map[string]bool{}
	type todo struct {
		dir
		kids []int32
	}
	var stack []todo
	for _, s := range slices.Backward(x.storages) {
		stack = append(stack, todo{dir{why: x.cut[s.id], storage: s.id, handle: handleAll}, kids[key{s.id, handleNone}]})
	}
	for i := range x.storages { // in the order of the phone, so that "(2)" stays with the same storage
		stack[len(stack)-1-i].path = distinct(escape(storageName(x.storages[i])), taken)
	}
	for len(stack) > 0 {
		d := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		taken := make(map[string]bool, len(d.kids))
		for _, i := range d.kids {
			o := &x.objects[i]
			elem := escape(o.name)
			name := distinct(elem, taken)
			path := d.path + "/" + name
			if name != elem {
				remarks = append(remarks, remark{path, "the phone has several objects of this name in one folder"})
			}
			if !o.isFolder() {
				d.files = append(d.files, entry{name, o})
				continue
			}
			d.subs = append(d.subs, name)
			sub := dir{path: path, mtime: o.time(), why: x.broken[o.handle], storage: d.storage, handle: o.handle}
			stack = append(stack, todo{sub, kids[key{0, o.handle}]})
		}
		all = append(all, d.dir)
	}
	return all, remarks
}

func storageName(s storageInfo) string { return cmp.Or(s.description, s.volume, "Storage") }

// key names a folder: by handle, or the root of a storage.
type key struct{ storage, folder uint32 }

// families sorts the objects by the folder they lie in. Those in no known folder, or in folders that lie in one another,
// come into a folder of their own.
func (x *index) families() map[key][]int32 {
	kids := map[key][]int32{}
	reached := make([]bool, len(x.objects))
	var orphans []int32
	for i := range x.objects {
		o := &x.objects[i]
		if o.dead {
			reached[i] = true
			continue
		}
		switch p, known := x.at[o.parent]; {
		case x.isRoot(o):
			k := key{x.storageOf(o), handleNone}
			kids[k] = append(kids[k], int32(i))
		case known && !x.objects[p].dead && x.objects[p].isFolder():
			k := key{0, o.parent}
			kids[k] = append(kids[k], int32(i))
		default:
			orphans = append(orphans, int32(i))
		}
	}
	reach := func(from []int32) {
		for todo := slices.Clone(from); len(todo) > 0; {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !reached[i] {
				reached[i] = true
				if o := &x.objects[i]; o.isFolder() {
					todo = append(todo, kids[key{0, o.handle}]...)
				}
			}
		}
	}
	for _, s := range x.storages {
		reach(kids[key{s.id, handleNone}])
	}
	reach(orphans)
	for i := range reached {
		if !reached[i] { // a loop: cut it here
			k := key{0, x.objects[i].parent}
			kids[k] = slices.DeleteFunc(kids[k], func(j int32) bool { return j == int32(i) })
			orphans = append(orphans, int32(i))
			reach([]int32{int32(i)})
		}
	}
	x.adopt(kids, orphans)
	for _, k := range kids {
		slices.SortFunc(k, x.order)
	}
	return kids
}

// adopt puts the orphans of each storage into a folder that the phone does not have.
func (x *index) adopt(kids map[key][]int32, orphans []int32) {
	homes := map[uint32]uint32{} // storage → handle of the folder
	for _, i := range orphans {
		storage := x.storageOf(&x.objects[i])
		home, ok := homes[storage]
		if !ok {
			for home = handleAll - 1; ; home-- { // a handle that no object has
				if _, used := x.at[home]; !used {
					break
				}
			}
			homes[storage] = home
			x.broken[home] = "the phone names no folder for these objects"
			o := x.object(home)
			o.format, o.name, o.storage = formatAssociation, lost, storage
			k := key{storage, handleNone}
			kids[k] = append(kids[k], x.at[home])
		}
		kids[key{0, home}] = append(kids[key{0, home}], i)
	}
}

// storageOf is the storage an object belongs to: its own, or the first where that is unknown.
func (x *index) storageOf(o *object) uint32 {
	for _, s := range x.storages {
		if s.id == o.storage {
			return s.id
		}
	}
	return x.storages[0].id
}

// order sorts a folder so that objects of one name always get the same suffixes.
func (x *index) order(i, j int32) int {
	a, b := &x.objects[i], &x.objects[j]
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.mtime, b.mtime), cmp.Compare(a.size, b.size), cmp.Compare(a.handle, b.handle))
}
