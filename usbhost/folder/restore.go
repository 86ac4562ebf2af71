package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/usbhost"
)

// Restore adds what from holds to the directory (see usbhost.Phone). Each file is written under a temporary name, flushed
// with all others, then read back and compared; only its last step gives it its own name. Times are exact, those of
// directories that it made included. Symbolic links, which only snapshots of stock restic have, are made after all files.
// Permissions are those of the snapshot as far as the umask lets them, and never keep the owner out.
func (p *Phone) Restore(ctx context.Context, from fs.FS, watch usbhost.Watch) (usbhost.Report, error) {
	tally := usbhost.NewTally(watch)
	r := restore{phone: p, from: from, tally: tally, bufs: sync.Pool{New: func() any { return new([bufSize]byte) }}}
	err := r.run(ctx)
	return tally.Report(), err
}

// restore is one run.
type restore struct {
	phone *Phone
	from  fs.FS
	tally *usbhost.Tally
	bufs  sync.Pool // *[bufSize]byte

	plan []planDir
	made map[string]bool // directories that this run made
	less map[string]int  // files of which something is left out, by what

	mu   sync.Mutex // guards sent; held while a file gets its name, lest two names that differ only in case replace each other
	sent []sentFile
}

// planDir is one directory of the snapshot.
type planDir struct {
	path  string
	mtime time.Time
	files []fs.FileInfo
	links []string // names of symbolic links
	perm  fs.FileMode
}

// sentFile is a file that was written and is not yet checked.
type sentFile struct {
	dir, temp, want string // want is the name in the snapshot
	at              int    // dir's number in the plan
	size            int64
	mtime           time.Time
	perm            fs.FileMode
	sum             uint32 // CRC-32C
	item            *usbhost.Item
}

func (r *restore) run(ctx context.Context) error {
	if err := r.phone.alive(); err != nil {
		return err
	}
	r.less = map[string]int{}
	need, err := r.list(ctx, planDir{path: "."})
	if err != nil {
		return err
	}
	if free, _, err := space(r.phone.dir); err == nil && need > free {
		return noSpace(need, free)
	}
	if err := r.writeAll(ctx); err != nil {
		return errors.Join(err, r.discard())
	}
	r.links()
	for _, what := range slices.Sorted(maps.Keys(r.less)) {
		r.tally.Remark(".", fmt.Sprintf("%s are left out, with %d of the files here; stock restic restores them, too", what, r.less[what]), false)
	}
	return r.finish()
}

// links makes the symbolic links, after all files: nothing is written through one. Where the file system has none, each is named.
func (r *restore) links() {
	for _, d := range r.plan {
		for _, elem := range d.links {
			name := join(d.path, elem)
			target, err := fs.ReadLink(r.from, name)
			if err == nil {
				if err = r.phone.root.Symlink(target, name); errors.Is(err, fs.ErrExist) {
					if have, lerr := r.phone.root.Readlink(name); lerr == nil && have == target {
						err = nil
					}
				}
			}
			if err != nil {
				r.tally.Remark(name, "not restored: a symbolic link: "+reason(err), false)
			}
		}
	}
}

func noSpace(need, free int64) error {
	return fmt.Errorf("folder: %d bytes are to be restored and %d are free: %w", need, free, usbhost.ErrNoSpace)
}

// list fills plan, parents first, and returns how many bytes are not there yet.
func (r *restore) list(ctx context.Context, d planDir) (need int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	entries, err := fs.ReadDir(r.from, d.path)
	if err != nil {
		if d.path == "." {
			return 0, fmt.Errorf("folder: list the snapshot: %w", err)
		}
		r.tally.Remark(d.path, "folder of the snapshot cannot be listed: "+reason(err), false)
		return 0, nil
	}
	var subs []planDir
	var bytes int64
	for _, e := range entries {
		name := join(d.path, e.Name())
		info, err := e.Info()
		switch {
		case !localName(e.Name()):
			r.tally.Remark(name, "not restored: no file can have this name here", false)
		case err != nil:
			r.tally.Remark(name, "not restored: "+reason(err), false)
		case info.IsDir():
			subs = append(subs, planDir{path: name, mtime: info.ModTime(), perm: info.Mode().Perm() | 0o700})
		case info.Mode().Type() == fs.ModeSymlink:
			d.links = append(d.links, e.Name())
		case !info.Mode().IsRegular():
			r.tally.Remark(name, "not restored: "+kind(info.Mode()), false)
		default:
			d.files = append(d.files, info)
			bytes += info.Size()
			if x, ok := info.Sys().(interface{ NotRestored() []string }); ok {
				for _, what := range x.NotRestored() {
					r.less[what]++
				}
			}
			if have, err := r.phone.root.Lstat(name); err != nil || have.Size() != info.Size() {
				need += info.Size()
			}
		}
	}
	r.tally.List(len(d.files), bytes)
	r.plan = append(r.plan, d)
	for _, sub := range subs {
		n, err := r.list(ctx, sub)
		if err != nil {
			return 0, err
		}
		need += n
	}
	return need, nil
}

// localName reports whether name can be one element of a path in the folder.
func localName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// A batch is written, flushed, read back and named before the next one begins, so that a restore that is interrupted has
// not to begin again, and what a run remembers stays small.
const (
	batchFiles = 20_000
	batchBytes = 4 << 30
)

