package drive

import (
	"os"

	"golang.org/x/sys/windows"

	"phonebackupbox/storage"
)

// openFlags: Windows has neither pipes nor links of the kind that could hang us among files.
const openFlags = 0

// lockFile takes the lock that marks the one writer. Windows drops it when the file is closed or its process dies.
func lockFile(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
}

// syncDir does nothing: Windows cannot flush a folder, and its file systems write names with the files.
func syncDir(*os.Root, string) error { return nil }

// space asks the file system that the drive's folder is on.
func (d *Drive) space() (storage.Space, error) {
	dir, err := windows.UTF16PtrFromString(d.dir)
	if err != nil {
		return storage.Space{}, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &free, &total, &all); err != nil {
		return storage.Space{}, err
	}
	return storage.Space{Free: int64(free), Total: int64(total)}, nil
}
