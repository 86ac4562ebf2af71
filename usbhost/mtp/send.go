package mtp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"time"

	"phonebackupbox/usbhost"
)

// file sends one file unless it is there, and checks it. Its error ends the run.
func (r *restore) file(ctx context.Context, l *place, path string, f fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	item := r.tally.Start(path, f.Size())
	elem, there, err := r.name(ctx, l, path, f)
	switch {
	case err != nil && fatal(ctx, err):
		return err
	case err != nil:
		item.Failed(reason(err), false)
		return nil
	case there:
		item.Kept()
		return nil
	}
	handle, err := r.send(ctx, l, path, elem, f, item)
	if err == nil {
		item.Stored()
		l.here[elem] = &child{handle: handle, size: f.Size(), mtime: f.ModTime()}
		l.ours[strings.ToLower(elem)] = true
		r.sent = append(r.sent, sentObject{path, l.path + "/" + elem, f.ModTime()})
		if elem != f.Name() {
			r.tally.Remark(path, fmt.Sprintf("another file of this name is there; ours is beside it as %q", elem), false)
		}
		return nil
	}
	if fatal(ctx, err) {
		return err
	}
	if errors.Is(err, StoreFull) {
		return fmt.Errorf("%q of %d bytes: %w: %w", path, f.Size(), usbhost.ErrNoSpace, err)
	}
	item.Failed(reason(err), false)
	return nil
}

// name is what a file will be called on the phone: its own name, or another where that is taken, since a restore never
// overwrites. there tells that the phone has the file already.
func (r *restore) name(ctx context.Context, l *place, path string, f fs.FileInfo) (elem string, there bool, err error) {
	for n := 0; ; n++ {
		elem = f.Name()
		switch n {
		case 0:
		case 1:
			elem = numbered(elem, "(from backup)")
		default:
			elem = numbered(elem, fmt.Sprintf("(from backup %d)", n))
		}
		if c := l.here[elem]; c != nil {
			if same, err := r.same(ctx, c, path, f); same || err != nil {
				return elem, same, err
			}
			continue
		}
		// "a.jpg" beside "A.jpg" would replace it where the phone's file system takes them for one name.
		lower := strings.ToLower(elem)
		if _, taken := l.folded[lower]; (taken || l.ours[lower]) && !r.caseSensitive(ctx, l.storage) {
			continue
		}
		return elem, false, nil
	}
}

// same reports whether what the phone holds is the file: by size and time; by content where the time is unknown or looks
// like that of another zone, since a phone does not tell in which it lives.
func (r *restore) same(ctx context.Context, c *child, path string, f fs.FileInfo) (bool, error) {
	if c.folder != nil || c.size != f.Size() {
		return false, nil
	}
	switch {
	case sameTime(c.mtime, f.ModTime()):
		return true, nil
	case !f.ModTime().IsZero() && !sameInAnotherZone(c.mtime, f.ModTime()):
		return false, nil
	}
	src, err := r.from.Open(path)
	if err != nil {
		return false, fmt.Errorf("read the snapshot: %w", err)
	}
	defer src.Close()
	want := sha256.New()
	if _, err := io.Copy(want, src); err != nil {
		return false, fmt.Errorf("read the snapshot: %w", err)
	}
	err = r.check(ctx, c.handle, c.size, want)
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

// errDiffers: the phone holds other bytes than were sent to it.
var errDiffers = errors.New("what was sent reads back differently")

// send sends a file, reads it back and compares. The object is removed again if anything went wrong.
func (r *restore) send(ctx context.Context, l *place, path, elem string, f fs.FileInfo, item *usbhost.Item) (uint32, error) {
	info, ok := appendObjectInfo(nil, formatUndefined, f.Size(), unescape(elem), f.ModTime())
	if !ok {
		return 0, errName
	}
	src, err := r.from.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read the snapshot: %w", err)
	}
	defer src.Close()
	handle, err := r.p.s.sendInfo(ctx, l.storage, l.handle, info)
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	err = r.sendData(ctx, f.Size(), &hashing{src, sum, item})
	if err == nil {
		err = r.check(ctx, handle, f.Size(), sum)
	}
	if err == nil || errors.Is(err, usbhost.ErrUnplugged) {
		return handle, err
	}
	if gone := r.p.s.remove(ctx, handle); gone != nil {
		r.tally.Remark(path, "half of it may be left on the phone: "+reason(gone), false)
	}
	return 0, err
}

