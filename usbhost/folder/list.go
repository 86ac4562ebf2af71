package folder

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"phonebackupbox/usbhost"
)

// A file is one regular file of a listing.
type file struct {
	name  string // last element
	size  int64
	mtime int64 // nanoseconds since 1970
}

// files is a list of files in as few bytes as they need, about 27 each: there may be a million.
type files struct {
	p     []byte // of each: the length of its name, the name, size, mtime
	n     int
	bytes int64 // sum of their sizes
}

func (l *files) add(f file) {
	l.p = append(binary.AppendUvarint(l.p, uint64(len(f.name))), f.name...)
	l.p = binary.AppendVarint(binary.AppendVarint(l.p, f.size), f.mtime)
	l.n++
	l.bytes += f.size
}

// all yields the files in the order in which they were added.
func (l files) all() iter.Seq[file] {
	return func(yield func(file) bool) {
		p := l.p
		number := func(n int64, size int) int64 {
			p = p[size:]
			return n
		}
		for range l.n {
			size, at := binary.Uvarint(p)
			f := file{name: string(p[at:][:size])}
			p = p[at:][size:]
			f.size = number(binary.Varint(p))
			f.mtime = number(binary.Varint(p))
			if !yield(f) {
				return
			}
		}
	}
}

// A dir is one directory of a listing.
type dir struct {
	path  string // "." is the root
	mtime time.Time
	files files
	subs  []string        // names of subdirectories
	other map[string]bool // names of what is neither file nor directory, or could not be looked at
	whole bool            // everything in it was listed, so what is not here is gone
}

// list walks the folder, parents before children. Directories that cannot be listed are told to the tally and
// have whole == false.
func (p *Phone) list(ctx context.Context, tally *usbhost.Tally) ([]dir, error) {
	var dirs []dir
	todo := []string{"."}
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		d, err := p.listDir(path, tally)
		if err != nil {
			if gone := p.alive(); gone != nil {
				return nil, gone
			}
			if path == "." {
				return nil, fmt.Errorf("folder: list %s: %w", p.dir, err)
			}
			tally.Remark(path, "folder cannot be listed: "+reason(err), true)
		}
		d.files.p = bytes.Clone(d.files.p) // without room for more
		tally.List(d.files.n, d.files.bytes)
		for _, sub := range d.subs {
			todo = append(todo, join(path, sub))
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// listDir lists one directory. Beside an error it returns what it found before that.
func (p *Phone) listDir(path string, tally *usbhost.Tally) (dir, error) {
	d := dir{path: path, other: map[string]bool{}}
	// A root of its own makes every look at an entry one system call, however deep the directory lies.
	root, err := p.root.OpenRoot(path)
	if err != nil {
		return d, err
	}
	defer root.Close()
	handle, err := root.Open(".")
	if err != nil {
		return d, err
	}
	defer handle.Close()
	if info, err := handle.Stat(); err == nil {
		d.mtime = info.ModTime()
	}
	names, err := handle.Readdirnames(-1)
	for _, name := range names {
		info, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// It went away since Readdirnames: not listed.
		case err != nil:
			d.other[name] = true
			tally.Remark(join(path, name), "cannot be looked at: "+reason(err), true)
		case info.IsDir():
			d.subs = append(d.subs, name)
		case info.Mode().IsRegular():
			d.files.add(file{name, info.Size(), info.ModTime().UnixNano()})
		default:
			d.other[name] = true
			tally.Remark(join(path, name), "not copied: "+kind(info.Mode()), false)
		}
	}
	d.whole = err == nil
	return d, err
}

// kind names what is not a file.
func kind(m fs.FileMode) string {
	switch {
	case m&os.ModeSymlink != 0:
		return "a symbolic link"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	case m&os.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}
