package folder

import (
	"os"

	"golang.org/x/sys/unix"
)

// openFlags keep the opening of what has become a pipe or a terminal from blocking.
const openFlags = os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

// space returns the bytes that can still be stored in dir's file system and its size.
func space(dir string) (free, total int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}

// syncEach is false where syncAll makes everything durable at once, which is far cheaper for many small files.
const syncEach = false

// syncAll makes all that was written to root's file system durable.
func syncAll(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}
