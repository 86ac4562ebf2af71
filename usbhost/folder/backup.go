package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/usbhost"
)

// Backup makes into hold what the directory holds now (see usbhost.Phone). Several files are copied at a time. An error of
// the tree itself ends the run; what goes wrong with single files and folders is in the report.
func (p *Phone) Backup(ctx context.Context, into usbhost.Tree, watch usbhost.Watch) (usbhost.Report, error) {
	tally := usbhost.NewTally(watch)
	err := p.backup(ctx, into, tally)
	return tally.Report(), err
}

func (p *Phone) backup(ctx context.Context, into usbhost.Tree, tally *usbhost.Tally) error {
	dirs, err := p.list(ctx, tally)
	if err != nil {
		return err
	}
	tally.Phase(usbhost.Copying)
	b := backup{phone: p, into: into, tally: tally, prune: usbhost.Pruner{Tree: into, Tally: tally, Sure: p.alive}}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight())
	for i := range dirs {
		d := &dirs[i]
		before, err := b.clear(d)
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		for f := range d.files.all() {
			if gctx.Err() != nil {
				break
			}
			g.Go(func() error { return b.file(gctx, d.path, f, before[f.name]) })
		}
		d.files, d.other = files{}, nil // a listing of a million files need not outlive its use
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) { // children first: a time set early would not survive them
		if d.path == "." {
			continue
		}
		if err := into.Mkdir(d.path, d.mtime); err != nil {
			return fmt.Errorf("folder: make %q in the snapshot: %w", d.path, err)
		}
	}
	return nil
}

// backup is one run.
type backup struct {
	phone *Phone
	into  usbhost.Tree
	tally *usbhost.Tally
	prune usbhost.Pruner // used by the goroutine that walks the listing, none of the copiers
}

// clear removes from the tree what d no longer holds and returns the names of the files that the tree holds in d.
func (b *backup) clear(d *dir) (before map[string]bool, err error) {
	now := make(map[string]bool, d.files.n+len(d.subs))
	for f := range d.files.all() {
		now[f.name] = false
	}
	for _, sub := range d.subs {
		now[sub] = true
	}
	before, err = b.prune.Folder(d.path, now, func(name string) bool { return !d.whole || d.other[name] })
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	return before, nil
}

// file keeps or stores one file. stale tells that the tree holds a version of it. Its error ends the run.
func (b *backup) file(ctx context.Context, dir string, f file, stale bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name := join(dir, f.name)
	item := b.tally.Start(name, f.size)
	// Also a file that the tree does not show may be kept: one that an earlier, interrupted run stored.
	switch err := b.into.Keep(name, f.size, time.Unix(0, f.mtime)); {
	case err == nil:
		item.Kept()
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("folder: keep %q: %w", name, err)
	}
	size, err := b.store(ctx, name, item)
	if errors.Is(err, usbhost.ErrChanged) {
		// Most writers are quick: the second look usually finds the file at rest.
		size, err = b.store(ctx, name, item)
	}
	if err == nil {
		if size != f.size { // it grew or shrank since it was listed; what was stored is the newer version
			item.Resize(size)
		}
		item.Stored()
		return nil
	}
	return b.failed(ctx, name, item, stale, err)
}

// failed ends a file that could not be stored, unless the fault is the run's and not the file's.
func (b *backup) failed(ctx context.Context, name string, item *usbhost.Item, stale bool, err error) error {
	var source *sourceError
	if !errors.As(err, &source) {
		return fmt.Errorf("folder: store %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.phone.alive(); err != nil {
		return err
	}
	if _, err := b.phone.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		item.Gone()
		if stale { // it is the tree's turn to forget it
			if err := b.into.Remove(name); err != nil {
				return fmt.Errorf("folder: remove %q from the snapshot: %w", name, err)
			}
			b.tally.Removed(1)
		}
		return nil
	}
	item.Failed(reason(source.err), stale)
	return nil
}

// store streams the file as it is now into the tree and returns its size in bytes. Errors of the file are *sourceError,
// all others are the tree's.
func (b *backup) store(ctx context.Context, name string, item *usbhost.Item) (int64, error) {
	f, err := b.phone.root.OpenFile(name, openFlags, 0)
	if err != nil {
		return 0, &sourceError{err}
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return 0, &sourceError{err}
	}
	if !before.Mode().IsRegular() {
		return 0, &sourceError{fmt.Errorf("%w: it is now %s", usbhost.ErrChanged, kind(before.Mode()))}
	}
	r := &reader{ctx: ctx, f: f, before: before, item: item}
	if err := b.into.Create(name, before.Size(), before.ModTime(), r); err != nil {
		if r.err != nil {
			return 0, &sourceError{r.err}
		}
		return 0, err
	}
	return before.Size(), nil
}

// sourceError is the fault of one file on the phone, not of the tree.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// A reader hands a file's bytes on, and its last byte only if the file is still what it was when it was opened.
type reader struct {
	ctx    context.Context
	f      *os.File
	before fs.FileInfo
	item   *usbhost.Item
	n      int64 // bytes handed on
	err    error // first error other than io.EOF
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.err = r.ctx.Err(); r.err != nil {
		return 0, r.err
	}
	left := r.before.Size() - r.n
	if int64(len(p)) > left {
		p = p[:left]
	}
	n := 0
	if left > 0 {
		var err error
		n, err = r.f.Read(p)
		if err == io.EOF {
			err = fmt.Errorf("%w: it ended early: %w", usbhost.ErrChanged, io.ErrUnexpectedEOF)
		}
		if r.err = err; err != nil {
			return 0, err
		}
		r.n += int64(n)
		r.item.Moved(n)
	}
	if r.n < r.before.Size() {
		return n, nil
	}
	after, err := r.f.Stat()
	if err == nil && (after.Size() != r.before.Size() || !after.ModTime().Equal(r.before.ModTime())) {
		err = usbhost.ErrChanged
	}
	if r.err = err; err != nil {
		return 0, err
	}
	return n, io.EOF
}
