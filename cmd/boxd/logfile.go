//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxLog bounds a log, in bytes; the one before it, FILE.1, may be as long.
const maxLog = 1 << 20

// logFile is a log of bounded size. Each Write is one record; the caller serializes them, as slog does.
type logFile struct {
	f    *os.File
	size int64
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
