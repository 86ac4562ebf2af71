package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cost is what a command took.
type cost struct {
	wall, cpu time.Duration
	rss       int64 // bytes: the largest of its processes
}

// measure runs one step to its end. Everything written before is on the drives first, so that nobody pays for what
// another left in memory.
func measure(ctx context.Context, s step) (cost, error) {
	syscall.Sync()
	cmd := exec.CommandContext(ctx, s.name, s.args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	c := cost{wall: time.Since(start)}
	if err != nil {
		return c, fmt.Errorf("%s %s: %w\n%s", filepath.Base(s.name), strings.Join(s.args, " "), err, out.Bytes())
	}
	c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		// Linux counts in KiB (getrusage(2)) and begins with what this process had when it forked, about 20 MB.
		c.rss = u.Maxrss << 10
	}
	return c, nil
}

// same says how the folder got differs from want: names, sizes, times and bytes. A fast wrong copy is no figure.
func same(want, got string) error {
	count := 0
	err := filepath.WalkDir(want, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(want, p)
		if err != nil {
			return err
		}
		count++
		return sameFile(p, filepath.Join(got, rel))
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(got, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if count--; count < 0 {
				return fmt.Errorf("%s holds files that %s does not", got, want)
			}
		}
		return err
	})
}

func sameFile(want, got string) error {
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close() // only read from
	b, err := os.Open(got)
	if err != nil {
		return err
	}
	defer b.Close() // only read from
	ai, err := a.Stat()
	if err != nil {
		return err
	}
	bi, err := b.Stat()
	if err != nil {
		return err
	}
	if ai.Size() != bi.Size() || !ai.ModTime().Equal(bi.ModTime()) {
		return fmt.Errorf("%s: %d bytes of %v, want %d of %v", got, bi.Size(), bi.ModTime(), ai.Size(), ai.ModTime())
	}
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(a, p)
		m, err2 := io.ReadFull(b, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return fmt.Errorf("%s: other bytes", got)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err = errors.Join(err, err2); err != nil {
			return err
		}
	}
}

// onDisk is how many bytes the files below the folders hold.
func onDisk(dirs ...string) (n int64, err error) {
	for _, dir := range dirs {
		err = errors.Join(err, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				n += info.Size()
			}
			return err
		}))
	}
	return n, err
}
