package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
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
			return err
		case <-alive.C:
			say("RUNNING %s", args[0])
		}
	}
}

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
