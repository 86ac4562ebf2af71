package mtp

import (
	"context"
	"fmt"
)

// found is an object of a folder that was searched.
type found struct {
	handle uint32
	info   objectInfo
}

// pin makes sure of the handle of a file that was taken over from a listing cut short: by asking, and where another file is
// in its place, by searching the folder. here is false if it is not in the folder any more; changed tells that its size or date
// is another than it was, and is set right. Only an error that ends the run is returned.
func (b *backup) pin(ctx context.Context, f entry) (here, changed bool, err error) {
	if f.has&isGuess == 0 {
		return true, false, nil
	}
	now := found{handle: f.handle}
	now.info, err = b.p.s.objectInfo(ctx, f.handle)
	if fatalOnly(ctx, err) != nil {
		return false, false, err
	}
	if err != nil || !sameFile(f, now.info) {
		there, err := b.search(ctx, f)
		if err != nil {
			return false, false, err
		}
		if now, here = there[f.object.name]; !here {
			return false, false, nil
		}
	}
	was := version{f.size, f.mtime}
	f.handle, f.has = now.handle, f.has&^isGuess
	if f.size, err = b.p.s.sizeNow(ctx, now, f.size); fatalOnly(ctx, err) != nil {
		return false, false, err
	}
	f.mtime = nanos(parseTime(now.info.modified, b.p.local))
	b.correct(f)
	return true, version{f.size, f.mtime} != was, nil
}

func sameFile(f entry, info objectInfo) bool {
	inRoot := f.parent == handleAll || f.parent == handleNone
	return info.name == f.object.name && info.format != formatAssociation && (inRoot || info.parent == f.parent)
}

// sizeNow is an object's size in bytes; was is what it had.
func (s *session) sizeNow(ctx context.Context, now found, was int64) (int64, error) {
	if now.info.size != sizeUnknown {
		return int64(now.info.size), nil
	}
	if !s.tellsSizes() {
		return was, nil
	}
	return s.size64(ctx, now.handle)
}

// search asks for all files of the folder that f lies in, once a run.
func (b *backup) search(ctx context.Context, f entry) (map[string]found, error) {
	at := key{f.storage, f.parent}
	if there, done := b.searched[at]; done {
		return there, nil
	}
	there := map[string]found{}
	folder := f.parent
	if folder == handleNone {
		folder = handleAll
	}
	handles, err := b.p.s.handles(ctx, f.storage, folder)
	if err != nil {
		return nil, fmt.Errorf("search a folder: %w", err)
	}
	for _, h := range handles {
		info, err := b.p.s.objectInfo(ctx, h)
		if fatalOnly(ctx, err) != nil {
			return nil, err
		}
		if err == nil && info.format != formatAssociation {
			there[info.name] = found{h, info}
		}
	}
	if b.searched == nil {
		b.searched = map[key]map[string]found{}
	}
	b.searched[at] = there
	return there, nil
}
