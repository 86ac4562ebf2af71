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
	"strconv"
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
// another left in memory; and as much memory as the step will fill was touched just before, since a virtual machine gets
// its pages from the host at the first touch, which took up to 2.5 s a GB and hit whoever came first.
func measure(ctx context.Context, s step, room int64) (cost, error) {
	syscall.Sync()
	if s.writes {
		// Another process does it: the kernel counts a child's memory from what its parent once had.
		self, err := os.Executable()
		if err != nil {
			return cost{}, err
		}
		if out, err := exec.CommandContext(ctx, self, "-touch", strconv.FormatInt(room, 10)).CombinedOutput(); err != nil {
			return cost{}, fmt.Errorf("touch %s of memory: %w\n%s", megabytes(room), err, out)
		}
	}
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

// touch makes the kernel find n bytes of memory, and gives them back.
func touch(n int64) error {
	m, err := syscall.Mmap(-1, 0, int(n), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("%d bytes of memory: %w", n, err)
	}
	for i := 0; i < len(m); i += os.Getpagesize() {
		m[i] = 1
	}
	return syscall.Munmap(m)
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
