package mtp

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxDepth bounds how deep folders may lie in one another.
const maxDepth = 512

// A walk lists a phone folder by folder.
type walk struct {
	s     *session
	x     *index
	bulk  bool            // folders may be listed by GetObjectPropList
	seen  map[uint32]bool // folders met, lest a loop has no end
	mute  int             // operations in a row that timed out
	queue []folder
}

type folder struct {
	storage, handle uint32
	depth           int
	was             *object // the folder of this path in a listing that was cut short; nil if it is not in it
	same            bool    // it has the date that it had
}

func (w *walk) run(ctx context.Context) error {
	listed := map[uint32]bool{}
	if w.bulk {
		if err := w.roots(ctx, listed); err != nil {
			return err
		}
	}
	for _, s := range w.x.storages {
		if !listed[s.id] {
			w.queue = append(w.queue, folder{storage: s.id, handle: handleAll, was: w.x.before.root(s)})
		}
	}
	return w.drain(ctx)
}

// roots lists the roots of all storages in as many transactions as there are properties, and tells which it found objects
// in: handle 0 at depth 1 means them on Android. Where it does not, or an object does not say where it lies, nothing is
// listed. Only an error that ends the run is returned.
func (w *walk) roots(ctx context.Context, done map[uint32]bool) error {
	for _, prop := range listed {
		err := w.s.props(ctx, handleNone, prop, 1, w.x.set)
		if err != nil && fatal(ctx, err) {
			return err
		}
		if err != nil || w.x.over {
			w.x.reset()
			return nil
		}
	}
	for i := range w.x.objects {
		o := &w.x.objects[i]
		if !o.complete() || !w.x.isRoot(o) || !slices.ContainsFunc(w.x.storages, func(s storageInfo) bool { return s.id == o.storage }) {
			w.x.reset()
			return nil
		}
	}
	for i := range w.x.objects {
		o := &w.x.objects[i]
		done[o.storage] = true
		if o.isFolder() {
			w.seen[o.handle] = true
			root := w.x.before.root(*w.x.storage(o.storage))
			w.queue = append(w.queue, w.x.before.sub(root, o, 1))
		}
	}
	return nil
}

// drain lists the folders that are queued, and those in them.
func (w *walk) drain(ctx context.Context) error {
	for len(w.queue) > 0 {
		f := w.queue[0]
		w.queue = w.queue[1:]
		err := w.judge(w.folder(ctx, f))
		if fatal(ctx, err) {
			return err
		}
		if err != nil {
			w.fail(f, err)
		}
	}
	return nil
}

// judge takes a phone on which one operation after the other times out for wedged: a hundred thousand of them have no end.
func (w *walk) judge(err error) error {
	if !errors.Is(err, errTimeout) {
		w.mute = 0
		return err
	}
	if w.mute++; w.mute > maxTimeouts {
		return fmt.Errorf("mtp: %w: %w", errWedged, err)
	}
	return err
}

// fail remembers that not all of a folder was listed.
func (w *walk) fail(f folder, err error) {
	w.s.log.Debug("mtp: list folder", "handle", f.handle, "err", err)
	if f.handle == handleAll {
		w.x.cut[f.storage] = reason(err)
		return
	}
	w.x.broken[f.handle] = reason(err)
}

// folder lists one folder and queues those in it.
func (w *walk) folder(ctx context.Context, f folder) error {
	if f.depth > maxDepth {
		return fmt.Errorf("%w: folders more than %d deep", errMalformed, maxDepth)
	}
	if len(w.x.objects) >= w.x.most {
		return errTooMany
	}
	before := len(w.x.objects)
	if taken, err := w.takeOver(ctx, f); taken || err != nil {
		w.found(f, before)
		return err
	}
	if w.bulk && f.handle != handleAll {
		err := w.properties(ctx, f)
		if err == nil || fatal(ctx, err) {
			if err == nil {
				w.x.note(f, before, len(w.x.objects)-before)
			}
			w.found(f, before)
			return err
		}
		w.s.log.Debug("mtp: list folder at once", "handle", f.handle, "err", err)
		for _, never := range []Code{OperationNotSupported, DepthUnsupported, ParameterNotSupported} {
			if errors.Is(err, never) {
				w.bulk = false
			}
		}
	}
	err := w.oneByOne(ctx, f)
	w.found(f, before)
	return err
}

// properties lists a folder in as many transactions as there are properties, and one more if nothing is in it.
func (w *walk) properties(ctx context.Context, f folder) error {
	before := len(w.x.objects)
	for _, prop := range listed {
		err := w.s.props(ctx, f.handle, prop, 1, func(p property) {
			if p.handle != f.handle { // some list the folder itself too
				w.x.set(p)
			}
		})
		if err == nil && w.x.over {
			err = errTooMany
		}
		if err != nil {
			return fmt.Errorf("property %#04x: %w", prop, err)
		}
	}
	if len(w.x.objects) > before {
		return w.holes(ctx, before)
	}
	// umtp-responder tells of the folder alone, whatever the depth: that would be an empty folder.
	in, err := w.s.handles(ctx, f.storage, f.handle)
	if err == nil && len(in) > 0 {
		w.bulk = false
		err = fmt.Errorf("%w: nothing in it, yet %d objects", errMalformed, len(in))
	}
	return err
}

// holes asks for objects that came while a folder was listed property by property, and so are not in all of the lists.
func (w *walk) holes(ctx context.Context, before int) error {
	for i := before; i < len(w.x.objects) && i < before+maxHoles; i++ {
		if o := w.x.objects[i]; !o.complete() {
			if err := w.s.describe(ctx, w.x, o.handle); errors.Is(err, InvalidObjectHandle) {
				w.x.objects[i].dead = true
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// oneByOne lists a folder by its handles and asks for each object.
func (w *walk) oneByOne(ctx context.Context, f folder) error {
	handles, err := w.s.handles(ctx, f.storage, f.handle)
	if err != nil {
		return err
	}
	defer w.x.note(f, len(w.x.objects), len(handles))
	return w.describeAll(ctx, handles)
}

// describeAll asks for objects one by one.
func (w *walk) describeAll(ctx context.Context, handles []uint32) (failed error) {
	for _, h := range handles {
		if i, known := w.x.at[h]; known && w.x.objects[i].complete() {
			continue
		}
		if h == handleNone || h == handleAll { // these name roots, and what lies in a root would be listed in it
			failed = fmt.Errorf("an object in it: %w: handle %#x", errMalformed, h)
			continue
		}
		if len(w.x.objects) >= w.x.most {
			return errTooMany
		}
		err := w.judge(w.s.describe(ctx, w.x, h))
		if fatal(ctx, err) {
			return err
		}
		o := w.x.object(h)
		switch {
		case errors.Is(err, InvalidObjectHandle):
			o.dead = true // gone since the handles were listed
		case err != nil:
			o.dead = true
			failed = fmt.Errorf("an object in it: %w", err)
		}
	}
	return failed
}

// found looks at what listing f brought: it lies in f on this storage, and folders among it are to be listed.
func (w *walk) found(f folder, before int) {
	for i := before; i < len(w.x.objects); i++ {
		o := &w.x.objects[i]
		if o.dead {
			continue
		}
		if !o.complete() {
			o.dead = true
			w.fail(f, fmt.Errorf("an object in it: %w", errMalformed))
			continue
		}
		o.storage, o.parent = f.storage, f.handle
		if o.isFolder() && !w.seen[o.handle] {
			w.seen[o.handle] = true
			w.queue = append(w.queue, w.x.before.sub(f.was, o, f.depth+1))
		}
	}
}
