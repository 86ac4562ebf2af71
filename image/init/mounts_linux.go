package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// strict are the flags of a file system that programs have no business on.
const strict = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountSystem mounts what is not on the card. What cannot be mounted is told: most of it the box can do without.
func mountSystem() {
	for _, m := range []struct {
		kind, dir, options string
		flags              uintptr
	}{
		{"devtmpfs", "/dev", "", unix.MS_NOSUID | unix.MS_NOEXEC},
		{"proc", "/proc", "", strict},
		{"sysfs", "/sys", "", strict},
		{"tmpfs", "/tmp", "size=25%,mode=1777", strict},
		{"tmpfs", "/run", "size=10%,mode=755", strict},
		{"tmpfs", "/mnt", "size=64k,mode=755", strict}, // folders that drives are mounted on
	} {
		err := unix.Mount(m.kind, m.dir, m.kind, m.flags, m.options)
		if errors.Is(err, unix.EBUSY) { // the kernel did so itself, without our flags
			err = unix.Mount("", m.dir, "", unix.MS_REMOUNT|m.flags, "")
		}
		if err != nil {
			say("mount %s: %v", m.dir, err)
		}
	}
}

// modules loads the parts of the kernel that the image names, in that order, by their paths below /lib/modules/RELEASE, and the
// radio's driver if it is wanted. Nothing else is ever loaded: no device that is plugged in brings a driver with it.
func modules() {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		say("modules: %v", err)
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	list, err := os.ReadFile("/etc/modules")
	if err != nil {
		return // an image without any
	}
	for s := bufio.NewScanner(bytes.NewReader(list)); s.Scan(); {
		name := strings.TrimSpace(s.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if err := load(filepath.Join(dir, name)); err != nil {
			say("module %s: %v", name, err)
		}
	}
	loadRadio(dir)
	// From here on the kernel takes no more of them from anybody.
	if err := os.WriteFile("/proc/sys/kernel/modules_disabled", []byte("1"), 0); err != nil {
		say("modules: %v", err)
	}
}

// load loads one module. That a board lacks what it drives is no error.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func trimLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return bytes.TrimSpace(line)
}
