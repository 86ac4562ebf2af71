//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"phonebackupbox/image/card"
	"phonebackupbox/image/update"
)

// openUpdates finds the card that this system runs from. dir is where it remembers its updates.
func openUpdates(dir string, log *slog.Logger) (*updates, error) {
	c, err := card.Find()
	if err != nil {
		return nil, hintError{fmt.Errorf("an update is for a box that runs from its own card, as this computer does not: %w", err), "update", "leave --update out"}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, reason(err)
	}
	release, err := lockState(dir)
	if err != nil {
		return nil, err
	}
	other, err := c.OpenOther()
	if err != nil {
		return nil, errors.Join(err, release())
	}
	const mountedAt = "/run/boxd-boot"
	u, err := newUpdates(update.Card{Running: update.Slot(c.Root), Spare: other, Room: other.Size, Kernel: kernelRelease(),
		Line: card.BootFile{Card: c, Name: "cmdline.txt", Dir: mountedAt}, Trial: card.BootFile{Card: c, Name: "trial.txt", Dir: mountedAt}}, dir, log)
	if err != nil {
		return nil, errors.Join(err, other.Close(), release())
	}
	u.close = func() error { return errors.Join(other.Close(), release()) }
	return u, nil
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// uptime is how long the machine has been on.
func uptime() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// restartArgument is what init restarts the machine with, if it is there: see reboot(2), LINUX_REBOOT_CMD_RESTART2.
const restartArgument = "/run/restart-argument"

// startAnew has process 1 start the machine anew; try is whether the bootloader is to try the other slot, once: the argument
// is the Raspberry Pi firmware's (Raspberry Pi documentation, "The tryboot mechanism").
func startAnew(try bool) error {
	if !ofInit() {
		return errors.New("the machine is to be started anew: boxd is not alone on it, so that is for you to do")
	}
	if try {
		if err := os.WriteFile(restartArgument, []byte("0 tryboot"), 0o600); err != nil {
			return err
		}
	}
	if err := unix.Kill(1, unix.SIGTERM); err != nil {
		return fmt.Errorf("start the machine anew: %w", err)
	}
	return nil
}

// roomIn is how many bytes the file system of a folder has left.
func roomIn(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("how much room is left: %w", err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}
