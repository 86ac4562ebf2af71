//go:build !rescue

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"phonebackupbox/firmware"
	"phonebackupbox/image/update"
	"phonebackupbox/ui/web"
)

// What takes in updates that do not come on a drive keeps them in the folder of the record. They do not outlive the program: what the
// power cut short, and what was not installed, is to be sent again.
const (
	incoming  = "incoming-" // and the counter
	spareRoom = 64 << 20    // bytes that an update leaves to what the box writes beside it
)

var _ web.Updates = (*updates)(nil)

// arrival is how far an update has come over the network.
type arrival struct {
	version    string // "" until its signature was checked
	done, size int64  // of the root, in bytes
}

// sweep removes what was taken in in a life before.
func (u *updates) sweep() (err error) {
	left, err := os.ReadDir(u.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), incoming) {
			err = errors.Join(err, os.Remove(filepath.Join(u.dir, e.Name())))
		}
	}
	return err
}

// drop removes the file of an update that is not waited for any more, if it is one that was taken in.
func (u *updates) drop(c candidate) error {
	if c.path == "" || filepath.Dir(c.path) != u.dir {
		return nil
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return reason(err)
	}
	return nil
}

// Take takes an update in that comes over the network, and offers it to the box. Nothing is written before its signature was checked,
// and nothing is kept that is not exactly what was signed.
func (u *updates) Take(ctx context.Context, r io.Reader) (version string, err error) {
	h, err := u.take(ctx, r)
	return h.Version, err
}

func (u *updates) take(ctx context.Context, r io.Reader) (h update.Header, err error) {
	if u.noKeys != nil {
		return h, u.noKeys
	}
	if !u.arrive() {
		return h, web.ErrBusy
	}
	defer u.arrived(nil)
	var head bytes.Buffer // a few kilobytes: update.MaxHeader
	if h, err = u.card.Look(io.TeeReader(r, &head), u.keys); err != nil {
		return h, err
	}
	if err := u.wanted(h, int64(head.Len())); err != nil {
		return h, err
	}
	c := candidate{filepath.Join(u.dir, incoming+fmt.Sprint(h.Counter)), h}
	if err := u.keep(ctx, head.Bytes(), r, c); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = web.ErrNoRoom
		}
		return h, err
	}
	if err := u.give(ctx, c); err != nil {
		return h, errors.Join(err, u.drop(c))
	}
	return h, nil
}

// keep writes an update to its file: whole, or not at all.
func (u *updates) keep(ctx context.Context, head []byte, r io.Reader, c candidate) (err error) {
	f, err := os.OpenFile(c.path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return reason(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(head)
	if err == nil {
		err = update.Take(ctx, r, c.Header, io.NewOffsetWriter(f, int64(len(head))), func(done int64) { u.arrived(&arrival{c.Version, done, c.Size}) })
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path)
}

// wanted reports why an update, with a header of so many bytes, is not taken in although it may be installed.
func (u *updates) wanted(h update.Header, head int64) error {
	u.mu.Lock()
	waits := u.offer
	u.mu.Unlock()
	if waits.Counter >= h.Counter {
		return fmt.Errorf("version %s waits to be installed already", waits.Version)
	}
	if err := u.box.State().Allows(firmware.UpdateFound{Version: h.Version}); err != nil {
		return err
	}
	free, err := u.room(u.dir)
	if err != nil {
		return err
	}
	if free < h.Size+head+spareRoom {
		return web.ErrNoRoom
	}
	u.arrived(&arrival{h.Version, 0, h.Size})
	return nil
}

// arrive begins to take one in, unless that is done already.
func (u *updates) arrive() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.arrives != nil {
		return false
	}
	u.arrives = &arrival{}
	return true
}

// arrived notes how far it is; nil: it is over.
func (u *updates) arrived(a *arrival) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.arrives = a
}

// Status is how things stand, as far as it is known without looking at the card.
func (u *updates) Status() web.UpdateStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := web.UpdateStatus{Version: version, Counter: u.card.Built, Slot: string('A' + rune(u.card.Running-update.SlotA)), Trial: u.onTrial, Waiting: u.offer.Version}
	if u.noKeys != nil {
		s.Refuses = u.noKeys.Error()
	}
	if a := u.arrives; a != nil && a.size > 0 {
		s.Arriving = &web.Arriving{Version: a.version, Done: a.done, Size: a.size}
	}
	return s
}
