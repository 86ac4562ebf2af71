package mtp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"phonebackupbox/usbhost"
)

// Restore adds what from holds to the phone (see usbhost.Phone). The first element of a path chooses the storage by its
// name. One that is no storage of this phone is taken as a storage of the old phone, and its content goes to the first
// storage, if it holds one of the folders that Android makes in every storage (DCIM, Download, ...); else it is an ordinary
// folder on the first storage.
//
// Every file is read back from the phone and compared by SHA-256 before it counts as stored; its time is checked in a last
// listing. A file that fails is removed from the phone again.
func (p *Phone) Restore(ctx context.Context, from fs.FS, watch usbhost.Watch) (usbhost.Report, error) {
	ctx, end := p.begin(ctx)
	defer end()
	tally := usbhost.NewTally(watch)
	r := restore{p: p, from: from, tally: tally, sensitive: map[uint32]bool{}}
	err := r.run(ctx)
	if err != nil {
		err = fmt.Errorf("mtp: restore: %w", err)
	}
	return tally.Report(), err
}

// restore is one run.
type restore struct {
	p     *Phone
	from  fs.FS
	tally *usbhost.Tally

	storages  []storageInfo
	tops      map[string]*place // top element → storage's root
	first     *place            // root of the first storage
	sensitive map[uint32]bool   // storage → tells "a" from "A"; absent until it matters
	sent      []sentObject
	fetch     *fetcher
}

// A place is a folder on the phone.
type place struct {
	path            string // as a listing names it
	storage, handle uint32 // handle is handleAll in a storage's root
	here            map[string]*child
	folded          map[string]string // lower-cased name → name, of those that were there before
	ours            map[string]bool   // lower-cased names that this run sent
}

// A child is what a place holds.
type child struct {
	folder *place // nil for a file
	handle uint32 // of a file
	size   int64
	mtime  time.Time
}

// sentObject is a file whose time is to be checked.
type sentObject struct {
	path    string // in the snapshot
	onPhone string // as a listing names it
	mtime   time.Time
}

func newPlace(path string, storage, handle uint32) *place {
	return &place{path: path, storage: storage, handle: handle, here: map[string]*child{}, folded: map[string]string{}, ours: map[string]bool{}}
}

func (l *place) add(elem string, c *child) {
	l.here[elem] = c
	l.folded[strings.ToLower(elem)] = elem
}

// A sendDir is one folder of the snapshot and where it goes.
type sendDir struct {
	path  string
	mtime time.Time
	place *place // nil until it was found or made
	files []fs.FileInfo
	subs  []*sendDir
	name  string // last element
}

func (r *restore) run(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	root, err := r.read(ctx, ".", "", time.Time{})
	if err != nil {
		return err
	}
	if err := r.room(root); err != nil {
		return err
	}
	earlyFirst(root, 1)
	r.tally.Phase(usbhost.Copying)
	r.fetch = newFetcher(r.p.s, r.p.local)
	if err := r.roots(ctx, root); err != nil {
		return err
	}
	r.tally.Phase(usbhost.Checking)
	return r.checkTimes(ctx)
}

// look lists what is on the phone.
func (r *restore) look(ctx context.Context) error {
	quiet := usbhost.NewTally(nil) // what the listing leaves out is no fault of the restore
	dirs, storages, err := r.p.listing(ctx, quiet)
	if err != nil {
		return err
	}
	r.storages = storages
	places := map[string]*place{}
	r.tops = map[string]*place{}
	for _, d := range dirs {
		l := newPlace(d.path, d.storage, d.handle)
		places[d.path] = l
		if i := strings.LastIndexByte(d.path, '/'); i >= 0 {
			places[d.path[:i]].add(d.path[i+1:], &child{folder: l})
		} else {
			r.tops[d.path] = l
			if d.storage == r.storages[0].id {
				r.first = l
			}
		}
		for _, f := range d.files {
			l.add(f.name, &child{handle: f.object.handle, size: f.size, mtime: f.time()})
		}
	}
	return nil
}

