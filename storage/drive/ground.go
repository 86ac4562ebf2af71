package drive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// groundDir is the folder that TestCapacity fills, in the one that it is given. It is removed in the end.
const groundDir = ".boxd-selftest"

// TestCapacity finds out whether the drive that the folder dir is on holds as much as it claims: it writes what can be told
// apart from anything else into part of what is free, or with Full into nearly all of it, and reads that back from the drive.
// It removes what it wrote, also when ctx ends; what an earlier one that was killed left, too.
func TestCapacity(ctx context.Context, dir string, o CapacityOptions) (res Capacity, err error) {
	g, err := newGround(dir)
	if err != nil {
		return Capacity{}, dirError(dir, err)
	}
	defer func() { err = errors.Join(err, g.remove()) }()
	if res, err = tryCapacity(ctx, g, o); err != nil {
		err = fmt.Errorf("drive: capacity of %s: %w", dir, classify(err))
	}
	return res, err
}

// folderGround is the ground that a folder is.
type folderGround struct {
	path string
	root *os.Root
	lock *os.File
}

func newGround(dir string) (*folderGround, error) {
	path := filepath.Join(dir, groundDir)
	if err := os.Mkdir(path, modeDir); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	g := &folderGround{path: path, root: root}
	if g.lock, err = root.OpenFile("lock", os.O_RDWR|os.O_CREATE, modeBlob); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if err := lockFile(g.lock); err != nil {
		return nil, errors.Join(fmt.Errorf("another test is running there: %w", ErrBusy), g.lock.Close(), root.Close())
	}
	return g, g.clear()
}

// clear removes the files of a test.
func (g *folderGround) clear() error {
	entries, err := fs.ReadDir(g.root.FS(), ".")
	for _, e := range entries {
		if e.Name() != "lock" {
			err = errors.Join(err, g.root.Remove(e.Name()))
		}
	}
	return err
}

func (g *folderGround) remove() error {
	return errors.Join(g.clear(), g.lock.Close(), g.root.Close(), os.RemoveAll(g.path))
}

func (g *folderGround) free() (int64, error) {
	s, err := (&Drive{dir: g.path, root: g.root}).space()
	return s.Free, err
}

func (g *folderGround) create(n int) (plot, error) {
	f, err := g.root.OpenFile(strconv.Itoa(n), os.O_RDWR|os.O_CREATE|os.O_EXCL, modeBlob)
	if err != nil {
		return nil, err
	}
	return filePlot{f}, nil
}

// filePlot is a plot in a file.
type filePlot struct{ *os.File }

func (p filePlot) settle() error { return errors.Join(p.Sync(), forget(p.File)) }

func (p filePlot) reserve(n int64) error { return reserveFile(p.File, n) }
