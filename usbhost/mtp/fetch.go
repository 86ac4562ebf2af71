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

// A writer packs what the phone sends into buffers of the pool and hands them to the job's reader. It holds the last one
// back until end: a reader that has all bytes believes that they are good.
type writer struct {
	f     *fetcher
	j     *job
	spare [][]byte // taken from the pool, not used yet
	buf   []byte   // being filled
	fill  segment  // its data so far
	used  int      // bytes of buf
	total int64    // bytes of the file
}

// reserve takes buffers for n bytes from the pool, so that the phone never waits for them in the midst of a transaction.
func (w *writer) reserve(ctx context.Context, n int64) error {
	need := int((n + headerSize + bufSize - 1) / bufSize)
	for len(w.spare) < max(need, 1) {
		b, err := w.f.buffer(ctx)
		if err != nil {
			return err
		}
		w.spare = append(w.spare, b)
	}
	return nil
}

// gather hands over what is filled and takes as many buffers as are free, at most so many and at least one: the phone sends as
// much at a time as there is room for, and waits only where the drives are slower than it.
func (w *writer) gather(ctx context.Context, most int) error {
	w.flush()
	if err := w.reserve(ctx, 0); err != nil {
		return err
	}
	for len(w.spare) < most {
		select {
		case b := <-w.f.pool:
			w.spare = append(w.spare, b)
		default:
			return nil
		}
	}
	return nil
}

func (f *fetcher) buffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-f.pool:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take reads a data phase of at most limit bytes.
func (w *writer) take(ctx context.Context, x *exchange, limit int64) error {
	w.flush()
	for got := int64(0); ; {
		if w.buf == nil || w.used == len(w.buf) {
			w.flush()
			if err := w.reserve(ctx, 0); err != nil {
				return err
			}
			w.buf = w.spare[len(w.spare)-1]
			w.spare = w.spare[:len(w.spare)-1]
		}
		data, err := x.next(ctx, w.buf[w.used:])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		got += int64(len(data))
		if got > limit {
			return fmt.Errorf("%w: it is longer than listed", usbhost.ErrChanged)
		}
		w.total += int64(len(data))
		w.j.item.Moved(len(data))
		w.add(data)
	}
}

// add appends data, which lie in buf behind what is used of it, perhaps with a header in between.
func (w *writer) add(data []byte) {
	packet := w.f.s.link.packet
	switch {
	case len(w.fill.data) == 0:
		w.fill = segment{buf: w.buf, data: data}
	default:
		w.fill.data = append(w.fill.data, data...) // in place: most often it is there already
	}
	end := cap(w.buf) - cap(w.fill.data) + len(w.fill.data) // index in buf behind the data
	w.used = (end + packet - 1) / packet * packet
}

// flush hands the buffer being filled to the reader, all but the last of the file.
func (w *writer) flush() {
	if w.buf == nil {
		return
	}
	if len(w.fill.data) == 0 {
		w.f.pool <- w.buf
	} else {
		w.j.segments <- w.fill
	}
	w.buf, w.fill, w.used = nil, segment{}, 0
}

// end ends the file: with its last bytes, or with an error in their place.
func (w *writer) end(err error) {
	for _, b := range w.spare {
		w.f.pool <- b
	}
	w.spare = nil
	if err != nil {
		w.fill.data = nil
		w.flush()
		w.j.segments <- segment{err: err}
	}
	w.flush()
	close(w.j.segments)
}

// A reader is the job's file as the tree reads it.
type reader struct {
	f   *fetcher
	j   *job
	cur segment
	n   int64 // bytes read
	err error // of the file; io.EOF at its end
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.cur.data) == 0 && r.err == nil {
		r.recycle()
		s, ok := <-r.j.segments
		switch {
		case !ok:
			r.err = io.EOF
		case s.err != nil:
			r.err = s.err
		default:
			r.cur = s
		}
	}
	if len(r.cur.data) == 0 {
		return 0, r.err
	}
	n := copy(p, r.cur.data)
	r.cur.data = r.cur.data[n:]
	r.n += int64(n)
	return n, nil
}

func (r *reader) recycle() {
	if r.cur.buf != nil {
		r.f.pool <- r.cur.buf
		r.cur = segment{}
	}
}

// fault is what went wrong with the file, as far as it was read.
func (r *reader) fault() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// close gives all buffers back, and tells the fetcher that nobody wants the rest.
func (r *reader) close() {
	r.j.given.Store(true)
	r.recycle()
	for s := range r.j.segments {
		if s.buf != nil {
			r.f.pool <- s.buf
		}
	}
}
