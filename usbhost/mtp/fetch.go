package mtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"phonebackupbox/usbhost"
)

// Files are read through a pool of buffers: while some are being stored, the phone fills others. The 7 MiB are most of what a
// phone may cost.
const (
	bufSize   = 1 << 20 // bytes; a multiple of every packet size
	poolSize  = 7       // buffers
	maxWindow = poolSize
)

// A file of up to atOnce bytes is one transaction, for which all buffers are there before it begins; one more buffer may still
// be with whoever stores the file before. One of more than careful bytes takes so long to read that it may well change
// meanwhile, so the phone is asked afterwards; and if the cable comes out in its midst, it is gone on with where it was.
const (
	atOnce  = 6*bufSize - windowGap
	careful = 3*bufSize - windowGap
)

// windowGap makes a window's container end in a short packet that is no multiple of 512 bytes: some Samsungs hang when the
// last packet of a partial read is a full one. With its header, a window then also fits its buffers exactly.
const windowGap = 256

// fastWindow and slowWindow decide how windows grow and shrink: long ones waste less time between transactions, short ones
// less work when the cable comes out.
const (
	firstWindow = 3 // buffers
	fastWindow  = 250 * time.Millisecond
	slowWindow  = 2 * time.Second
)

// A job is one file to be read.
type job struct {
	file  *object
	path  string
	stale bool // the tree holds an older version
	item  *usbhost.Item
	from  int64 // bytes that the tree has already
	ask   bool  // whether it is still what was listed, before the tree gets the last of it

	segments chan segment // capacity poolSize+1: to send never blocks
	given    atomic.Bool  // up: nobody wants the rest
}

// A segment is a part of a file, or the error that ended it.
type segment struct {
	buf  []byte // goes back to the pool
	data []byte // aliases buf
	err  error
}

// A fetcher reads files one after the other, ahead of those who store them. It is the only one who talks to the phone.
type fetcher struct {
	s      *session
	local  *time.Location
	pool   chan []byte
	window int           // buffers
	most   int64         // bytes that a file can have
	back   time.Duration // what the times of listed files were put back by

	failures, timeouts int // of files in a row
}

func newFetcher(s *session, local *time.Location) *fetcher {
	f := &fetcher{s: s, local: local, pool: make(chan []byte, poolSize), window: firstWindow, most: 1 << 60}
	for range poolSize {
		f.pool <- make([]byte, bufSize)
	}
	return f
}

func newJob(file *object, path string, stale bool, item *usbhost.Item) *job {
	return &job{file: file, path: path, stale: stale, item: item, segments: make(chan segment, poolSize+1)}
}

// fetch reads one file to its end. An error of the file goes to the job's reader; one that ends the run is returned too.
func (f *fetcher) fetch(ctx context.Context, j *job) error {
	w := writer{f: f, j: j, total: j.from}
	err := f.read(ctx, &w)
	if err == nil && w.total != j.file.size && j.file.size >= 0 {
		err = fmt.Errorf("%w: the phone gave %d of %d bytes: %w", usbhost.ErrChanged, w.total, j.file.size, io.ErrUnexpectedEOF)
	}
	if err == nil && (j.file.size > atOnce || j.from > 0 || j.ask) { // for the others see lookAgain
		err = f.unchanged(ctx, j.file)
	}
	err = f.judge(ctx, err)
	w.end(err)
	if err != nil && fatal(ctx, err) {
		return err
	}
	return nil
}

// maxTimeouts is how many files in a row may time out before the phone counts as wedged, and maxFailures how many may fail
// before it is asked whether it still shows any storage.
const (
	maxTimeouts = 4
	maxFailures = 8
)

// judge looks at how files fail in a row: a phone that was locked or no longer answers must not fail them all one by one.
func (f *fetcher) judge(ctx context.Context, err error) error {
	if err == nil {
		f.timeouts, f.failures = 0, 0
		return nil
	}
	if fatal(ctx, err) {
		return err
	}
	f.failures++
	if errors.Is(err, errTimeout) {
		f.timeouts++
	}
	if f.timeouts >= maxTimeouts {
		return fmt.Errorf("mtp: %w: %w", errWedged, err)
	}
	if f.failures%maxFailures == 0 {
		if all, asked := f.s.storages(ctx); asked == nil && len(all) == 0 {
			return fmt.Errorf("mtp: %w: %w", usbhost.ErrLocked, err)
		}
	}
	return err
}

