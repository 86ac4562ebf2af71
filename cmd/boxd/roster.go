//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// roster remembers the enrolled phones in a small file, written anew and renamed at each enrolment.
type roster struct{ path string }

var _ firmware.Roster = roster{}

// maxRoster bounds the file, in bytes: thousands of phones.
const maxRoster = 1 << 20

// Enrolled tells the enrolled phones in order.
func (r roster) Enrolled(context.Context) ([]firmware.Enrolment, error) {
	b, err := readSmall(r.path, maxRoster)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("enrolled phones in %s: %w", r.path, err)
	}
	var list []firmware.Enrolment
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("enrolled phones in %s: %w", r.path, err)
	}
	return list, nil
}

// Enrol remembers one more phone, durably.
func (r roster) Enrol(ctx context.Context, e firmware.Enrolment) error {
	list, err := r.Enrolled(ctx)
	if err != nil {
		return err
	}
	return r.write(append(list, e))
}

// Forget forgets a phone, durably.
func (r roster) Forget(ctx context.Context, id usbhost.ID) error {
	_, _, err := r.forget(ctx, id)
	return err
}

// forget forgets a phone, durably, and reports whether it was there.
func (r roster) forget(ctx context.Context, id usbhost.ID) (e firmware.Enrolment, found bool, err error) {
	list, err := r.Enrolled(ctx)
	at := slices.IndexFunc(list, func(e firmware.Enrolment) bool { return e.ID == id })
	if err != nil || at < 0 {
		return e, false, err
	}
	e = list[at]
	return e, true, r.write(slices.Delete(list, at, at+1))
}

// write puts list in the place of what was remembered.
func (r roster) write(list []firmware.Enrolment) error {
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), ".enrolled-")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(r.path))
}
