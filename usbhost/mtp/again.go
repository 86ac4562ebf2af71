package mtp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// bulkPays is how many objects a list of all may tell of, for each file that would have to be asked for alone, before that is
// quicker. A list takes a phone some 20 µs for each, a question about a millisecond, and two lists are needed.
const bulkPays = 32

// copyAll stores files, and reads those once more that changed while they were read.
func (b *backup) copyAll(ctx context.Context, f *fetcher, todo []pending) error {
	if err := b.copy(ctx, f, todo); err != nil {
		return err
	}
	changed, err := b.lookAgain(ctx, f, todo)
	if err != nil {
		return err
	}
	return b.copy(ctx, f, changed)
}

// A version is what the phone tells of a file.
type version struct{ size, mtime int64 }

// lookAgain finds out which of the files that were read in one transaction are no longer what was listed, takes them out of
// the tree and returns them to be read anew: what was read may be half of each version. Large files were asked for at once; to
// ask for each photo would cost a twentieth of its time. Where only small files were read, there is no look: as long as a
// listing takes, so many of them are read.
func (b *backup) lookAgain(ctx context.Context, f *fetcher, todo []pending) ([]pending, error) {
	now := map[uint32]version{}
	var large []*pending
	for i := range todo {
		p := &todo[i]
		if p.has&isStored == 0 || p.size < 0 || p.size > atOnce || p.again {
			continue
		}
		now[p.handle] = version{p.size, p.mtime}
		if p.size > careful {
			large = append(large, p)
		}
	}
	if len(large) == 0 {
		return nil, nil
	}
	err := errors.ErrUnsupported
	if f.s.atOnce && len(large)*bulkPays >= b.files {
		err = f.versions(ctx, now)
	}
	if err != nil && fatal(ctx, err) {
		return nil, err
	}
	if err != nil {
		if now, err = f.versionsOf(ctx, large); err != nil {
			return nil, err
		}
	}
	return b.takeBack(todo, now)
}

// versions asks for all objects at once what they are now, and enters those that are in now already.
func (f *fetcher) versions(ctx context.Context, now map[uint32]version) error {
	for _, prop := range []uint32{propSize, propDateModified} {
		err := f.s.propsOfAll(ctx, prop, func(p property) {
			v, known := now[p.handle]
			switch {
			case !known:
				return
			case p.code == propSize && p.num < 1<<62:
				v.size = int64(p.num)
			case p.code == propDateModified && v.mtime != unknownTime:
				v.mtime = nanos(parseTime(p.str, f.local)) - int64(f.back)
			}
			now[p.handle] = v
		})
		if err != nil {
			return fmt.Errorf("property %#04x of all objects once more: %w", prop, err)
		}
	}
	return nil
}

// versionsOf asks for files one by one.
func (f *fetcher) versionsOf(ctx context.Context, files []*pending) (map[uint32]version, error) {
	now := map[uint32]version{}
	for _, p := range files {
		info, err := f.s.objectInfo(ctx, p.handle)
		switch {
		case errors.Is(err, InvalidObjectHandle):
			continue // deleted since: it was there, and was read
		case err != nil:
			return nil, fmt.Errorf("ask again after reading: %w", err)
		}
		v := version{p.size, p.mtime}
		if info.size != sizeUnknown {
			v.size = int64(info.size)
		}
		if v.mtime != unknownTime {
			v.mtime = nanos(parseTime(info.modified, f.local)) - int64(f.back)
		}
		now[p.handle] = v
	}
	return now, nil
}

// takeBack removes files from the tree that are not what they were, and returns them as they are now.
func (b *backup) takeBack(todo []pending, now map[uint32]version) (changed []pending, err error) {
	for _, p := range todo {
		v, asked := now[p.handle]
		if !asked || v == (version{p.size, p.mtime}) {
			continue
		}
		path := p.dir + "/" + p.name
		if err := b.into.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove %q, which changed while it was read: %w", path, err)
		}
		b.tally.TakeBack(p.size, v.size)
		p.size, p.mtime = v.size, v.mtime
		p.stale, p.again = false, true
		changed = append(changed, p)
	}
	return changed, nil
}
