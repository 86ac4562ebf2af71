package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"phonebackupbox/storage"
)

// Commit makes the Tree a snapshot and ends it. When it returns nil the snapshot is durable; only then may anybody say
// "done". When it fails, the phone's last snapshot is what it was, and Close saves what was stored for the next run.
// No other method of the Tree may be running.
func (t *Tree) Commit(ctx context.Context, o Outcome) (Snapshot, error) {
	if err := t.usable(); err != nil {
		return Snapshot{}, fmt.Errorf("vault: commit: %w", err)
	}
	t.mu.Lock()
	root, sum, err := t.encode(ctx)
	lost := t.lost
	t.mu.Unlock()
	if err != nil {
		return Snapshot{}, err
	}
	if err := t.w.flush(); err != nil {
		return Snapshot{}, err
	}
	if err := t.save(); err != nil {
		return Snapshot{}, err
	}
	if err := ctx.Err(); err != nil {
		return Snapshot{}, fmt.Errorf("vault: commit: %w", err)
	}
	if !o.Complete { // what is begun may be gone on with; putSnapshot makes the record durable
		if err := t.recordParts(false); err != nil {
			return Snapshot{}, err
		}
	}
	for _, name := range lost {
		o.Complete = false
		o.Problems = append(slices.Clip(o.Problems), Problem{Name: name,
			Reason: "this folder of the last snapshot could not be read; what the phone did not give again is missing"})
	}
	o.Run = t.run
	sum.BackupStart, sum.DataAdded = t.start, t.w.added
	sum.FilesNew, sum.FilesKept = uint(max(o.Stored, 0)), uint(max(o.Kept, 0))
	s, err := t.v.putSnapshot(ctx, t.phone, root, o, sum)
	if err != nil {
		return Snapshot{}, err
	}
	if logs := t.end(); len(logs) > 0 {
		if err := cmp.Or(t.v.deleteAll(t.w.ctx, logs), t.v.s.Sync(t.w.ctx)); err != nil {
			// The snapshot stands; records left over are read once more and deleted by the next Commit.
			t.v.o.Log.Warn("resume records could not be deleted", "err", err)
		}
	}
	return s, nil
}

// save makes all packs that were put durable and names them in the index, durably too.
func (t *Tree) save() error {
	if err := t.w.sync(); err != nil {
		return err
	}
	t.w.mu.Lock()
	n := len(t.w.durable)
	t.w.mu.Unlock()
	if n == 0 {
		return nil
	}
	if err := t.w.writeIndex(1); err != nil {
		return err
	}
	return t.w.sync()
}

// Close ends a Tree that was not committed. Nothing of it becomes visible, but what it stored is saved for the next run.
// After Commit it does nothing.
func (t *Tree) Close() error {
	t.mu.Lock()
	done := t.done
	t.mu.Unlock()
	if done {
		return nil
	}
	err := t.w.flush()
	t.stop()
	if err == nil {
		err = cmp.Or(t.save(), t.record(), t.recordParts(true), t.w.sync())
	}
	t.end()
	if err != nil {
		return fmt.Errorf("vault: close: %w", err)
	}
	return nil
}

// stop ends the keeper and waits for it.
func (t *Tree) stop() {
	t.mu.Lock()
	select {
	case <-t.quit:
	default:
		close(t.quit)
	}
	t.mu.Unlock()
	t.keeper.Wait()
}

// end releases the vault for the next Tree and returns the names of the resume records that this one knows.
func (t *Tree) end() []string {
	t.stop()
	t.mu.Lock()
	t.done = true
	t.root, t.resume, t.open, t.enc = nil, nil, openDirs{}, treeWriter{}
	t.mu.Unlock()
	t.rec.mu.Lock()
	logs := t.rec.logs
	t.rec.fresh, t.rec.said, t.rec.names, t.rec.logs, t.rec.parts = nil, nil, nil, nil, nil
	t.rec.mu.Unlock()
	t.w.mu.Lock()
	left := append(t.w.durable, t.w.put...)
	t.w.mu.Unlock()
	t.w.letGo()
	t.v.mu.Lock()
	t.v.unindexed = left
	t.v.tree = nil
	t.v.mu.Unlock()
	return logs
}

// encode stores the trees of all folders that changed and counts the files. t.mu is held.
func (t *Tree) encode(ctx context.Context) (root hash, sum summary, err error) {
	root, err = t.encodeDir(ctx, &t.enc, t.root, nil, &sum)
	return root, sum, err
}

// encodeDir returns a folder's tree, having stored it and what is below it. Folders that nobody looked into are
// read, so that no snapshot is acknowledged whose trees cannot be read, and forgotten again; those that have left memory were
// read in this run, or written.
func (t *Tree) encodeDir(ctx context.Context, w *treeWriter, d *dir, path []string, sum *summary) (hash, error) {
	if err := ctx.Err(); err != nil {
		return hash{}, fmt.Errorf("vault: commit: %w", err)
	}
	if len(path) > maxDepth+1 {
		return hash{}, fmt.Errorf("vault: commit: folders in folders: %w", ErrTooBig)
	}
	if !d.loaded && d.counted {
		sum.Files += d.files
		sum.Bytes += d.bytes
		return d.id, nil
	}
	fresh := !d.loaded
	if err := t.load(d, path); err != nil {
		return hash{}, fmt.Errorf("vault: commit: %w", err)
	}
	names := slices.Sorted(maps.Keys(d.entries))
	for _, name := range names {
		e := d.entries[name]
		switch {
		case e.dir != nil:
			id, err := t.encodeDir(ctx, w, e.dir, append(path, name), sum)
			if err != nil {
				return hash{}, err
			}
			if e.id != id || e.dir.dirty {
				e.id, e.rest, d.dirty = id, nil, true
			}
		case e.mode.IsRegular():
			sum.Files++
			sum.Bytes += uint64(e.size)
		}
	}
	if !d.dirty && d.stored {
		if fresh {
			t.open.drop(d)
		}
		return d.id, nil
	}
	if err := t.storeTree(w, d, names); err != nil {
		return hash{}, fmt.Errorf("vault: folder %q: %w", strings.Join(path, "/"), err)
	}
	return d.id, t.w.failed()
}

// storeTree stores the tree of a folder, whose entries have these names in order and whose subfolders are stored.
func (t *Tree) storeTree(w *treeWriter, d *dir, names []string) error {
	id, packed, size, err := w.encode(func(yield func(*node) bool) {
		for _, name := range names {
			n := d.entries[name].node()
			if !yield(&n) {
				return
			}
		}
	})
	if err == nil && !t.w.has(treeBlob, id) {
		err = t.w.storePacked(treeBlob, id, packed, uint32(size))
	}
	if err != nil {
		return err
	}
	d.id, d.stored = id, true
	return nil
}

// deleteAll deletes blobs; one that is gone already is no error.
func (v *Vault) deleteAll(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		if err := v.s.Delete(ctx, name); err != nil && !errors.Is(err, storage.ErrNotExist) {
			errs = append(errs, fmt.Errorf("vault: delete %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
