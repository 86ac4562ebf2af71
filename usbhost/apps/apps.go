// Package apps knows where chat and social apps keep their files on an Android phone, and tells from the listing of a snapshot
// (names, sizes and dates, never what is in a file) which of them it holds, how old their own backups are, and what a person
// must do to have their chats on another phone.
//
// Over MTP a phone gives what lies in its shared storage and nothing of what an app keeps to itself, so chats are there only
// where the app writes a backup of its own into that storage. WhatsApp does by itself, at about 02:00 each night; Signal does
// where its owner switched it on; the others never do, and that is said.
package apps

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// OldAfter is how much older than the newest file of the phone an app's own backup may be before it is called old. WhatsApp
// writes one each night, and Signal where its schedule says so; a night or two without is no cause for alarm.
const OldAfter = 3 * 24 * time.Hour

// State is how an app's own backup is.
type State string

// The states.
const (
	NoBackups State = "never"           // the app writes none where MTP can see it
	Good      State = "good"            // there is one, and it is fresh
	Old       State = "old"             // there is one, older than OldAfter
	Missing   State = "missing"         // there is none
	Fragments State = "increments only" // there are only increments, which cannot be restored without the full file
)

// An App is what a snapshot holds of one app.
type App struct {
	Name    string
	Folders []string // where its files are, as the snapshot names them
	State   State
	Backup  time.Time // when its newest usable backup of its own was written; zero: there is none
	Size    int64     // bytes of its own backups, older ones and increments included
	Media   int64     // bytes of everything else in its folders
	Files   int       // how many files everything else is
	Sealed  bool      // a key that only the owner has opens its newest backup

	kind   *kind
	byKind any // what the kind's steps depend on
}

// Look tells what a snapshot holds of the apps that are known, in the order of the table. now is when the snapshot was taken:
// files dated more than a day later do not count when a backup's age is judged. The error is the first folder that could not be
// read; what was found elsewhere is told all the same.
func Look(fsys fs.FS, now time.Time) ([]App, error) {
	l := look{fsys: fsys, latest: now.Add(24 * time.Hour)}
	there, cameras := l.places()
	var found []App
	for i := range table {
		if a, ok := l.app(&table[i], there[i]); ok {
			found = append(found, a)
		}
	}
	if slices.ContainsFunc(found, func(a App) bool { return !a.Backup.IsZero() }) {
		for _, dir := range cameras { // how long the phone has been used since
			l.walk(dir, func(string, fs.FileInfo) {})
		}
	}
	for i := range found {
		if a := &found[i]; a.State == Good && l.newest.Sub(a.Backup) > OldAfter {
			a.State = Old
		}
	}
	return found, l.err
}

// A look is one reading of a listing.
type look struct {
	fsys   fs.FS
	latest time.Time // files dated later have absurd dates
	newest time.Time // of the files seen
	err    error     // the first
}

// roots are the folders that may be the root of a storage: the snapshot's own (a folder or a card) and, as MTP's snapshots have
// one folder for each storage, those directly in it.
func (l *look) roots() []string {
	roots := []string{"."}
	for _, e := range l.list(".") {
		if e.IsDir() {
			roots = append(roots, e.Name())
		}
	}
	return roots
}

// place is a folder of an app that is there: in a storage, one of its kind's places.
type place struct{ dir, name string }

// places finds the folders of all apps of the table, and of photos. It looks into one root after the other, since there may be
// a thousand of them, each a tree that has to be read and decrypted.
func (l *look) places() (there [][]place, cameras []string) {
	isDir := func(dir string) bool {
		info, err := fs.Stat(l.fsys, dir)
		return err == nil && info.IsDir() // a place that is not there is the rule
	}
	there = make([][]place, len(table))
	for _, root := range l.roots() {
		for i := range table {
			for _, name := range table[i].places {
				if dir := path.Join(root, name); isDir(dir) {
					there[i] = append(there[i], place{dir, name})
				}
			}
		}
		if dir := path.Join(root, "DCIM"); isDir(dir) {
			cameras = append(cameras, dir)
		}
	}
	return there, cameras
}

func (l *look) list(dir string) []fs.DirEntry {
	entries, err := fs.ReadDir(l.fsys, dir)
	l.err = cmp.Or(l.err, err)
	return entries
}

// app gathers what there is of one app in its places.
func (l *look) app(k *kind, there []place) (App, bool) {
	a := App{Name: k.name, kind: k, State: NoBackups}
	var c copies
	for _, p := range there {
		if slices.ContainsFunc(a.Folders, func(f string) bool { return p.dir == f || strings.HasPrefix(p.dir, f+"/") }) {
			continue
		}
		files := 0
		l.walk(p.dir, func(name string, info fs.FileInfo) {
			files++
			if k.backup != nil && k.backup(&c, name, info) {
				a.Size += info.Size()
				return
			}
			a.Media += info.Size()
			a.Files++
		})
		// Android removes Android/media/PACKAGE with the app, so that folder says by itself that the app is there. An
		// empty folder elsewhere may be left over from years ago.
		if files > 0 || k.backup != nil && strings.HasPrefix(p.name, "Android/media/") {
			a.Folders = append(a.Folders, p.dir)
		}
	}
	if len(a.Folders) == 0 {
		return App{}, false
	}
	if k.backup != nil {
		a.Backup, a.Sealed, a.State = c.newest()
		a.byKind = c
	}
	return a, true
}

// walk calls f for every regular file in dir and below.
func (l *look) walk(dir string, f func(name string, info fs.FileInfo)) {
	for _, e := range l.list(dir) {
		name := dir + "/" + e.Name() // path.Join would clean odd names away
		if e.IsDir() {
			l.walk(name, f)
			continue
		}
		info, err := e.Info()
		if err != nil {
			l.err = cmp.Or(l.err, err)
			continue
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if at := info.ModTime(); at.After(l.newest) && !at.After(l.latest) {
			l.newest = at
		}
		f(name, info)
	}
}
