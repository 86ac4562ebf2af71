package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"runtime"
	"sort"
	"sync"
)

// A file is an open regular file. It is read chunk by chunk; while somebody reads on, the next chunks are fetched and
// decrypted beside. Read and Seek are for one goroutine at a time, ReadAt for any number.
type file struct {
	info
	path   string
	ctx    context.Context
	cancel context.CancelFunc
	src    *source
	ends   []int64 // where each chunk ends in the file; nil for a file of one chunk or none
	off    int64   // of Read

	work sync.WaitGroup // fetches beside

	mu     sync.Mutex
	next   int      // the chunk that would be read next if somebody reads on
	chunks []*chunk // in memory, the one used last at the end
	closed bool
}

// A chunk is part of a file in memory, or on its way.
type chunk struct {
	i    int
	buf  []byte        // the memory of p, to be used again
	p    []byte        // final once done is closed, as is err
	err  error         //
	done chan struct{} // closed when p and err are set
	refs int           // readers that copy from it now
	gone bool          // no longer in chunks: the last reader frees buf
}

// ahead is how many chunks are fetched beside the one being read; so many and two more are in memory.
func ahead() int { return min(runtime.GOMAXPROCS(0), 4) }

// newFile opens a node. Its size is that of its chunks, or it is damaged.
func newFile(ctx context.Context, src *source, n node, path string) (*file, error) {
	if !n.mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("neither a file nor a directory: %w", errors.ErrUnsupported)}
	}
	f := &file{info: info{n}, path: path, src: src}
	var size int64
	if len(n.content) > 1 {
		f.ends = make([]int64, len(n.content))
	}
	for i, id := range n.content {
		m, ok := src.v.index.size(dataBlob, id)
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("vault: %w", src.v.unnamed(dataBlob, id))}
		}
		if size += m; f.ends != nil {
			f.ends[i] = size
		}
	}
	if size != n.size {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("vault: %w: its chunks have %d bytes, not %d", ErrDamaged, size, n.size)}
	}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f, nil
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close ends the fetches beside.
func (f *file) Close() error {
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.mu.Unlock()
	if closed {
		return &fs.PathError{Op: "close", Path: f.path, Err: fs.ErrClosed}
	}
	f.cancel()
	f.work.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.chunks) > 0 {
		f.evict(f.chunks[0])
	}
	return nil
}

// span is where chunk i begins and ends in the file.
func (f *file) span(i int) (start, end int64) {
	if f.ends == nil {
		return 0, f.n.size
	}
	if i > 0 {
		start = f.ends[i-1]
	}
	return start, f.ends[i]
}

// chunkAt is the chunk that holds the byte at off, which is within the file.
func (f *file) chunkAt(off int64) int {
	if f.ends == nil {
		return 0
	}
	return sort.Search(len(f.ends), func(i int) bool { return f.ends[i] > off })
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: fs.ErrInvalid}
	}
	for n < len(p) {
		if off >= f.n.size {
			return n, io.EOF
		}
		i := f.chunkAt(off)
		c, err := f.chunk(i)
		if err != nil {
			return n, &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
		start, _ := f.span(i)
		m := copy(p[n:], c.p[off-start:])
		f.release(c)
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

func (f *file) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.ReadAt(p, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (f *file) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += f.off
	case io.SeekEnd:
		off += f.n.size
	}
	if off < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, &fs.PathError{Op: "seek", Path: f.path, Err: fs.ErrInvalid}
	}
	f.off = off
	return off, nil
}

// WriteTo writes the rest of the file to w, whole chunks at once; io.Copy uses it.
func (f *file) WriteTo(w io.Writer) (n int64, err error) {
	for f.off < f.n.size {
		i := f.chunkAt(f.off)
		c, err := f.chunk(i)
		if err != nil {
			return n, &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
		start, _ := f.span(i)
		m, err := w.Write(c.p[f.off-start:])
		f.release(c)
		n, f.off = n+int64(m), f.off+int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// chunk returns a chunk in memory. The caller releases it.
func (f *file) chunk(i int) (*chunk, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, fs.ErrClosed
	}
	c, mine := f.take(i)
	c.refs++
	if i == f.next && i > 0 || i == 0 && len(f.n.content) > 1 {
		for j := i + 1; j <= i+ahead() && j < len(f.n.content); j++ {
			if c, mine := f.take(j); mine {
				f.work.Go(func() { f.fetch(c) })
			}
		}
	}
	f.next = i + 1
	f.mu.Unlock()
	if mine {
		f.fetch(c)
	}
	<-c.done
	if c.err != nil {
		f.release(c)
		f.drop(c)
		return nil, c.err
	}
	return c, nil
}

// take finds a chunk in memory or makes one, which the caller fetches. f.mu is held.
func (f *file) take(i int) (c *chunk, mine bool) {
	for j, c := range f.chunks {
		if c.i == i {
			f.chunks = append(append(f.chunks[:j], f.chunks[j+1:]...), c)
			return c, false
		}
	}
	if len(f.chunks) >= ahead()+2 {
		f.evict(f.chunks[0])
	}
	c = &chunk{i: i, done: make(chan struct{})}
	f.chunks = append(f.chunks, c)
	return c, true
}

// evict forgets a chunk. f.mu is held.
func (f *file) evict(c *chunk) {
	for j := range f.chunks {
		if f.chunks[j] == c {
			f.chunks = append(f.chunks[:j], f.chunks[j+1:]...)
			break
		}
	}
	c.gone = true
	f.reuse(c)
}

// reuse gives back the memory of a chunk that nobody needs any more. f.mu is held.
func (f *file) reuse(c *chunk) {
	select {
	case <-c.done:
	default:
		return // still being fetched; its memory goes to the collector
	}
	if c.gone && c.refs == 0 && c.err == nil {
		f.src.bufs.put(c.buf)
		c.buf = nil
	}
}

// release says that the caller has copied what it wanted.
func (f *file) release(c *chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.refs--
	f.reuse(c)
}

// drop forgets a chunk that could not be read, so that the next reader tries again.
func (f *file) drop(c *chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !c.gone {
		f.evict(c)
	}
}

// fetch reads a chunk's blob.
func (f *file) fetch(c *chunk) {
	start, end := f.span(c.i)
	n := end - start
	if n < math.MaxInt32-overhead {
		c.buf = f.src.bufs.get(int(n) + overhead)
	}
	c.p, c.err = f.src.read(f.ctx, dataBlob, f.n.content[c.i], c.buf[:0])
	if c.err == nil && int64(len(c.p)) != n {
		c.err = fmt.Errorf("vault: data blob %s: %w: %d bytes, not %d", f.n.content[c.i], ErrDamaged, len(c.p), n)
	}
	close(c.done)
}
