package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	switch {
	case os.Getpid() == 1:
		say("up")
		for { // process 1 must not end
			_ = unix.Pause()
		}
	case len(os.Args) == 2 && os.Args[1] == "watch":
		watch(os.Getppid())
	default:
		if _, err := os.StartProcess("/user/boxd", []string{"probe", "watch"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}}); err != nil {
			say("%v", err)
		}
		say("%v", unix.Exec("/user/realboxd", append([]string{"/user/realboxd"}, os.Args[1:]...), os.Environ()))
	}
	os.Exit(1)
}

func say(format string, args ...any) { fmt.Printf("probe: "+format+"\n", args...) }

// watch does what the console says, until boxd has ended.
func watch(boxd int) {
	console, err := os.Open("/dev/console")
	if err != nil {
		say("%v", err)
		return
	}
	for s := bufio.NewScanner(console); s.Scan(); {
		switch line := strings.TrimSpace(s.Text()); line {
		case "stop": // every thread of it
			_ = unix.Kill(boxd, unix.SIGSTOP)
		case "memory":
			memory(boxd)
		case "look":
			sockets()
			links()
			processes()
			files()
		default:
			continue
		}
		say("done")
	}
}

// memory tells what boxd has in memory now and what it had at most, in kB.
func memory(boxd int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", boxd))
	if err != nil {
		say("%v", err)
	}
	for line := range strings.Lines(string(b)) {
		if name, rest, ok := strings.Cut(line, ":"); ok && (name == "VmRSS" || name == "VmHWM") {
			say("%s %s", name, strings.TrimSpace(rest))
		}
	}
}

// sockets tells all that something may be sent to (Linux, Documentation/networking/proc_net_tcp.rst).
func sockets() {
	const listening = "0A"
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		b, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			say("%v", err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[0] == "sl" || strings.HasPrefix(name, "tcp") && f[3] != listening {
				continue
			}
			at := strings.LastIndex(f[1], ":")
			port, err := strconv.ParseUint(f[1][at+1:], 16, 16)
			say("socket %s %d %v", name, port, err)
		}
	}
}

func links() {
	all, err := net.Interfaces()
	if err != nil {
		say("%v", err)
	}
	for _, l := range all {
		addrs, _ := l.Addrs()
		say("link %s %v %v", l.Name, l.Flags&net.FlagUp != 0, addrs)
	}
}

// processes tells all that are programs: the kernel's own have no command line.
func processes() {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		say("%v", err)
	}
	for _, path := range all {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			say("process %s", bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte{' '}))
			name, rest, _ := bytes.Cut(b, []byte{0})
			arg, _, _ := bytes.Cut(rest, []byte{0})
			say("rights %s %s %s", name, arg, rights(filepath.Dir(path)))
		}
	}
}

// rights tells what a process is and may do (proc(5), status): the user, the groups besides the user's own, what it may now and what it
// and its children could ever get, and whether a program of another user's could give it more.
func rights(proc string) string {
	b, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return err.Error()
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		switch name, rest, _ := strings.Cut(line, ":"); name {
		case "Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs":
			out = append(out, name+"="+strings.Join(strings.Fields(rest), ","))
		}
	}
	return strings.Join(out, " ")
}

// files tells where something can be written that outlives a restart, or run.
func files() {
	for _, dir := range []string{"/", "/user", "/etc", "/boot"} {
		err := os.WriteFile(filepath.Join(dir, "probe.txt"), nil, 0o600)
		say("write %s %v", dir, err)
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		say("%v", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		say("mount %s %s %s %s", f[1], f[2], f[3], f[0])
	}
	if b, err = os.ReadFile("/proc/modules"); err != nil {
		say("%v", err)
	}
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, " ")
		say("module %s", name)
	}
	b, err = os.ReadFile("/proc/sys/kernel/modules_disabled")
	say("modules disabled %s %v", bytes.TrimSpace(b), err)
}
