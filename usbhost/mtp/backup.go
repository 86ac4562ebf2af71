package mtp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/usbhost"
)

// storers is how many files are stored at a time: while the tree works on one or two, the next is read ahead.
const storers = 3

// Backup makes into hold what the phone holds now (see usbhost.Phone). An error of the tree ends the run, as do
// usbhost.ErrLocked, usbhost.ErrUnplugged and a phone that answers nothing any more; all else is in the report.
func (p *Phone) Backup(ctx context.Context, into usbhost.Tree, watch usbhost.Watch) (usbhost.Report, error) {
	ctx, end := p.begin(ctx)
	defer end()
	tally := usbhost.NewTally(watch)
	err := p.backup(ctx, into, tally)
	if err != nil {
		err = fmt.Errorf("mtp: backup: %w", err)
	}
	return tally.Report(), err
}

func (p *Phone) backup(ctx context.Context, into usbhost.Tree, tally *usbhost.Tally) error {
	dirs, storages, err := p.listing(ctx, tally)
	if err != nil {
		return err
	}
	files := 0
	for _, d := range dirs {
		var bytes int64
		for _, f := range d.files {
			bytes += max(f.size, 0)
		}
		tally.List(len(d.files), bytes)
		files += len(d.files)
	}
	tally.Phase(usbhost.Copying)
	b := backup{
		p: p, into: into, tally: tally, files: files, sampler: newSampler(p.sampling, into),
		prune: usbhost.Pruner{Tree: into, Tally: tally, Sure: func() error { return p.stillThere(ctx, dirs) }},
	}
	if err := b.look(dirs); err != nil {
		return err
	}
	todo, err := b.keep(ctx, dirs)
	if err != nil {
		return err
	}
	f := newFetcher(p.s, p.local)
	f.back, f.most = b.back, 0
	for _, s := range storages { // no file is larger than what it lies on
		f.most = max(f.most, addSize(0, s.total))
	}
	if err := b.copyAll(ctx, f, todo); err != nil {
		return err
	}
	changed, err := b.resample(ctx, f)
	if err != nil {
		return err
	}
	if err := b.copyAll(ctx, f, changed); err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) { // children first: a time set early would not survive them
		if !d.mtime.IsZero() {
			d.mtime = d.mtime.Add(-b.back)
		}
		if err := into.Mkdir(d.path, d.mtime); err != nil {
			return fmt.Errorf("make %q in the snapshot: %w", d.path, err)
		}
	}
	return nil
}

// listing lists the phone and tells the tally what it could not list.
func (p *Phone) listing(ctx context.Context, tally *usbhost.Tally) ([]dir, []storageInfo, error) {
	before := p.s.link.moved
	x := newIndex(p.told.take(), p.local)
	x.doubt = len(x.storages) > 0
	if !x.doubt {
		if err := p.s.lookAtStorages(ctx, x); err != nil {
			return nil, nil, err
		}
	}
	if err := p.learnZone(ctx, x.storages); err != nil {
		return nil, nil, fmt.Errorf("time zone: %w", err)
	}
	x.local = p.local
	if err := p.listOn(ctx, x); err != nil {
		return nil, nil, fmt.Errorf("list: %w", err)
	}
	if p.probe {
		if err := p.clearListed(ctx, x); err != nil {
			return nil, nil, err
		}
	}
	tally.Moved(p.s.link.moved - before)
	dirs, remarks := x.dirs()
	for _, r := range append(x.remarks, remarks...) {
		tally.Remark(r.path, r.reason, false)
	}
	for _, d := range dirs {
		if d.why != "" {
			tally.Remark(d.path, "folder cannot be listed to its end: "+d.why, true)
		}
	}
	return dirs, x.storages, nil
}

// stillThere makes sure that no storage went away since it was listed: then what is missing was not removed.
func (p *Phone) stillThere(ctx context.Context, dirs []dir) error {
	now, err := p.s.storages(ctx)
	if err != nil {
		return err
	}
	if len(now) == 0 {
		return usbhost.ErrLocked
	}
	for _, d := range dirs {
		if !slices.ContainsFunc(now, func(s storageInfo) bool { return s.id == d.storage }) {
			return fmt.Errorf("storage of %q went away: %w", d.path, usbhost.ErrLocked)
		}
	}
	return nil
}

// backup is one run.
type backup struct {
	p     *Phone
	into  usbhost.Tree
	tally *usbhost.Tally
	files int // listed

	searched map[key]map[string]found // folders, by the names in them: see pin

	prune usbhost.Pruner

	sampler sampler
	shift   []shift       // the phone's times differ from the tree's by one of these
	back    time.Duration // what new files' times are to be put back by, to fit the others
}

