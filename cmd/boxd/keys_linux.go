//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// keyboard is where keys are read from one at a time.
type keyboard struct {
	*os.File
	before *unix.Termios // how the terminal was; nil if it is none
}

// openKeyboard opens in anew, so that reading can be ended without a key, and sets a terminal to give keys as they are pressed
// and not to show them. Ctrl-C still interrupts. It is nil where nothing can be typed: a box without a button.
func openKeyboard(in io.Reader) (*keyboard, error) {
	f, ok := in.(*os.File)
	if !ok {
		return nil, nil
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil // a socket, or closed
	}
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		return nil, f.Close() // a file, or nothing at all: nobody types there
	}
	k := &keyboard{File: f}
	var now unix.Termios
	err = k.control(func(fd int) error {
		was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		now = *was
		return err
	})
	if err != nil {
		return k, nil // a pipe
	}
	before := now
	k.before = &before
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	return k, k.set(&now)
}

// control does something to the file descriptor; File.Fd would make reads block for good.
func (k *keyboard) control(do func(fd int) error) error {
	raw, err := k.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

func (k *keyboard) set(t *unix.Termios) error {
	return k.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, t) })
}

// Close gives the terminal back as it was.
func (k *keyboard) Close() error {
	var err error
	if k.before != nil {
		err = k.set(k.before)
	}
	return errors.Join(err, k.File.Close())
}
