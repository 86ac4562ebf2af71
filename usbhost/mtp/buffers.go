package mtp

import (
	"context"
	"fmt"
	"io"

	"phonebackupbox/usbhost"
)

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
