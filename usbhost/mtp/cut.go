package mtp

import (
	"context"
	"slices"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// A phone that must be walked folder by folder takes up to hours to list, and when its cable comes out all its handles are
// void. What was listed until then is remembered by storage and path. A folder that has its date (which changes when something
// comes or goes) and as many objects as it had is not listed anew: its files are taken over, each with the handle that now
// stands in its place. Whether that handle is the file's is found out if the file has to be read, and most need not be.

// cutFor is how long after it began a listing that was cut short may be gone on with: within one night.
const cutFor = 6 * time.Hour

// Listings keep the listing that was cut short last, of whichever phone, until that phone comes back. The zero Listings are
// ready, and safe for concurrent use.
type Listings struct {
	mu  sync.Mutex // guards what follows
	of  usbhost.ID
	cut *cutList
}

func (l *Listings) put(of usbhost.ID, c *cutList) {
	l.mu.Lock()
	l.of, l.cut = of, c
	l.mu.Unlock()
}

// take returns the listing of a phone, once; nil if there is none.
func (l *Listings) take(of usbhost.ID) *cutList {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.cut
	if l.of != of || c == nil {
		return nil
	}
	l.cut = nil
	if time.Since(c.began) > cutFor {
		return nil
	}
	return c
}

// listOn lists the phone, going on from where an earlier listing of it was cut short. If this one is, it is kept.
func (p *Phone) listOn(ctx context.Context, x *index) error {
	began := time.Now()
	if p.listings == nil || p.byPort { // at this port another phone may be the next
		return p.listWatched(ctx, x)
	}
	before := p.listings.take(p.id)
	if before != nil && sameZone(before.x.local, x.local, began) {
		x.before, began = before, before.began
	}
	err := p.listWatched(ctx, x)
	x.before = nil
	switch {
	case err == nil:
	case before != nil && len(before.x.objects) > len(x.objects):
		p.listings.put(p.id, before)
	case len(x.kids) > 0:
		p.listings.put(p.id, newCutList(x, began))
	}
	return err
}

// sameZone reports whether two zones have the same offset now and half a year ago.
func sameZone(a, b *time.Location, now time.Time) bool {
	for _, at := range []time.Time{now, now.AddDate(0, -6, 0)} {
		_, x := at.In(a).Zone()
		if _, y := at.In(b).Zone(); x != y {
			return false
		}
	}
	return true
}

// A cutList is a listing that was cut short.
type cutList struct {
	began time.Time
	x     *index
	subs  map[spot]*object // folders
}

// spot is where a folder lies: its storage, the handle of what it lies in (handleAll: the root), and its name.
type spot struct {
	storage, in uint32
	name        string
}

// kids are the objects of a folder in the order of their handles: from is the first of them in the index, got how many of
// them are there, all how many there are.
type kids struct{ from, got, all int }

func newCutList(x *index, began time.Time) *cutList {
	c := &cutList{began: began, x: x, subs: map[spot]*object{}}
	for i := range x.objects {
		o := &x.objects[i]
		if o.dead || !o.isFolder() || !o.complete() {
			continue
		}
		in := o.parent
		if x.isRoot(o) {
			in = handleAll
		}
		at := spot{x.storageOf(o), in, o.name}
		if _, twice := c.subs[at]; twice {
			o = nil // which of the two comes first next time, nobody knows
		}
		c.subs[at] = o
	}
	return c
}

// root is a storage's root as it was, nil if it was not listed.
func (c *cutList) root(now storageInfo) *object {
	if c == nil {
		return nil
	}
	was := c.x.storage(now.id)
	if was == nil || was.description != now.description || was.volume != now.volume || was.total != now.total {
		return nil
	}
	return &object{handle: handleAll, storage: now.id}
}

// sub is the folder o, which lies in the folder in, to be listed. in is as it was; nil if it was not listed.
func (c *cutList) sub(in *object, o *object, depth int) folder {
	f := folder{storage: o.storage, handle: o.handle, depth: depth}
	if c != nil && in != nil {
		f.was = c.subs[spot{in.storage, in.handle, o.name}]
		f.same = f.was != nil && f.was.mtime == o.mtime && o.mtime != unknownTime
	}
	return f
}

// storage finds one by its ID.
func (x *index) storage(id uint32) *storageInfo {
	i := slices.IndexFunc(x.storages, func(s storageInfo) bool { return s.id == id })
	if i < 0 {
		return nil
	}
	return &x.storages[i]
}

// note remembers how far a folder was listed.
func (x *index) note(f folder, from, all int) {
	x.kids[key{f.storage, f.handle}] = kids{from, len(x.objects) - from, all}
}

// takeOver lists a folder by what is remembered of it, if that is right and quicker than to ask for everything. If it is not,
// nothing has happened.
func (w *walk) takeOver(ctx context.Context, f folder) (bool, error) {
	if !f.same {
		return false, nil
	}
	old := w.x.before.x
	had, known := old.kids[key{f.was.storage, f.was.handle}]
	if !known || had.got == 0 {
		return false, nil
	}
	was := old.objects[had.from : had.from+had.got]
	folders := 0
	for i := range was {
		if was[i].dead || !was[i].complete() {
			return false, nil
		}
		if was[i].isFolder() {
			folders++
		}
	}
	if w.bulk && 1+folders >= len(listed) {
		return false, nil
	}
	handles, err := w.s.handles(ctx, f.storage, f.handle)
	if err != nil || len(handles) != had.all || len(w.x.objects)+had.all > w.x.most {
		return false, fatalOnly(ctx, err)
	}
	before := len(w.x.objects)
	right, err := w.inPlace(ctx, f, was, handles)
	if !right && fatalOnly(ctx, err) == nil {
		w.x.drop(before)
		return false, nil
	}
	w.x.note(f, before, len(handles))
	return true, err
}

// fatalOnly is err if it ends the run.
func fatalOnly(ctx context.Context, err error) error {
	if err != nil && fatal(ctx, err) {
		return err
	}
	return nil
}

// inPlace enters the objects of a folder, of which the first ones are remembered. It reports whether what it asked for bears
// out that they are in their former places: folders, of which the handles are needed, the last one that is remembered, and what
// is not, which must have other names.
func (w *walk) inPlace(ctx context.Context, f folder, was []object, handles []uint32) (bool, error) {
	names := make(map[string]bool, len(was))
	for i, o := range was {
		h := handles[i]
		if _, taken := w.x.at[h]; taken || names[o.name] {
			return false, nil
		}
		names[o.name] = true
		if o.isFolder() {
			if err := w.judge(w.s.describe(ctx, w.x, h)); err != nil {
				return false, err
			}
			if now := w.x.object(h); now.name != o.name || !now.isFolder() {
				return false, nil
			}
			continue
		}
		now := w.x.object(h)
		*now = o
		now.handle, now.storage, now.parent = h, f.storage, f.handle
		now.has = o.has&^isStored | isGuess
	}
	if last := len(was) - 1; len(handles) > len(was) && !was[last].isFolder() {
		if info, err := w.s.objectInfo(ctx, handles[last]); err != nil || info.name != was[last].name {
			return false, err
		}
	}
	rest := len(w.x.objects)
	if err := w.describeAll(ctx, handles[len(was):]); err != nil {
		return false, err
	}
	for _, o := range w.x.objects[rest:] {
		if names[o.name] {
			return false, nil
		}
	}
	return true, nil
}

// drop forgets the objects from the index i on.
func (x *index) drop(i int) {
	for _, o := range x.objects[i:] {
		delete(x.at, o.handle)
	}
	x.objects = x.objects[:i]
}

// sure leaves out those handles that may not be of the objects that they are taken for. Of the folders of these not all is
// known any more.
func (x *index) sure(handles []uint32) (sure []uint32) {
	for _, h := range handles {
		i, known := x.at[h]
		if !known || x.objects[i].has&isGuess == 0 {
			sure = append(sure, h)
			continue
		}
		const why = "something in it changed while it was listed"
		if o := &x.objects[i]; x.isRoot(o) {
			x.cut[o.storage] = why
		} else {
			x.broken[o.parent] = why
		}
	}
	return sure
}
