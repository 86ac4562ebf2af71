package folder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/usbhost"
)

// checkBatch makes everything durable, then reads every file back and gives it its name.
func (r *restore) checkBatch(ctx context.Context) error {
	if err := syncAll(r.phone.root); err != nil {
		return fmt.Errorf("folder: flush %s: %w", r.phone.dir, err)
	}
	// Folder by folder: an os.Root looks up a path element by element.
	slices.SortStableFunc(r.sent, func(a, b sentFile) int { return cmp.Compare(a.at, b.at) })
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight())
	for rest := r.sent; len(rest) > 0 && gctx.Err() == nil; {
		n := 1
		for n < len(rest) && rest[n].at == rest[0].at {
			n++
		}
		r.checkFolder(gctx, g, rest[:n])
		rest = rest[n:]
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.discard()
}

// checkFolder has g check files of one folder.
func (r *restore) checkFolder(ctx context.Context, g *errgroup.Group, files []sentFile) {
	root, err := r.phone.root.OpenRoot(files[0].dir)
	if err != nil {
		g.Go(r.phone.alive)
		for i := range files {
			files[i].item.Failed(reason(err), false)
		}
		return
	}
	use := newShared(root)
	for i := range files {
		use.add()
		g.Go(func() error { return errors.Join(r.check(ctx, root, &files[i]), use.done()) })
	}
	g.Go(use.done)
}

// check reads one file back. Its error ends the run.
func (r *restore) check(ctx context.Context, root *os.Root, s *sentFile) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum, size, err := r.sum(ctx, root, s.temp)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && (sum != s.sum || size != s.size):
		err = errors.New("what was written reads back differently")
	}
	if err != nil {
		s.item.Failed(reason(err), false)
		return nil // discard removes it
	}
	return r.settle(root, s)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// copied writes to a file and keeps the CRC-32C of what it wrote. The snapshot's own reader vouches for the content with
// cryptographic hashes; this sum only has to find what a kernel, a cable or a card mangled on the way, and CPUs compute it
// faster than memory copies.
type copied struct {
	ctx  context.Context // of one copy
	dst  io.Writer
	item *usbhost.Item // may be nil
	n    int64
	sum  uint32
}

func (c *copied) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, bufSize) {
		if err := c.ctx.Err(); err != nil {
			return n, err
		}
		c.sum = crc32.Update(c.sum, castagnoli, part)
		m, err := c.dst.Write(part)
		n, c.n = n+m, c.n+int64(m)
		if c.item != nil {
			c.item.Moved(m)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// copy copies src to dst and returns the bytes and the CRC-32C of what it copied. A snapshot's file that writes itself does,
// chunk by chunk.
func (r *restore) copy(ctx context.Context, dst io.Writer, src io.Reader, item *usbhost.Item) (n int64, sum uint32, err error) {
	c := &copied{ctx: ctx, dst: dst, item: item}
	buf := r.bufs.Get().(*[bufSize]byte)
	defer r.bufs.Put(buf)
	_, err = io.CopyBuffer(c, src, buf[:])
	return c.n, c.sum, err
}

// sum reads a file of the folder back.
func (r *restore) sum(ctx context.Context, root *os.Root, name string) (sum uint32, size int64, err error) {
	f, err := root.OpenFile(name, openFlags, 0)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	size, sum, err = r.copy(ctx, io.Discard, struct{ io.Reader }{f}, nil) // not by (*os.File).WriteTo: its buffer is small
	return sum, size, err
}
