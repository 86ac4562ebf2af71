package card

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// BootFile is a file on the boot partition, which is mounted only while something is read or written: whoever pulls the plug at
// any other moment does not leave it half-written. It is an update.Medium.
type BootFile struct {
	Card Card
	Name string
	Dir  string // an empty folder to mount it on, made if absent
}

// ReadAt implements io.ReaderAt.
func (b BootFile) ReadAt(p []byte, at int64) (n int, err error) {
	err = b.Card.Boot(b.Dir, false, func(dir string) error {
		f, err := os.Open(filepath.Join(dir, b.Name))
		if err != nil {
			return err
		}
		n, err = f.ReadAt(p, at)
		if cerr := f.Close(); cerr != nil {
			return cerr
		}
		return err
	})
	return n, err
}

// WriteAt implements io.WriterAt. What it wrote is durable when it returns.
func (b BootFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = b.Card.Boot(b.Dir, true, func(dir string) error {
		f, err := os.OpenFile(filepath.Join(dir, b.Name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		n, err = f.WriteAt(p, at)
		return errors.Join(err, f.Sync(), f.Close())
	})
	return n, err
}

// Sync implements update.Medium: nothing is left to be written, and the partition, which is not mounted any more, has no cache.
func (b BootFile) Sync() error { return nil }

// bootInUse is held while the boot partition is mounted: whoever is done unmounts it, under whoever is not.
var bootInUse sync.Mutex

// Boot runs f with the folder of the boot partition. If it is mounted already, as part of something else, it is used there.
// One at a time uses it: f must not call Boot.
func (c Card) Boot(dir string, write bool, f func(dir string) error) (err error) {
	bootInUse.Lock()
	defer bootInUse.Unlock()
	device := c.Part(Boot)
	mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Source != device || i.Root != "/", false })
	if err != nil {
		return fmt.Errorf("card: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME)
	const options = "utf8=1,fmask=0177,dmask=0077"
	if len(mounts) > 0 {
		at := mounts[0].Mountpoint
		if !write {
			return f(at)
		}
		if err := unix.Mount("", at, "", unix.MS_REMOUNT|flags, options); err != nil {
			return fmt.Errorf("card: %s: %w", at, err)
		}
		err := f(at)
		// Where somebody else writes just now, it stays writable until that one is done.
		_ = unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, options)
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("card: %w", err)
	}
	if !write {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(device, dir, "vfat", flags, options); err != nil {
		return fmt.Errorf("card: mount %s: %w", device, err)
	}
	defer func() {
		switch uerr := unix.Unmount(dir, 0); {
		case errors.Is(uerr, unix.EBUSY): // somebody else found it mounted and uses it: it stays, for reading
			_ = unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, options)
		case uerr != nil:
			err = errors.Join(err, uerr) // only then: whoever reads looks for io.EOF itself, which Join would wrap
		}
	}()
	return f(dir)
}

// Slot is a root partition that is not in use, opened for writing. It is an update.Medium.
type Slot struct {
	f *os.File
	// Size is its size, in bytes.
	Size int64
}

// OpenOther opens the root partition that the running system does not come from.
func (c Card) OpenOther() (*Slot, error) {
	f, err := os.OpenFile(c.Part(c.OtherRoot()), os.O_RDWR|unix.O_EXCL, 0) // O_EXCL: refused where it is mounted (open(2))
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	size, err := c.number("class", "block", c.name(c.OtherRoot()), "size")
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Slot{f, size}, nil
}

// ReadAt implements io.ReaderAt.
func (s *Slot) ReadAt(p []byte, at int64) (int, error) { return s.f.ReadAt(p, at) }

// WriteAt implements io.WriterAt.
func (s *Slot) WriteAt(p []byte, at int64) (int, error) { return s.f.WriteAt(p, at) }

// blkFlushBuf is BLKFLSBUF, Linux, include/uapi/linux/fs.h: what was written goes to the disk, and the cache is emptied.
const blkFlushBuf = 0x1261

// Sync implements update.Medium.
func (s *Slot) Sync() error {
	if err := s.f.Sync(); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(s.f.Fd()), blkFlushBuf, 0); err != nil {
		return fmt.Errorf("card: flush %s: %w", s.f.Name(), err)
	}
	return nil
}

// Close lets go of it.
func (s *Slot) Close() error { return s.f.Close() }
