package mtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Limits of datasets, in bytes, and of what a phone may hold.
const (
	maxDataset = 64 << 10
	maxHandles = 4 << 20
	maxObjects = 1 << 20 // as many as fit into memory; what is beyond them counts as not listed
)

// getDeviceInfo needs no session (MTP 1.1, D.2.1).
func (s *session) getDeviceInfo(ctx context.Context, first time.Duration) (deviceInfo, error) {
	b, err := s.dataset(ctx, request{op: opGetDeviceInfo, first: first}, maxDataset)
	if err != nil {
		return deviceInfo{}, err
	}
	return parseDeviceInfo(b)
}

// storages describes what the phone keeps files in; none while it is locked.
func (s *session) storages(ctx context.Context) ([]storageInfo, error) {
	b, err := s.dataset(ctx, request{op: opGetStorageIDs}, maxDataset)
	if err != nil {
		return nil, fmt.Errorf("storage ids: %w", err)
	}
	ids, err := parseHandles(b)
	if err != nil {
		return nil, fmt.Errorf("storage ids: %w", err)
	}
	var all []storageInfo
	for _, id := range ids {
		if id&0xFFFF == 0 { // a slot without a card (MTP 1.1, section 5.2.1)
			continue
		}
		if slices.ContainsFunc(all, func(s storageInfo) bool { return s.id == id }) { // told twice: its files are there once
			continue
		}
		b, err := s.dataset(ctx, request{op: opGetStorageInfo, params: []uint32{id}}, maxDataset)
		if err != nil {
			return nil, fmt.Errorf("storage %#x: %w", id, err)
		}
		info, err := parseStorageInfo(b)
		if err != nil {
			return nil, fmt.Errorf("storage %#x: %w", id, err)
		}
		info.id = id
		all = append(all, info)
	}
	return all, nil
}

// handles lists the objects in a folder, or with handleAll those in the storage's root.
func (s *session) handles(ctx context.Context, storage, folder uint32) ([]uint32, error) {
	r := request{op: opGetObjectHandles, params: []uint32{storage, 0, folder}, first: s.t.Listing}
	b, err := s.dataset(ctx, r, maxHandles)
	if err != nil {
		return nil, err
	}
	return parseHandles(b)
}

func (s *session) objectInfo(ctx context.Context, handle uint32) (objectInfo, error) {
	b, err := s.dataset(ctx, request{op: opGetObjectInfo, params: []uint32{handle}}, maxDataset)
	if err != nil {
		return objectInfo{}, err
	}
	return parseObjectInfo(b)
}

// props streams one property of objects: of one (depth 0), of those in a folder (depth 1), or of all (handleAll for both).
func (s *session) props(ctx context.Context, handle, prop, depth uint32, each func(property)) error {
	_, err := s.do(ctx, request{
		op:     opGetObjectPropList,
		params: []uint32{handle, 0, prop, 0, depth},
		first:  s.t.Listing,
		read: func(ctx context.Context, x *exchange) error {
			list, err := newPropList(&dataReader{ctx: ctx, x: x}, maxObjects)
			for err == nil {
				var p property
				if p, err = list.next(); err == nil {
					each(p)
				}
			}
			return err // io.EOF at the end
		},
	})
	return err
}

// tellsSizes reports whether size64 is worth asking.
func (s *session) tellsSizes() bool {
	return s.info.supports(opGetObjectPropList) || s.info.supports(opGetObjectPropValue)
}

// size64 asks for an object's size where ObjectInfo's 32 bits do not tell.
func (s *session) size64(ctx context.Context, handle uint32) (size int64, err error) {
	if !s.info.supports(opGetObjectPropList) {
		b, err := s.dataset(ctx, request{op: opGetObjectPropValue, params: []uint32{handle, propSize}}, maxDataset)
		if err != nil {
			return 0, err
		}
		c := cursor{b: b}
		if n := c.u64(); c.err == nil && n < 1<<62 {
			return int64(n), nil
		}
		return 0, fmt.Errorf("size of object %#x: %w", handle, errMalformed)
	}
	size = -1
	err = s.props(ctx, handle, propSize, 0, func(p property) {
		if p.handle == handle && p.code == propSize && p.num < 1<<62 {
			size = int64(p.num)
		}
	})
	if err == nil && size < 0 {
		err = fmt.Errorf("size of object %#x: %w", handle, errMalformed)
	}
	return size, err
}

// deleteObject removes one object from the phone (MTP 1.1, D.2.11).
func (s *session) deleteObject(ctx context.Context, handle uint32) error {
	_, err := s.do(ctx, request{op: opDeleteObject, params: []uint32{handle, 0}, first: s.t.Stored})
	return err
}

// sendInfo announces an object: folders are made by it, files follow with sendData. It returns the new handle.
func (s *session) sendInfo(ctx context.Context, storage, parent uint32, info []byte) (uint32, error) {
	a, err := s.do(ctx, request{
		op: opSendObjectInfo, params: []uint32{storage, parent}, first: s.t.Stored,
		send: bytes.NewReader(info), size: int64(len(info)),
	})
	return a.params[2], err
}

// sendData sends the announced file.
func (s *session) sendData(ctx context.Context, size int64, r io.Reader) error {
	_, err := s.do(ctx, request{op: opSendObject, first: s.t.Stored, send: r, size: size})
	return err
}

// remove takes back what was sent, even when the run was told to stop.
func (s *session) remove(ctx context.Context, handle uint32) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*s.t.Stored) // time for a reset, too
	defer cancel()
	err := s.deleteObject(ctx, handle)
	if errors.Is(err, errTimeout) { // the second attempt begins with whatever wakes the phone up
		err = s.deleteObject(ctx, handle)
	}
	if errors.Is(err, InvalidObjectHandle) { // Android removes a file whose transfer was cancelled
		return nil
	}
	return err
}
