package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// A dir is one directory of a listing.
type dir struct {
	path  string // "." is the root
	mtime time.Time
	files []file
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
		var bytes int64
		for _, f := range d.files {
			bytes += f.size
		}
		tally.List(len(d.files), bytes)
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
			d.files = append(d.files, file{name, info.Size(), info.ModTime().UnixNano()})
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
