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
