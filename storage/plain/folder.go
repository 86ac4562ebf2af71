package plain

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// A folder is one here: what is in it, and what its list knows.
type folder struct {
	d      *Drive
	path   string
	before []record               // the list as it lies there
	known  map[key][]record       // the list as it is to be
	names  map[string]int         // how many records there are of each name
	here   map[string]fs.FileInfo // all that lies in it, by name
	taken  map[string]bool        // names, folded, that nothing new may get
}

// key is a file or folder of the phone, by its name there.
type key struct {
	from string
	dir  bool
}

func (r record) key() key { return key{string(r.From), r.Dir} }

// readFolder reads a folder; one that is not there is empty.
func (d *Drive) readFolder(dir string) (*folder, error) {
	list, err := d.loadList(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{d, dir, list, map[key][]record{}, map[string]int{}, map[string]fs.FileInfo{}, map[string]bool{}}
	entries, err := fs.ReadDir(d.root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.here[e.Name()], f.taken[fold(e.Name())] = i, true
	}
	for _, r := range list {
		f.add(r)
		f.taken[fold(r.As)] = true
	}
	return f, nil
}

func (f *folder) add(r record) {
	f.known[r.key()] = append(f.known[r.key()], r)
	f.names[r.As]++
}

// forget drops what is known of a file or folder.
func (f *folder) forget(k key) {
	for _, r := range f.known[k] {
		f.names[r.As]--
	}
	delete(f.known, k)
}

// settleOn makes r the one record of its file.
func (f *folder) settleOn(r record) {
	f.forget(r.key())
	f.add(r)
}

// list is what is known, in a settled order.
func (f *folder) list() []record {
	list := slices.Concat(slices.Collect(maps.Values(f.known))...)
	slices.SortFunc(list, func(a, b record) int {
		return cmp.Or(bytes.Compare(a.From, b.From), cmp.Compare(a.As, b.As), cmp.Compare(a.Version, b.Version), cmp.Compare(a.MTime, b.MTime))
	})
	return list
}

// claimed reports whether a name is that of something of ours.
func (f *folder) claimed(as string) bool { return f.names[as] > 0 }

// ours reports whether the file that r speaks of lies here as we wrote it. Another modification time alone does not make
// it the owner's: what FAT stores depends on the time zone of who reads it.
func (f *folder) ours(r record) (bool, error) {
	i := f.here[r.As]
	if i == nil || !i.Mode().IsRegular() || i.Size() != r.Size {
		return false, nil
	}
	if i.ModTime().UnixNano() == r.MTime {
		return true, nil
	}
	sum, err := f.d.sum(path.Join(f.path, r.As))
	return sum == r.Sum, err
}

// sum is the SHA-256 of a file here, in hexadecimal.
func (d *Drive) sum(name string) (string, error) {
	file, err := d.root.Open(name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, file)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, file.Close())
}

// retire takes what the phone no longer has out of a folder, into the one for what was removed. The owner's files stay.
func (u *update) retire(f *folder, entries []fs.DirEntry) error {
	if u.o.KeepAbsent {
		return nil
	}
	present := map[key]bool{}
	for _, e := range entries {
		present[key{e.Name(), e.IsDir()}] = true
	}
	for k, records := range f.known {
		if present[k] {
			continue
		}
		for _, r := range records {
			if err := u.retireOne(f, r); err != nil {
				return err
			}
		}
		f.forget(k)
	}
	return u.syncDirty()
}

func (u *update) retireOne(f *folder, r record) error {
	name := path.Join(f.path, r.As)
	if r.Dir {
		if i := f.here[r.As]; i == nil || !i.IsDir() {
			return nil
		}
		return u.retireAll(f, name)
	}
	if ours, err := f.ours(r); err != nil || !ours {
		return err
	}
	if err := u.d.moveAway(name, path.Join(removedDir, u.o.Date, f.path), r.As, u.dirty); err != nil {
		return err
	}
	f.gone(r.As)
	u.dirty[f.path] = true
	u.report.Removed++
	return nil
}

// gone notes that nothing of that name lies here any more.
func (f *folder) gone(as string) {
	delete(f.here, as)
	delete(f.taken, fold(as))
}

// retireAll empties a folder of what is ours, and removes it where nothing else is in it.
func (u *update) retireAll(parent *folder, dir string) error {
	f, err := u.d.readFolder(dir)
	if err != nil {
		return err
	}
	if err := u.retire(f, nil); err != nil {
		return err
	}
	if err := u.d.storeList(dir, nil); err != nil || len(f.here) > 0 {
		return err
	}
	if err := u.d.root.Remove(dir); err != nil {
		return err
	}
	parent.gone(path.Base(dir))
	u.dirty[parent.path] = true
	return nil
}

// moveAway moves a file into a folder, under a name that is free there, and notes which folders changed.
func (d *Drive) moveAway(name, dir, as string, dirty map[string]bool) error {
	if err := d.root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	taken := map[string]bool{}
	for {
		to := path.Join(dir, unique(as, taken))
		if _, err := d.root.Lstat(to); err == nil {
			continue
		}
		dirty[dir] = true
		return d.rename(name, to)
	}
}
