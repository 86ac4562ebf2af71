package drive

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// forget drops what the kernel holds of f, so that it is read from the drive. f must have been flushed.
func forget(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// reserveFile takes n bytes for f. exFAT has no call for it in Linux 6.12, but takes clusters for a longer file at once
// without writing them.
func reserveFile(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := f.Truncate(n); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Blocks*512 < n {
		return errNoReserve
	}
	return nil
}