// look finds out whether the phone travelled since the last run.
func (b *backup) look(dirs []dir) (err error) {
	if b.shift, err = b.shifts(dirs); err != nil || len(b.shift) == 0 {
		return err
	}
	b.p.s.log.Info("mtp: all times are shifted: the phone is in another time zone", "by", b.shift[0].by.String(), "known", b.p.zoneKnown)
	if !b.p.zoneKnown {
		newest := slices.MaxFunc(b.shift, func(a, b shift) int { return a.newest.Compare(b.newest) })
		b.back = newest.by
	}
	return nil
}

// pending is a file to be read. There may be a hundred thousand: a job is made when its turn comes.
type pending struct {
	dir string
	entry
	stale bool // the tree holds an older version
	again bool // it changed while it was read, and is to be read once more
}

// keep removes from the tree what is gone, keeps what is unchanged, and returns what is to be read.
func (b *backup) keep(ctx context.Context, dirs []dir) ([]pending, error) {
	if err := b.pruneStorages(dirs); err != nil {
		return nil, err
	}
	var todo []pending
	for i := range dirs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d := &dirs[i]
		now := make(map[string]bool, len(d.files)+len(d.subs))
		for _, f := range d.files {
			now[f.name] = false
		}
		for _, sub := range d.subs {
			now[sub] = true
		}
		before, err := b.prune.Folder(d.path, now, func(string) bool { return d.why != "" })
		if err != nil {
			return nil, err
		}
		for _, f := range d.files {
			// Also a file that the tree does not show may be kept: one that an earlier, interrupted run stored.
			path := d.path + "/" + f.name
			if size := b.sizeOf(path, f); size >= 0 {
				err := b.into.Keep(path, size, f.time())
				if errors.Is(err, fs.ErrNotExist) && len(b.shift) > 0 {
					err = b.keepShifted(path, size, f)
				}
				switch {
				case err == nil:
					item := b.tally.Start(path, size)
					if f.size > 0 && b.sampler.due(path) {
						b.correct(f)
						b.sampler.chosen = append(b.sampler.chosen, kept{pending{dir: d.path, entry: f, stale: true}, item})
					} else {
						item.Kept()
					}
					continue
				case !errors.Is(err, fs.ErrNotExist):
					return nil, fmt.Errorf("keep %q: %w", path, err)
				}
			}
			b.correct(f)
			todo = append(todo, pending{dir: d.path, entry: f, stale: before[f.name]})
		}
		d.files, d.subs = nil, nil
	}
	return todo, nil
}

// sizeOf is a file's size, or where the phone cannot say how many gigabytes it has (a camera's films of 4 GiB and more), that
// of the tree's file, if it is as large; -1 if nobody knows.
func (b *backup) sizeOf(path string, f entry) int64 {
	if f.size >= 0 {
		return f.size
	}
	info, err := fs.Stat(b.into, path)
	if err != nil || info.IsDir() || info.Size() < sizeUnknown {
		return -1
	}
	return info.Size()
}

// pruneStorages removes the top folders of storages that the phone no longer has: a card that was taken out.
func (b *backup) pruneStorages(dirs []dir) error {
	now := map[string]bool{}
	for _, d := range dirs {
		if d.handle == handleAll {
			now[d.path] = true
		}
	}
	_, err := b.prune.Folder(".", now, func(string) bool { return false })
	return err
}

// copy reads files from the phone and stores them.
func (b *backup) copy(ctx context.Context, f *fetcher, todo []pending) error {
	if len(todo) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan *job)
	g.Go(func() error {
		defer close(jobs)
		for _, file := range todo {
			path := file.dir + "/" + file.name
			item := b.tally.Start(path, max(file.size, 0))
			here, changed, err := b.pin(ctx, file.entry)
			switch {
			case err != nil:
				return err
			case !here: // deleted since it was listed
				item.Gone()
				continue
			case changed:
				item.Resize(max(file.size, 0))
			}
			j := newJob(file.object, path, file.stale, item)
			j.ask = j.stale && file.size > careful || file.again
			if err := b.resume(ctx, f, j); err != nil {
				return err
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := f.fetch(ctx, j); err != nil {
				return err
			}
		}
		return nil
	})
	for range storers {
		g.Go(func() error {
			for j := range jobs {
				if err := b.store(ctx, f, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// store puts one file into the tree while it is being read. Its error ends the run.
func (b *backup) store(ctx context.Context, f *fetcher, j *job) error {
	r := &reader{f: f, j: j}
	var err error
	if j.from > 0 {
		err = b.into.(usbhost.Resumer).Continue(j.path, j.file.size, j.file.time(), j.from, r)
	} else {
		err = b.into.Create(j.path, j.file.size, j.file.time(), r)
	}
	source := r.fault()
	r.close()
	switch {
	case source != nil && fatal(ctx, source):
		return source
	case source != nil:
		j.item.Failed(reason(source), j.stale)
		return nil
	case err != nil:
		return fmt.Errorf("store %q: %w", j.path, err)
	}
	if j.file.size < 0 {
		j.item.Resize(r.n)
	}
	j.file.has |= isStored
	j.item.Stored()
	return nil
}
