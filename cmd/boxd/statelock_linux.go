//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockState makes a state folder this process's alone, until it ends or release is called: the kernel drops the lock with it, so
// there are no stale ones.
func lockState(dir string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, hintError{fmt.Errorf("state folder %s: %w", printable(dir), reason(err)), "state", "give --state DIR, a folder that can be written to"}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = errors.Join(err, f.Close())
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = hintError{fmt.Errorf("another boxd is at work on the state folder %s", printable(dir)), stateBusy,
				"stop it first, or give --state DIR, a folder for this one alone"}
		}
		return nil, err
	}
	return f.Close, nil
}
