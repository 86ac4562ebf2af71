package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// letGo is how long boxd may take to flush its drives. The watchdog counts meanwhile: boxd feeds it as long as it lives.
const letGo = 5 * time.Minute

// killed is how long one that was killed may take to be gone: a disk may hold it in the kernel.
const killed = 10 * time.Second

// unmounts is how long it may take from boxd's end until the machine is off: the other services end at the same time as boxd,
// and what is left to be written is little.
const unmounts = 3 * time.Minute

// shutDown waits to be told to end all: SIGTERM is to start anew, SIGUSR1 to halt and SIGUSR2 to switch off, as with gokrazy.
func shutDown(r *reaper, running []*service) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	what, end := "to be started anew", unix.LINUX_REBOOT_CMD_RESTART
	switch <-told {
	case unix.SIGUSR1:
		what, end = "to be halted", unix.LINUX_REBOOT_CMD_HALT
	case unix.SIGUSR2:
		what, end = "to be switched off", unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	say("the box is %s", what)
	for _, s := range running {
		s.signal(unix.SIGTERM)
	}
	late, cancel := context.WithTimeout(context.Background(), letGo)
	defer cancel()
	for i, s := range running {
		s.end(late)
		if i == 0 { // boxd, which has fed the watchdog until now
			guard(unmounts)
		}
	}
	unmountAll()
	unix.Sync()
	say("all is written; the box is %s", what)
	if end == unix.LINUX_REBOOT_CMD_RESTART {
		restart()
	}
	if err := unix.Reboot(end); err != nil {
		say("%v", err)
	}
	select {} // process 1 must not end
}

// argument is what the machine is to be started anew with, if it is there: boxd has the Raspberry Pi's firmware try an update so.
const argument = "/run/restart-argument"

// restart starts the machine anew with the argument; it returns if there is none.
func restart() {
	b, err := os.ReadFile(argument)
	if err != nil {
		return
	}
	text, err := unix.BytePtrFromString(string(trimLine(b)))
	if err != nil {
		return
	}
	say("with %q", trimLine(b))
	// reboot(2) with an argument, which package unix has no function for.
	_, _, errno := unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_RESTART2,
		uintptr(unsafe.Pointer(text)), 0, 0)
	say("%v", errno)
}

// end waits until the service has ended, or late has, upon which it is killed.
func (s *service) end(late context.Context) {
	select {
	case <-s.over:
		return
	case <-late.Done():
	}
	say("%s does not end", s.name)
	s.signal(unix.SIGKILL)
	select {
	case <-s.over: // its files are closed: what they are on can be unmounted
	case <-time.After(killed):
	}
}

// unmountAll takes the drives and /perm away, the last one first.
func unmountAll() {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		say("mounts: %v", err)
	}
	for _, m := range slices.Backward(mounts) {
		if !strings.HasPrefix(m.Source, "/dev/") || m.Mountpoint == "/" {
			continue
		}
		if err := unix.Unmount(m.Mountpoint, 0); err != nil {
			say("unmount %s: %v", m.Mountpoint, err)
			// What still is in use is made safe at least.
			_ = unix.Mount("", m.Mountpoint, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
}
