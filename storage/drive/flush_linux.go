package drive

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// startFlush has the kernel begin writing f to the drive, without waiting, so that a later Sync finds little to do.
// A file system that cannot is no error: Sync does it all.
func startFlush(f *os.File) error {
	err := unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESPIPE) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
