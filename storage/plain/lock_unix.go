//go:build unix

package plain

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock that marks the one writer. The kernel drops it with the process, so there are no stale locks.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