// read lists the snapshot.
func (r *restore) read(ctx context.Context, path, name string, mtime time.Time) (*sendDir, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := &sendDir{path: path, name: name, mtime: mtime}
	entries, err := fs.ReadDir(r.from, path)
	if err != nil {
		if path == "." {
			return nil, fmt.Errorf("list the snapshot: %w", err)
		}
		r.tally.Remark(path, "folder of the snapshot cannot be listed: "+reason(err), false)
		return d, nil
	}
	var bytes int64
	for _, e := range entries {
		sub := e.Name()
		if path != "." {
			sub = path + "/" + e.Name()
		}
		info, err := e.Info()
		switch {
		case err != nil:
			r.tally.Remark(sub, "not restored: "+reason(err), false)
		case info.IsDir():
			child, err := r.read(ctx, sub, e.Name(), info.ModTime())
			if err != nil {
				return nil, err
			}
			d.subs = append(d.subs, child)
		case !info.Mode().IsRegular():
			r.tally.Remark(sub, "not restored: not a regular file", false)
		default:
			d.files = append(d.files, info)
			bytes += info.Size()
		}
	}
	r.tally.List(len(d.files), bytes)
	return d, nil
}

// standard are folders that Android makes in every storage.
var standard = []string{"DCIM", "Download", "Pictures", "Movies", "Music", "Documents", "Android", "Alarms", "Ringtones"}

// storageRoot is the root of the storage that a top folder of the snapshot stands for; nil if it is an ordinary folder.
func (r *restore) storageRoot(top *sendDir) *place {
	if l := r.tops[top.name]; l != nil {
		return l
	}
	if slices.ContainsFunc(top.subs, func(d *sendDir) bool { return slices.Contains(standard, d.name) }) {
		return r.first
	}
	return nil
}

// room makes sure that everything will fit: what is there already in the same size counts as kept.
func (r *restore) room(root *sendDir) error {
	need := map[uint32]int64{}
	need[r.storages[0].id] += missing(&sendDir{files: root.files}, r.first)
	for _, top := range root.subs {
		l := r.storageRoot(top)
		if l == nil {
			var there *place
			if c := r.first.here[top.name]; c != nil {
				there = c.folder
			}
			need[r.storages[0].id] += missing(top, there)
			continue
		}
		need[l.storage] += missing(top, l)
	}
	for _, s := range r.storages {
		if n := need[s.id]; uint64(n) > s.free {
			return fmt.Errorf("%d bytes are to be restored to %q and %d are free: %w", n, storageName(s), s.free, usbhost.ErrNoSpace)
		}
	}
	return nil
}

// missing is how many bytes of d are not in l, which is nil where the folder is not there.
func missing(d *sendDir, l *place) (n int64) {
	for _, f := range d.files {
		if l != nil {
			if c := l.here[f.Name()]; c != nil && c.folder == nil && c.size == f.Size() {
				continue
			}
		}
		n += f.Size()
	}
	for _, sub := range d.subs {
		var there *place
		if l != nil {
			if c := l.here[sub.name]; c != nil {
				there = c.folder
			}
		}
		n += missing(sub, there)
	}
	return n
}

// roots sends the snapshot's top level.
func (r *restore) roots(ctx context.Context, root *sendDir) error {
	for _, top := range root.subs {
		if l := r.storageRoot(top); l != nil {
			top.place = l
			if err := r.dir(ctx, top); err != nil {
				return err
			}
			continue
		}
		if err := r.sub(ctx, r.first, top); err != nil {
			return err
		}
	}
	root.place, root.subs = r.first, nil
	return r.dir(ctx, root)
}

