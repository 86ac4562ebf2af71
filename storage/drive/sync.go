package drive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/storage"
)

// flushes is how many files are flushed at once. More lets a file system put several into one journal commit, but
// each holds a file open.
const flushes = 8

// Sync implements storage.Store: it flushes the pending files, gives them their names, and flushes the folders. When
// a flush fails, what the kernel still held may be gone although a later flush would succeed, so from then on the
// drive refuses to be written until it is opened anew.
func (d *Drive) Sync(ctx context.Context) error {
	d.syncMu.Lock()
	defer d.syncMu.Unlock()
	if err := errors.Join(ctx.Err(), d.writable()); err != nil {
		if errors.Is(err, storage.ErrReadOnly) {
			return nil // nothing was put
		}
		return fmt.Errorf("drive: sync: %w", err)
	}
	d.mu.RLock()
	batch := maps.Clone(d.pending)
	d.mu.RUnlock()
	if err := d.flushFiles(ctx, batch); err != nil {
		return d.fail(ctx, err)
	}
	if err := d.announce(batch); err != nil {
		return d.fail(ctx, err)
	}
	if err := d.rename(batch); err != nil {
		return d.fail(ctx, err)
	}
	d.mu.Lock()
	dirs := d.dirty
	d.dirty = make(map[string]bool)
	d.mu.Unlock()
	if d.format.Fragile && len(dirs) > 0 {
		if err := d.syncTree(); err != nil { // the files anew, since they have other names; then the folders
			return d.fail(ctx, err)
		}
		return nil
	}
	if err := d.flushDirs(dirs); err != nil {
		return d.fail(ctx, err)
	}
	return nil
}

// fail makes the drive refuse further writes, unless all that happened is that the caller gave up.
func (d *Drive) fail(ctx context.Context, err error) error {
	err = fmt.Errorf("drive: sync %s: %w", d.dir, d.classify(err))
	if ctx.Err() == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.broken == nil {
			d.broken = fmt.Errorf("%w (open the drive again): %w", err, storage.ErrUnavailable)
		}
	}
	return err
}

func (d *Drive) flushFiles(ctx context.Context, batch map[string]pendingFile) error {
	var g errgroup.Group
	g.SetLimit(flushes)
	for name, p := range batch {
		g.Go(func() error {
			// A started flush is seen through: giving up on it would not undo it. No new one starts.
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := d.root.OpenFile(p.temp, os.O_RDWR, 0)
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			if errors.Is(err, fs.ErrNotExist) && !d.isPending(name, p) {
				return nil // deleted meanwhile
			}
			return err
		})
	}
	return g.Wait()
}

func (d *Drive) isPending(name string, p pendingFile) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.pending[name] == p
}

func (d *Drive) rename(batch map[string]pendingFile) error {
	for _, name := range slices.Sorted(maps.Keys(batch)) {
		if err := d.renameOne(name, batch[name]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Drive) renameOne(name string, p pendingFile) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending[name] != p {
		return nil // deleted meanwhile
	}
	dir := path.Dir(name)
	if _, err := d.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := d.root.MkdirAll(dir, modeDir); err != nil {
			return err
		}
		for up := dir; up != "."; up = path.Dir(up) { // any of them may be new
			d.dirty[path.Dir(up)] = true
		}
		if d.format.Fragile { // a torn folder is not to hold anything
			if err := d.syncTree(); err != nil {
				return err
			}
		}
	}
	d.dirty[dir] = true
	if err := d.root.Rename(p.temp, name); err != nil {
		return err
	}
	delete(d.pending, name)
	return nil
}

func (d *Drive) flushDirs(dirs map[string]bool) error {
	var g errgroup.Group
	g.SetLimit(flushes)
	for dir := range dirs {
		g.Go(func() error {
			err := syncDir(d.root, dir)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // pruned; its parent is flushed too
			}
			return err
		})
	}
	return g.Wait()
}
