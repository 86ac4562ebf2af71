package plain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// Options say what Update brings up to date.
type Options struct {
	Phone string // its ID: which of the drive's folders is its
	Name  string // what a new folder for it is called; the ID if ""
	Date  string // names the folder that takes what was removed, such as "2026-11-23"

	// Version names the content of a file of from, in at most 1000 bytes: as long as it and the modification time are the same, the file is not
	// read again.
	Version func(fs.FileInfo) string

	// KeepAbsent leaves what is not in from as it is. It is for a snapshot that may lack what the phone still has.
	KeepAbsent bool

	// MaxFile is the largest file that the drive's file system takes, in bytes; 0 if it does not matter.
	MaxFile int64

	Watch func(done int64) // gets the bytes done so far, now and then; may be nil
}

// A Report tells what Update did.
type Report struct {
	Folder                 string // the phone's, here
	Written, Kept, Removed int    // files
	Bytes                  int64  // written
	Problems               []Problem
}

// A Problem is one thing of the phone's that is not here, or not as it is there.
type Problem struct {
	Name   string // its path on the phone
	Reason string
}

// update is one run of Update.
type update struct {
	d      *Drive
	from   fs.FS
	o      Options
	report Report
	done   int64

	staged []staged // written, and not in place yet
	bytes  int64    // of those
	dirty  map[string]bool
}

// Update makes the phone's folder show what from holds. What cannot be shown is in the report's Problems; an error means
// that the drive or ctx gave up, and that a further Update goes on from there. A path in from may hold any bytes.
func (d *Drive) Update(ctx context.Context, from fs.FS, o Options) (Report, error) {
	u := &update{d: d, from: from, o: o, dirty: map[string]bool{}}
	err := u.run(ctx)
	for _, s := range u.staged {
		err = errors.Join(err, s.file.Close()) // an update that gave up; Open removes the files
	}
	if err != nil {
		err = fmt.Errorf("plain: %w", err)
	}
	return u.report, err
}

func (u *update) run(ctx context.Context) error {
	top, err := u.d.readFolder(".")
	if err != nil {
		return err
	}
	for _, private := range []string{privateDir, removedDir} { // taken, and no folder of a phone's
		delete(top.here, private)
		top.taken[fold(private)] = true
	}
	if err := u.folders(top, []name{{u.o.Phone, cmp.Or(u.o.Name, u.o.Phone)}}); err != nil {
		return err
	}
	u.report.Folder = top.known[key{u.o.Phone, true}][0].As
	return u.folder(ctx, ".", u.report.Folder)
}

// folder brings the folder dst up to src, and then those in it.
func (u *update) folder(ctx context.Context, src, dst string) error {
	entries, err := fs.ReadDir(u.from, src)
	if err != nil {
		u.problem(src, fmt.Errorf("cannot be read from the vault: %w", err))
		return ctx.Err()
	}
	f, err := u.d.readFolder(dst)
	if err != nil {
		return err
	}
	if err := u.retire(f, entries); err != nil {
		return err
	}
	var subs []name
	for _, e := range entries {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir():
			subs = append(subs, name{e.Name(), e.Name()})
		case !e.Type().IsRegular():
			u.problem(path.Join(src, e.Name()), errors.New("is no ordinary file"))
		default:
			if err := u.file(ctx, f, src, e); err != nil {
				return err
			}
		}
	}
	for _, step := range []func() error{
		func() error { return u.folders(f, subs) }, func() error { return u.place(f) }, func() error { return u.settle(f) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, s := range subs {
		r := f.known[key{s.from, true}][0]
		if err := u.folder(ctx, path.Join(src, s.from), path.Join(dst, r.As)); err != nil {
			return err
		}
	}
	return nil
}

// name is what a folder is called on the phone and should be called here.
type name struct{ from, want string }

// folders makes the folders that are to be in f, and knows them from now on. One that is there already is taken over: what
// is in it is told apart file by file.
func (u *update) folders(f *folder, names []name) error {
	var fresh []record
	var made []string
	for _, n := range names {
		var as string
		k := key{n.from, true}
		if had := f.known[k]; len(had) > 0 && (f.here[had[0].As] == nil || f.here[had[0].As].IsDir()) {
			as = had[0].As
		} else {
			f.forget(k)
			as = fit(n.want)
			if i := f.here[as]; i == nil || !i.IsDir() || f.claimed(as) {
				as = unique(as, f.taken)
			}
			fresh = append(fresh, record{From: []byte(n.from), As: as, Dir: true})
			f.add(fresh[len(fresh)-1])
		}
		if f.here[as] == nil {
			made = append(made, as)
		}
	}
	if len(fresh) > 0 {
		if err := u.d.appendList(f.path, fresh); err != nil {
			return err
		}
	}
	for _, as := range made {
		if err := u.d.root.MkdirAll(path.Join(f.path, as), 0o755); err != nil {
			return err
		}
		u.dirty[f.path] = true
	}
	return u.syncDirty()
}

// settle writes the list of f as short as it may be, if that is not what it is already.
func (u *update) settle(f *folder) error {
	list := f.list()
	if sameList(list, f.before) {
		return nil
	}
	return u.d.storeList(f.path, list)
}

func (u *update) syncDirty() error {
	for dir := range u.dirty {
		if err := syncDir(u.d.root, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	clear(u.dirty)
	return nil
}

func (u *update) problem(name string, err error) {
	u.report.Problems = append(u.report.Problems, Problem{name, err.Error()})
}

func (u *update) progress(n int64) {
	u.done += n
	if u.o.Watch != nil {
		u.o.Watch(u.done)
	}
}
