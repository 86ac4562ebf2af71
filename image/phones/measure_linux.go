package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func quiet(args []string) error {
	if len(args) == 0 {
		return errors.New("quiet what?")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = environment()
	alive := time.NewTicker(30 * time.Second)
	defer alive.Stop()
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	for {
		select {
		case err := <-done:
			if cmd.ProcessState != nil {
				say("PEAK %d", cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
			}
			return err
		case <-alive.C:
			say("RUNNING %s", args[0])
		}
	}
}

// serve starts a program that shows a phone as a file system, and waits for that.
func serve(args []string) error {
	if len(args) < 2 {
		return errors.New("serve DIR PROGRAM")
	}
	cmd := exec.Command(args[1], append(args[2:], args[0])...)
	cmd.Stdout, cmd.Stderr, cmd.Env = plain{}, plain{}, environment()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for from := time.Now(); time.Since(from) < found; time.Sleep(5 * time.Millisecond) {
		var here, above unix.Stat_t
		if err := errors.Join(unix.Stat(args[0], &here), unix.Stat(filepath.Dir(args[0]), &above)); err == nil && here.Dev != above.Dev {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w", err)
		default:
		}
	}
	return fmt.Errorf("%s is no file system after %v", args[0], found)
}

// peak says how much memory a program that runs had at most: the one of its name that was started last.
func peak(args []string) error {
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil || len(args) != 1 {
		return errors.Join(errors.New("peak PROGRAM"), err)
	}
	last, had := 0, ""
	for _, name := range statuses {
		status, err := os.ReadFile(name)
		pid, nerr := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || nerr != nil || pid < last || !strings.HasPrefix(string(status), "Name:\t"+args[0]+"\n") {
			continue
		}
		if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
			last, had = pid, strings.Fields(after)[0]
		}
	}
	if last == 0 {
		return fmt.Errorf("no %s runs", args[0])
	}
	say("PEAK %s", had)
	return nil
}

// forgetPeak has the kernel count the most memory of this process from now on (Linux, Documentation/filesystems/proc.rst, clear_refs).
func forgetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// walk looks at every file and folder below a folder, and says how many there are.
func walk(args []string) error {
	if len(args) != 1 {
		return errors.New("walk DIR")
	}
	n := 0
	err := filepath.WalkDir(args[0], func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != args[0] {
			if n++; n%1000 == 0 {
				say("WALKED %d", n) // a sign of life
			}
			_, err = e.Info()
		}
		return err
	})
	say("WALKED %d", n)
	return err
}

// gone waits until the kernel has no device of a vendor any more.
func gone(args []string) error {
	if len(args) != 1 {
		return errors.New("gone VENDOR")
	}
	for from := time.Now(); time.Since(from) < found; time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob("/sys/bus/usb/devices/*/idVendor")
		if err != nil {
			return err
		}
		left := 0
		for _, f := range files {
			if id, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(id)) == args[0] {
				left++
			}
		}
		if left == 0 {
			return nil
		}
	}
	return fmt.Errorf("a device of %s is still there after %v", args[0], found)
}
