package mtp

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"phonebackupbox/usbhost"
)

// listed are the properties asked for, one per transaction. On Android one property of all objects costs a walk over
// what it has in memory, while "all properties" asks the media database about every picture.
var listed = []uint32{propParent, propFileName, propSize, propDateModified, propFormat, propStorageID}

// maxHoles is how many objects that came or went during a bulk listing are asked for one by one; beyond that, the listing
// was none.
const maxHoles = 1000

// errTooMany: no phone holds so many objects as this one says, and no box has the memory for them.
var errTooMany = fmt.Errorf("%w: more than %d objects", errMalformed, maxObjects)

// list lists the whole phone: all at once, else folder by folder, else object by object. Only an error that ends the run is
// returned; what could not be listed is in the index (broken, cut).
func (s *session) list(ctx context.Context, x *index) error {
	if s.info.supports(opGetObjectPropList) {
		err := s.listAll(ctx, x)
		if s.atOnce = err == nil; s.atOnce || fatal(ctx, err) {
			return err
		}
		s.log.Info("mtp: the phone cannot be listed at once", "err", err)
		x.reset()
	}
	if x.doubt {
		if err := s.lookAtStorages(ctx, x); err != nil {
			return err
		}
	}
	w := walk{s: s, x: x, bulk: s.info.supports(opGetObjectPropList), seen: map[uint32]bool{}}
	return w.run(ctx)
}

// fatal reports whether an error ends the run: the phone is gone or deaf, or we were told to stop.
func fatal(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, usbhost.ErrUnplugged) || errors.Is(err, usbhost.ErrLocked) || errors.Is(err, errWedged)
}

// listAll lists everything in six transactions.
func (s *session) listAll(ctx context.Context, x *index) error {
	for _, prop := range listed {
		err := s.propsOfAll(ctx, prop, x.set)
		if err == nil && x.over {
			err = errTooMany
		}
		if err != nil {
			return fmt.Errorf("property %#04x of all objects: %w", prop, err)
		}
	}
	if x.doubtful() {
		if err := s.lookAtStorages(ctx, x); err != nil {
			return err
		}
	}
	if len(x.objects) == 0 {
		return s.reallyEmpty(ctx, x)
	}
	if err := s.fillHoles(ctx, x); err != nil {
		return err
	}
	return s.reallyFlat(ctx, x)
}

// propsOfAll streams one property of all objects.
func (s *session) propsOfAll(ctx context.Context, prop uint32, each func(property)) error {
	if !s.sayNone {
		if err := s.props(ctx, handleAll, prop, handleAll, each); !errors.Is(err, InvalidObjectHandle) {
			return err
		}
	}
	err := s.props(ctx, handleNone, prop, handleAll, each) // the specification's way to say it (MTP 1.1, E.2.1)
	s.sayNone = err == nil
	return err
}

// reallyFlat asks a phone that lists nothing in any folder a second way: one that takes the roots for everything would lose us
// all that is below.
func (s *session) reallyFlat(ctx context.Context, x *index) error {
	for i := range x.objects {
		if o := &x.objects[i]; !o.dead && !x.isRoot(o) {
			return nil
		}
	}
	const enough = 32 // folders; a new phone has about ten, all empty
	asked := 0
	for i := range x.objects {
		o := &x.objects[i]
		if o.dead || !o.isFolder() || asked == enough {
			continue
		}
		asked++
		in, err := s.handles(ctx, o.storage, o.handle)
		if err != nil && fatal(ctx, err) {
			return err
		}
		if len(in) > 0 {
			return fmt.Errorf("listing at once: %w: nothing lies in any folder, yet folder %#x holds %d objects", errMalformed, o.handle, len(in))
		}
	}
	return nil
}

// reallyEmpty asks a phone that lists nothing a second way: "nothing" removes everything from the snapshot.
func (s *session) reallyEmpty(ctx context.Context, x *index) error {
	for _, storage := range x.storages {
		roots, err := s.handles(ctx, storage.id, handleAll)
		if err != nil {
			return fmt.Errorf("objects in storage %#x: %w", storage.id, err)
		}
		if len(roots) > 0 {
			return fmt.Errorf("listing at once: %w: it is empty, yet storage %#x holds %d objects", errMalformed, storage.id, len(roots))
		}
	}
	return nil
}

// fillHoles asks for objects that some of the lists left out, or that lie on a storage that is gone, and for folders that others
// say they lie in.
func (s *session) fillHoles(ctx context.Context, x *index) error {
	asked := 0
	tells := slices.ContainsFunc(x.objects, func(o object) bool { return x.storage(o.storage) != nil })
	ask := func(handle uint32) error {
		if asked++; asked > maxHoles {
			return fmt.Errorf("listing at once: %w: more than %d objects with holes", errMalformed, maxHoles)
		}
		err := s.describe(ctx, x, handle)
		if errors.Is(err, InvalidObjectHandle) {
			x.object(handle).dead = true
			return nil
		}
		return err
	}
	for i := 0; i < len(x.objects); i++ {
		o := x.objects[i]
		if hole := !o.complete() || tells && x.storage(o.storage) == nil; hole && !o.dead {
			if err := ask(o.handle); err != nil {
				return err
			}
			o = x.objects[i]
		}
		if _, known := x.at[o.parent]; !known && !o.dead && !x.isRoot(&o) {
			if err := ask(o.parent); err != nil { // it is looked at in its turn
				return err
			}
		}
	}
	return nil
}

// describe enters all that ObjectInfo tells of one object.
func (s *session) describe(ctx context.Context, x *index, handle uint32) error {
	info, err := s.objectInfo(ctx, handle)
	if err != nil {
		return err
	}
	o := x.setInfo(handle, info)
	o.has |= hasSize // or nobody can tell: it is read to its end then
	if info.size != sizeUnknown || o.isFolder() || !s.tellsSizes() {
		return nil
	}
	size, err := s.size64(ctx, handle)
	if fatal(ctx, err) {
		return err
	}
	if err == nil {
		o.size = size
	}
	return nil
}

// reason says in plain words why the phone did not do what it was asked.
func reason(err error) string {
	var code Code
	switch {
	case errors.Is(err, usbhost.ErrChanged):
		return usbhost.ErrChanged.Error()
	case errors.Is(err, usbhost.ErrStalled):
		return "the phone failed to read it"
	case errors.Is(err, errTimeout):
		return "the phone did not answer in time"
	case errors.As(err, &code):
		return "the phone said: " + code.Error()
	case errors.Is(err, errMalformed), errors.Is(err, errProtocol):
		return "the phone's answer makes no sense: " + err.Error()
	}
	return err.Error()
}
