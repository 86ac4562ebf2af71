//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
	"phonebackupbox/usbhost/mtp"
)

// maxLog bounds a log, in bytes; the one before it, FILE.1, may be as long.
const maxLog = 1 << 20

// logFile is a log of bounded size. Each Write is one record; the caller serializes them, as slog does.
type logFile struct {
	f    *os.File
	size int64
}

// logger logs what happens, from Info up, to the file, and no names: Debug has errors as they are, so they stay out, and of other
// errors only their kind is written.
func (l *logFile) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(strings.Join(kindsOf(err), ", "))
		}
		return a
	}}))
}

// errorKinds are the errors that a log may tell of: their words have no names in them.
var errorKinds = []error{
	usbhost.ErrUnplugged, usbhost.ErrLocked, usbhost.ErrChanged, usbhost.ErrNoSpace, usbhost.ErrStalled, usbhost.ErrUnsupported,
	libusb.ErrNoUSB, storage.ErrFull, storage.ErrReadOnly, storage.ErrCorrupt, storage.ErrUnavailable,
	context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, fs.ErrPermission, fs.ErrNotExist,
}

// kindsOf says what kind of error err is, without the names of files, phones and drives that its own words may hold: which of
// errorKinds it wraps, what the phone answered, and what the kernel did.
func kindsOf(err error) (kinds []string) {
	var (
		code  mtp.Code
		busy  *libusb.BusyError
		errno syscall.Errno
	)
	for _, kind := range errorKinds {
		if errors.Is(err, kind) {
			kinds = append(kinds, kind.Error())
		}
	}
	if errors.As(err, &code) {
		kinds = append(kinds, code.Error())
	}
	if errors.As(err, &busy) {
		kinds = append(kinds, "in use by another program")
	}
	switch {
	case len(kinds) > 0:
		return kinds
	case errors.As(err, &errno):
		return []string{errno.Error()}
	}
	return []string{"other"}
}

// openLog opens a log to be added to.
func openLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, hintError{fmt.Errorf("--log %s: %w", printable(path), reason(err)), "log", "name a file that can be written"}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = hintError{fmt.Errorf("--log %s: not an ordinary file", printable(path)), "log", "name a file that can be written"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &logFile{f, info.Size()}, nil
}

// Write adds a record; where that would be too much, the log becomes FILE.1 and another begins.
func (l *logFile) Write(p []byte) (int, error) {
	if l.size > 0 && l.size+int64(len(p)) > maxLog {
		name := l.f.Name()
		if err := os.Rename(name, name+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		next, err := openLog(name)
		if err != nil {
			return 0, err
		}
		if err := l.f.Close(); err != nil {
			return 0, errors.Join(err, next.f.Close())
		}
		*l = *next
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *logFile) Close() error { return l.f.Close() }
