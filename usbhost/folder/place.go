package folder

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"phonebackupbox/usbhost"
)

// fatTime is the coarsest time that a file system keeps: FAT counts two seconds (Microsoft FAT specification, "Date and
// Time Formats"). Times nearer than that may be the same one.
const fatTime = 2 * time.Second

// isThere reports whether the folder has the file already: same size and time, or, where the file system is too coarse or
// the time unknown, the same bytes.
func (r *restore) isThere(ctx context.Context, root *os.Root, name, elem string, want fs.FileInfo) (bool, error) {
	have, err := root.Lstat(elem)
	if err != nil || !have.Mode().IsRegular() || have.Size() != want.Size() {
		return false, nil
	}
	if have.ModTime().Equal(want.ModTime()) {
		return true, nil
	}
	if apart := have.ModTime().Sub(want.ModTime()).Abs(); apart >= fatTime && !want.ModTime().IsZero() {
		return false, nil
	}
	ours, err := r.from.Open(name)
	if err != nil {
		return false, nil // the attempt to write it will say why
	}
	defer ours.Close()
	theirs, err := root.OpenFile(elem, openFlags, 0)
	if err != nil {
		return false, nil
	}
	defer theirs.Close()
	return equal(ctx, ours, theirs)
}

// equal compares two readers. A reader that fails is not equal; only ctx's error is returned.
func equal(ctx context.Context, a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if n != m || string(bufA[:n]) != string(bufB[:m]) || (errA == nil) != (errB == nil) {
			return false, nil
		}
		if errA != nil {
			ends := func(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
			return ends(errA) && ends(errB), nil
		}
	}
}

// settle gives a checked file its name, or another where that is taken: a restore never overwrites. Its error ends the run.
func (r *restore) settle(root *os.Root, s *sentFile) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range 1000 {
		elem := beside(s.want, n)
		have, err := root.Lstat(elem)
		if err == nil && n > 0 && have.Mode().IsRegular() && have.Size() == s.size && have.ModTime().Equal(s.mtime) {
			s.item.Kept() // an earlier restore put it there; discard removes the temporary file
			return nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = root.Rename(s.temp, elem)
		}
		if err != nil {
			if gone := r.phone.alive(); gone != nil {
				return gone
			}
			s.item.Failed(reason(err), false)
			return nil
		}
		s.temp = ""
		s.item.Stored()
		if n > 0 {
			r.tally.Remark(join(s.dir, s.want), fmt.Sprintf("another file of this name is there; ours is beside it as %q", elem), false)
		}
		return nil
	}
	s.item.Failed("too many other files of this name are there", false)
	return nil
}

// beside is the nth name to try for a file: its own, then "name (from backup).ext", "name (from backup 2).ext", ...
func beside(name string, n int) string {
	ext := path.Ext(name)
	if ext == name { // a hidden file, not an extension
		ext = ""
	}
	base := strings.TrimSuffix(name, ext)
	switch n {
	case 0:
		return name
	case 1:
		return base + " (from backup)" + ext
	}
	return fmt.Sprintf("%s (from backup %d)%s", base, n, ext)
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
