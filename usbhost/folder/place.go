package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
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