// read chooses how a file is read: small ones at once, large ones by windows, or at once where the phone knows no windows.
func (f *fetcher) read(ctx context.Context, w *writer) error {
	size := w.j.file.size
	switch {
	case size == 0:
		return nil
	case f.partly(size) && (size > atOnce || w.j.from > 0):
		return f.windows(ctx, w)
	}
	return f.whole(ctx, w)
}

// partly reports whether parts of a file of this size can be read.
func (f *fetcher) partly(size int64) bool {
	return f.s.info.supports(opGetPartialObject64) || f.s.info.supports(opGetPartialObject) && size >= 0 && size < sizeUnknown
}

// partial is the request for n bytes of a file.
func (s *session) partial(handle uint32, off, n int64) request {
	if s.info.supports(opGetPartialObject64) {
		return request{op: opGetPartialObject64, params: []uint32{handle, uint32(off), uint32(off >> 32), uint32(n)}}
	}
	return request{op: opGetPartialObject, params: []uint32{handle, uint32(off), uint32(n)}}
}

// whole reads a file by GetObject.
func (f *fetcher) whole(ctx context.Context, w *writer) error {
	size := w.j.file.size
	if err := w.reserve(ctx, min(size, atOnce)); err != nil {
		return err
	}
	most := size
	if size < 0 {
		most = f.most
	}
	_, err := f.s.do(ctx, request{
		op: opGetObject, params: []uint32{w.j.file.handle},
		read: func(ctx context.Context, x *exchange) error {
			if size >= 0 {
				x.expect(size)
			}
			return w.take(ctx, x, most)
		},
	})
	return err
}

// windows reads a file piece by piece.
func (f *fetcher) windows(ctx context.Context, w *writer) error {
	for off, size := w.j.from, w.j.file.size; off < size; {
		if w.j.given.Load() {
			return nil
		}
		if err := w.gather(ctx, f.window); err != nil {
			return err
		}
		n := nextWindow(size-off, len(w.spare))
		r := f.s.partial(w.j.file.handle, off, n)
		r.read = func(ctx context.Context, x *exchange) error {
			x.expect(n)
			return w.take(ctx, x, n)
		}
		before, began := w.total, time.Now()
		_, err := f.s.do(ctx, r)
		if err != nil {
			return fmt.Errorf("at byte %d: %w", off, err)
		}
		if got := w.total - before; got != n {
			return fmt.Errorf("%w: at byte %d the phone gave %d of %d: %w", usbhost.ErrChanged, off, got, n, io.ErrUnexpectedEOF)
		}
		off += n
		switch took := time.Since(began); {
		case took < fastWindow:
			f.window = min(f.window+1, maxWindow)
		case took > slowWindow:
			f.window = max(f.window-1, 1)
		}
	}
	return nil
}

// nextWindow is how many bytes to ask for if so many buffers are there: never so that the last packet is a full one.
func nextWindow(left int64, buffers int) int64 {
	n := min(left, int64(buffers)*bufSize-windowGap)
	if n > windowGap && (n%512 == 0 || (n+headerSize)%512 == 0) {
		n -= windowGap
	}
	return n
}

// unchanged asks whether a large file is still what was listed.
func (f *fetcher) unchanged(ctx context.Context, file *object) error {
	info, err := f.s.objectInfo(ctx, file.handle)
	if errors.Is(err, InvalidObjectHandle) {
		return fmt.Errorf("%w: it was deleted", usbhost.ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("ask again after reading: %w", err)
	}
	size := int64(info.size)
	if info.size == sizeUnknown {
		if !f.s.tellsSizes() {
			size = file.size // nobody to ask
		} else if size, err = f.s.size64(ctx, file.handle); err != nil {
			return fmt.Errorf("ask again after reading: %w", err)
		}
	}
	if size != file.size || file.mtime != unknownTime && nanos(parseTime(info.modified, f.local)) != file.mtime+int64(f.back) {
		return usbhost.ErrChanged
	}
	return nil
}

// readAll reads a whole file from the phone into w, hashing or storing one window while the phone sends the next.
func (f *fetcher) readAll(ctx context.Context, handle uint32, size int64, w io.Writer) error {
	o := &object{handle: handle, size: size, mtime: unknownTime}
	j := newJob(o, "", false, usbhost.NewTally(nil).Start("", size)) // it is counted elsewhere
	done := make(chan error, 1)
	go func() {
		back := &reader{f: f, j: j}
		_, err := io.Copy(w, back)
		if err == nil {
			err = back.fault()
		}
		back.close()
		done <- err
	}()
	err := f.fetch(ctx, j)
	return errors.Join(<-done, err)
}
