// Package pty makes pairs of terminals, for tests of what speaks on a serial port.
package pty

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a pair: the far end, whose reads and writes take deadlines, and the path of the near one (pts(4)).
func Open() (far *os.File, near string, err error) {
	far, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, "", err
	}
	c, err := far.SyscallConn()
	if err != nil {
		return nil, "", errors.Join(err, far.Close())
	}
	var n int
	cerr := c.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err = errors.Join(err, cerr); err != nil {
		return nil, "", errors.Join(err, far.Close())
	}
	return far, fmt.Sprintf("/dev/pts/%d", n), nil
}
