// Package folder drives a directory as a phone: a memory card, a camera or phone in storage mode, or any folder. Regular
// files and directories are copied with their exact names and times; symbolic links, devices, sockets and pipes are told
// in the report and never followed. Everything happens inside an os.Root, so nothing in the folder leads out of it.
package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"phonebackupbox/usbhost"
)

// bufSize is the size of one copy buffer, in bytes; inFlight of them exist.
const bufSize = 256 << 10

// inFlight is how many files are copied at a time: enough that small files do not wait for one another, few enough that
// a card's or a disk's heads are not torn about.
func inFlight() int { return min(4, max(2, runtime.GOMAXPROCS(0))) }

// Phone is a directory. It satisfies usbhost.Phone.
type Phone struct {
	dir  string // absolute
	root *os.Root

	gone     chan struct{}
	goneOnce sync.Once
	close    func() error
}

var _ usbhost.Phone = (*Phone)(nil)

// Open opens the existing directory dir.
func Open(dir string) (*Phone, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	return &Phone{dir: abs, root: root, gone: make(chan struct{}), close: sync.OnceValue(root.Close)}, nil
}

// Info describes the directory: its ID is "folder:" and the absolute path, its name the last element of that.
func (p *Phone) Info(context.Context) (usbhost.Info, error) {
	info := usbhost.Info{
		ID:    usbhost.ID("folder:" + p.dir),
		Name:  filepath.Base(p.dir),
		Free:  -1,
		Total: -1,
	}
	if err := p.alive(); err != nil {
		return info, err
	}
	free, total, err := space(p.dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return info, nil
	}
	if err != nil {
		return info, fmt.Errorf("folder: free space of %s: %w", p.dir, err)
	}
	info.Free, info.Total = free, total
	return info, nil
}

// Gone is closed when a run found the directory gone (a card pulled out, a folder deleted) and by Close.
func (p *Phone) Gone() <-chan struct{} { return p.gone }

// Close lets go of the directory.
func (p *Phone) Close() error {
	p.goneOnce.Do(func() { close(p.gone) })
	return p.close()
}

// alive reports ErrUnplugged if the path no longer leads to the directory that was opened: then "no such file" tells
// nothing about what the phone holds.
func (p *Phone) alive() error {
	opened, err := p.root.Stat(".")
	if err == nil {
		var now os.FileInfo
		if now, err = os.Stat(p.dir); err == nil && os.SameFile(opened, now) {
			return nil
		}
	}
	p.goneOnce.Do(func() { close(p.gone) })
	return fmt.Errorf("folder: %s: %w", p.dir, usbhost.ErrUnplugged)
}

// join appends an element to a slash-separated path whose root is ".". path.Join would clean the element.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// reason says in plain words why a file could not be read or written.
func reason(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "access denied"
	case errors.Is(err, usbhost.ErrChanged):
		return usbhost.ErrChanged.Error()
	case errors.Is(err, syscall.ENAMETOOLONG):
		return "name too long"
	case errors.Is(err, syscall.EIO):
		return "the card or disk cannot read or write it (input/output error)"
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err.Error()
	}
	return err.Error()
}