// dir sends what a folder of the snapshot holds into its place.
func (r *restore) dir(ctx context.Context, d *sendDir) error {
	for _, sub := range d.subs { // before files: see earlyFirst
		if err := r.sub(ctx, d.place, sub); err != nil {
			return err
		}
	}
	for _, f := range d.files {
		path := f.Name()
		if d.path != "." {
			path = d.path + "/" + f.Name()
		}
		if err := r.file(ctx, d.place, path, f); err != nil {
			return err
		}
	}
	return nil
}

// sub finds or makes a folder in l and sends what it holds.
func (r *restore) sub(ctx context.Context, l *place, d *sendDir) error {
	c := l.here[d.name]
	if c == nil {
		if other, ok := l.folded[strings.ToLower(d.name)]; ok && l.here[other].folder != nil && !r.caseSensitive(ctx, l.storage) {
			c = l.here[other]
		}
	}
	if c == nil {
		handle, err := r.makeFolder(ctx, l, d)
		if err != nil {
			if fatal(ctx, err) {
				return err
			}
			r.failAll(d, "its folder cannot be made: "+reason(err))
			r.tally.Remark(d.path, "folder cannot be made: "+reason(err), false)
			return nil
		}
		c = &child{folder: newPlace(l.path+"/"+d.name, l.storage, handle)}
		l.add(d.name, c)
	}
	if c.folder == nil {
		r.failAll(d, "a file of its folder's name is there")
		r.tally.Remark(d.path, "folder cannot be made: a file of this name is there", false)
		return nil
	}
	d.place = c.folder
	return r.dir(ctx, d)
}

// failAll ends all files in d as failed.
func (r *restore) failAll(d *sendDir, why string) {
	for _, f := range d.files {
		r.tally.Start(d.path+"/"+f.Name(), f.Size()).Failed(why, false)
	}
	for _, sub := range d.subs {
		r.failAll(sub, why)
	}
}

func (r *restore) makeFolder(ctx context.Context, l *place, d *sendDir) (uint32, error) {
	info, ok := appendObjectInfo(nil, formatAssociation, 0, unescape(d.name), d.mtime)
	if !ok {
		return 0, errName
	}
	return r.p.s.sendInfo(ctx, l.storage, l.handle, info)
}

// errName: a name from the snapshot that no MTP string can hold.
var errName = errors.New("a phone cannot have this name: it is longer than 254 characters or not text")

// checkTimes lists the phone once more and tells which files got another time than they had.
func (r *restore) checkTimes(ctx context.Context) error {
	if len(r.sent) == 0 {
		return nil
	}
	x := newIndex(r.storages, r.p.local)
	if err := r.p.s.list(ctx, x); err != nil {
		return fmt.Errorf("list again: %w", err)
	}
	dirs, _ := x.dirs()
	there := map[string]entry{}
	missing := "it was sent and checked, and the phone lists it no more"
	for _, d := range dirs {
		if d.why != "" {
			missing = "its time could not be checked: " + d.why
		}
		for _, f := range d.files {
			there[d.path+"/"+f.name] = f
		}
	}
	for _, s := range r.sent {
		f, ok := there[s.onPhone]
		switch {
		case !ok:
			r.tally.Remark(s.path, missing, false)
		case !s.mtime.IsZero() && !sameInAnotherZone(f.time(), s.mtime):
			r.tally.Remark(s.path, "the phone gave it another time", false)
		}
	}
	return nil
}

// sameTime compares a time as a phone tells it, in whole seconds, with ours.
func sameTime(phone, ours time.Time) bool {
	return !phone.IsZero() && !ours.IsZero() && phone.Sub(ours.Truncate(time.Second)).Abs() < time.Second
}

// sameInAnotherZone reports whether the two are the same time if the phone lives in another zone than we think. Zones are
// whole quarters of an hour apart, at most 26 hours.
func sameInAnotherZone(phone, ours time.Time) bool {
	if phone.IsZero() || ours.IsZero() {
		return false
	}
	apart := phone.Sub(ours.Truncate(time.Second)).Truncate(time.Second)
	return apart%(15*time.Minute) == 0 && apart.Abs() <= 26*time.Hour
}
