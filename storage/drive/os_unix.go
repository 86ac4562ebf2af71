//go:build unix

package drive

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"phonebackupbox/storage"
)

// openFlags for files that we did not just make: a pipe someone left under a blob's name must not hang us.
const openFlags = unix.O_NONBLOCK | unix.O_NOFOLLOW

// lockFile takes the lock that marks the one writer. The kernel drops it when the file is closed or its process dies,
// so there are no stale locks.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// syncDir makes the names in a folder durable, and on FAT and exFAT all that is changed: see placing.go.
func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	if noJournal(f) {
		err = syncAll(f) // on FAT it leaves the drive's own cache alone, which Sync does not
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// space asks the file system, which a Drive holds open, so a vanished mount is not mistaken for the one below.
func (d *Drive) space() (storage.Space, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return storage.Space{}, err
	}
	var s unix.Statfs_t
	err = unix.Fstatfs(int(f.Fd()), &s)
	if err := errors.Join(err, f.Close()); err != nil {
		return storage.Space{}, err
	}
	block := int64(s.Bsize)
	return storage.Space{Free: int64(s.Bavail) * block, Total: int64(s.Blocks) * block}, nil
}