// writeAll restores every file that is not there yet, batch by batch.
func (r *restore) writeAll(ctx context.Context) error {
	r.made = map[string]bool{}
	for next := (place{}); next.dir < len(r.plan); {
		r.tally.Phase(usbhost.Copying)
		var err error
		if next, err = r.writeBatch(ctx, next); err != nil {
			return err
		}
		r.tally.Phase(usbhost.Checking)
		if err := r.checkBatch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// place is a place in the plan.
type place struct{ dir, file int }

// writeBatch writes files from at on under temporary names, several at a time, and returns where the next batch begins.
func (r *restore) writeBatch(ctx context.Context, at place) (next place, err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight())
	var files, bytes int64
	for ; at.dir < len(r.plan); at = (place{at.dir + 1, 0}) {
		d := &r.plan[at.dir]
		dir := at.dir
		root, err := r.enter(d)
		if err != nil {
			for _, f := range d.files {
				r.tally.Start(join(d.path, f.Name()), f.Size()).Failed("its folder cannot be made: "+reason(err), false)
			}
			r.tally.Remark(d.path, "folder cannot be made: "+reason(err), false)
			continue
		}
		use := newShared(root)
		for ; at.file < len(d.files) && files < batchFiles && bytes < batchBytes && gctx.Err() == nil; at.file++ {
			f, n := d.files[at.file], at.file
			files, bytes = files+1, bytes+f.Size()
			use.add()
			g.Go(func() error { return errors.Join(r.file(gctx, root, place{dir, n}, f), use.done()) })
		}
		if err := use.done(); err != nil {
			g.Go(func() error { return err })
		}
		if at.file < len(d.files) {
			break
		}
		d.files = nil
	}
	if err := g.Wait(); err != nil {
		return at, err
	}
	return at, ctx.Err()
}

// shared closes a directory after its last user.
type shared struct {
	root  *os.Root
	users atomic.Int32
}

func newShared(root *os.Root) *shared {
	s := &shared{root: root}
	s.add()
	return s
}

func (s *shared) add() { s.users.Add(1) }

func (s *shared) done() error {
	if s.users.Add(-1) > 0 {
		return nil
	}
	return s.root.Close()
}

// enter makes the directory if it is not there and opens it.
func (r *restore) enter(d *planDir) (*os.Root, error) {
	if d.path != "." && !r.made[d.path] {
		switch err := r.phone.root.Mkdir(d.path, d.perm); {
		case err == nil:
			r.made[d.path] = true
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		}
	}
	return r.phone.root.OpenRoot(d.path)
}

// tempPrefix begins the names of files being written.
const tempPrefix = ".phonebackupbox-restore-"

// file keeps what is there or writes a temporary file. Its error ends the run.
func (r *restore) file(ctx context.Context, root *os.Root, at place, f fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := r.plan[at.dir].path
	name := join(dir, f.Name())
	item := r.tally.Start(name, f.Size())
	same, err := r.isThere(ctx, root, name, f.Name(), f)
	if err != nil {
		return err
	}
	if same {
		item.Kept()
		return nil
	}
	s := sentFile{dir: dir, at: at.dir, want: f.Name(), size: f.Size(), mtime: f.ModTime(), perm: f.Mode().Perm() | 0o600, item: item}
	s.temp = fmt.Sprintf("%s%d", tempPrefix, at.file)
	s.sum, err = r.write(ctx, root, name, s)
	if err == nil {
		r.mu.Lock()
		r.sent = append(r.sent, s)
		r.mu.Unlock()
		return nil
	}
	if rm := root.Remove(s.temp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		r.tally.Remark(join(dir, s.temp), "half a file is left here: "+reason(rm), false)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("folder: write %q of %d bytes: %w", name, f.Size(), usbhost.ErrNoSpace)
	}
	if gone := r.phone.alive(); gone != nil {
		return gone
	}
	item.Failed(reason(err), false)
	return nil
}

// write copies the file into s.temp with its time and returns the sum of what it wrote.
func (r *restore) write(ctx context.Context, root *os.Root, name string, s sentFile) (sum uint32, err error) {
	src, err := r.from.Open(name)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	dst, err := root.OpenFile(s.temp, flags, s.perm)
	if errors.Is(err, fs.ErrExist) { // left by a restore that was cut off
		if err = root.Remove(s.temp); err == nil {
			dst, err = root.OpenFile(s.temp, flags, s.perm)
		}
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	n, sum, err := r.copy(ctx, dst, src, s.item)
	if err == nil && n != s.size {
		err = fmt.Errorf("the snapshot gave %d of %d bytes: %w", n, s.size, io.ErrUnexpectedEOF)
	}
	if err == nil && syncEach {
		err = dst.Sync()
	}
	if err == nil && !s.mtime.IsZero() {
		err = root.Chtimes(s.temp, time.Time{}, s.mtime)
	}
	return sum, err
}

// finish makes the names durable and sets the times of the directories, children first.
func (r *restore) finish() error {
	for _, d := range slices.Backward(r.plan) {
		if r.made[d.path] && !d.mtime.IsZero() {
			if err := r.phone.root.Chtimes(d.path, time.Time{}, d.mtime); err != nil {
				r.tally.Remark(d.path, "the folder's time cannot be set: "+reason(err), false)
			}
		}
	}
	if err := syncAll(r.phone.root); err != nil {
		return fmt.Errorf("folder: flush %s: %w", r.phone.dir, err)
	}
	return nil
}

// discard removes the temporary files that did not get a name.
func (r *restore) discard() error {
	var errs []error
	for _, s := range r.sent {
		if s.temp == "" {
			continue
		}
		if err := r.phone.root.Remove(join(s.dir, s.temp)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("folder: remove half a file: %w", err))
		}
	}
	r.sent = nil
	return errors.Join(errs...)
}
