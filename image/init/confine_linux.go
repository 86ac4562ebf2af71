package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// task is a program and what it may do. Nothing that it starts may do more.
type task struct {
	args []string
	user uint32    // and group; 0 is root
	may  []uintptr // of what root may, by capabilities(7); nil is all
}

// Users of the box. They have no names: nobody logs in.
const (
	root = iota
	networkUser
	portsUser
)

// name is what the console calls it.
func (t task) name() string {
	if t.args[0] == boxd {
		return boxd // its arguments are many
	}
	return strings.Join(t.args, " ")
}

// start starts the program.
func (t task) start(attr *os.ProcAttr) (*os.Process, error) {
	if t.may == nil {
		return os.StartProcess(t.args[0], t.args, attr)
	}
	if t.user != root {
		attr.Sys.Credential = &syscall.Credential{Uid: t.user, Gid: t.user}
		attr.Sys.AmbientCaps = t.may
	}
	var p *os.Process
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A process inherits what the thread may that starts it. This one never does anything else: it ends with the goroutine.
		runtime.LockOSThread()
		if err = confine(t.may); err == nil {
			p, err = os.StartProcess(t.args[0], t.args, attr)
		}
	}()
	<-done
	return p, err
}

// giveWay lets the processes of a session go last: whatever boxd has to do is more urgent, above all at the start. The kernel shares
// the processors out by sessions, of which each service has its own (sched(7), "The autogroup feature").
func giveWay(session int) {
	const behind = "10" // a priority as nice(1) has it
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", session), []byte(behind), 0); err != nil {
		say("priority: %v", err)
	}
}

// confine takes from this thread, for good, and from what it starts, all that root may besides what is named.
func confine(may []uintptr) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(may, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { // EINVAL: this kernel does not have it
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	return nil
}

// givePorts lets portsUser take devices away from the drivers that are not welcome, and from no other.
func givePorts(sys string) {
	files, err := filepath.Glob(filepath.Join(sys, "bus/usb/drivers/*/unbind"))
	if err != nil {
		return // the pattern is sound
	}
	for _, f := range files {
		if driver := filepath.Base(filepath.Dir(f)); driver == "usb" || slices.Contains(welcome, driver) {
			continue
		}
		if err := os.Chown(f, portsUser, portsUser); err != nil {
			say("ports: %v", err)
		}
	}
}
