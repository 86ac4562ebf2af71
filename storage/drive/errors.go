package drive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"phonebackupbox/storage"
)

const errNotDir = syscall.ENOTDIR

// classify adds the storage error that a system error stands for, so that callers need not know errno. What it does
// not know it returns as it is.
func classify(err error) error {
	for _, known := range []error{
		storage.ErrNotExist, storage.ErrExist, storage.ErrUnavailable, storage.ErrCorrupt, storage.ErrFull,
		storage.ErrReadOnly, fs.ErrInvalid, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	case syscall.EROFS, syscall.EACCES, syscall.EPERM:
		return fmt.Errorf("%w: %w", storage.ErrReadOnly, err)
	case syscall.EIO, syscall.ENODEV, syscall.ENXIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ETIMEDOUT:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return err
}

// classify is the same with advice, where the drive's file system is of those that a power cut may tear.
func (d *Drive) classify(err error) error { return d.format.advise(classify(err)) }

// advise says what helps when a torn file system gives an I/O error, or Linux has made it read-only after one.
func (f Format) advise(err error) error {
	if !f.Fragile || f.mend == "" || !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EROFS) {
		return err
	}
	return fmt.Errorf("%w (if the drive is plugged in, its file system may be torn, by a power cut: unmount it and run %s %s)", err, f.mend, f.Device)
}