// sendData sends size bytes. While the phone takes one buffer, the snapshot fills the next.
func (r *restore) sendData(ctx context.Context, size int64, src io.Reader) error {
	ahead := readAhead(r.fetch.pool, src, size)
	defer ahead.close()
	return r.p.s.sendData(ctx, size, ahead)
}

// check reads a file back from the phone.
func (r *restore) check(ctx context.Context, handle uint32, size int64, want hash.Hash) error {
	got := sha256.New()
	if err := r.readBack(ctx, handle, size, got); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return errDiffers
	}
	return nil
}

// readBack reads a whole file from the phone into w, hashing one window while the phone sends the next.
func (r *restore) readBack(ctx context.Context, handle uint32, size int64, w io.Writer) error {
	return r.fetch.readAll(ctx, handle, size, w)
}

// caseSensitive finds out, once a storage and only when it matters, whether names that differ only in case are two names: it
// sends two small files and looks whether the first one is still itself. A phone that will not tell counts as taking them
// for one.
func (r *restore) caseSensitive(ctx context.Context, storage uint32) bool {
	known, ok := r.sensitive[storage]
	if !ok {
		known = r.probeCase(ctx, storage)
		r.sensitive[storage] = known
	}
	return known
}

func (r *restore) probeCase(ctx context.Context, storage uint32) bool {
	var handles []uint32
	defer func() {
		for _, h := range handles {
			if err := r.p.s.remove(ctx, h); err != nil {
				r.tally.Remark("phonebackupbox-probe.tmp", "a small file was left in the phone's storage: "+reason(err), false)
			}
		}
	}()
	contents := []string{"a", "bb"}
	for i, name := range []string{"phonebackupbox-probe.tmp", "PHONEBACKUPBOX-PROBE.TMP"} {
		info, _ := appendObjectInfo(nil, formatUndefined, int64(len(contents[i])), name, time.Time{})
		h, err := r.p.s.sendInfo(ctx, storage, handleAll, info)
		if err != nil {
			return false
		}
		handles = append(handles, h)
		if err := r.p.s.sendData(ctx, int64(len(contents[i])), strings.NewReader(contents[i])); err != nil {
			return false
		}
	}
	var first bytes.Buffer
	err := r.readBack(ctx, handles[0], int64(len(contents[0])), &first)
	return err == nil && first.String() == contents[0]
}

// hashing sums up and counts what is sent.
type hashing struct {
	r    io.Reader
	sum  hash.Hash
	item *usbhost.Item
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.item.Moved(n)
	return n, err
}

// ahead reads a source in its own goroutine, through the buffers of a pool.
type ahead struct {
	pool     chan []byte
	segments chan segment
	stop     chan struct{}
	done     chan struct{}
	cur      segment
}

// readAhead begins to read size bytes of src. close must be called.
func readAhead(pool chan []byte, src io.Reader, size int64) *ahead {
	a := &ahead{pool: pool, segments: make(chan segment, poolSize), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer close(a.segments)
		for left := size; left > 0; {
			var buf []byte
			select {
			case buf = <-pool:
			case <-a.stop:
				return
			}
			n, err := io.ReadFull(src, buf[:min(left, int64(len(buf)))])
			left -= int64(n)
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			a.segments <- segment{buf: buf, data: buf[:n], err: err}
			if err != nil {
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.cur.data) == 0 {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		a.recycle()
		s, ok := <-a.segments
		if !ok {
			return 0, io.EOF
		}
		a.cur = s
	}
	n := copy(p, a.cur.data)
	a.cur.data = a.cur.data[n:]
	return n, nil
}

func (a *ahead) recycle() {
	if a.cur.buf != nil {
		a.pool <- a.cur.buf
		a.cur = segment{}
	}
}

// close waits for the goroutine and gives all buffers back.
func (a *ahead) close() {
	close(a.stop)
	a.recycle()
	for s := range a.segments {
		a.pool <- s.buf
	}
	<-a.done
}
