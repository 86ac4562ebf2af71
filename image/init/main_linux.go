package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// boxd is the program that all else is there for.
const boxd = "/user/boxd"

// services run as long as the box does. What talks to the network and what looks after the USB ports is this program again: process 1
// must not die of a packet, and neither needs to be root (docs/adr/054-who-may-do-what.md).
var services = []task{
	{args: []string{boxd, "run", "--mount", "/mnt", "--state", "/perm/box", "--web", ":80", "--board", "rpi", "--update", "/perm/update", "--log", "/perm/box/log.txt", "--boot", "card"}, user: root, may: []uintptr{
		unix.CAP_SYS_ADMIN,                     // mount, and flush a disk's cache
		unix.CAP_SYS_RAWIO,                     // ask a disk how it is
		unix.CAP_SYS_NICE,                      // dim lights on time
		unix.CAP_NET_BIND_SERVICE,              // the page is at port 80
		unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, // on a drive that belonged to somebody else
	}},
	{args: []string{"/gokrazy/init", "network"}, user: networkUser, may: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_TIME}},
	{args: []string{"/gokrazy/init", "ports"}, user: portsUser, may: []uintptr{}},
}

func main() {
	if len(os.Args) == 2 && os.Getpid() != 1 {
		switch os.Args[1] {
		case "network":
			network()
			return
		case "ports":
			ports()
			return
		}
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this is for the kernel to start")
		os.Exit(2)
	}
	debug.SetGCPercent(20) // it does next to nothing
	mountSystem()
	consoles()
	say("starting")
	dog := guard(forever)
	go fetch(boxd)
	r := newReaper()
	mountPerm(r)
	modules()
	givePorts("/sys")
	keyboards()
	hostname()
	dog.handOver()
	say("%.1f s after the kernel started, boxd is started", uptime().Seconds())
	var running []*service
	for _, t := range services {
		running = append(running, r.supervise(t))
	}
	shutDown(r, running)
}

// fetch has the kernel read a program into memory, and unpack it, while there is something else to wait for. Whether it can is for
// whoever starts the program to find out.
func fetch(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_WILLNEED)
	_ = f.Close()
}

// keyboards takes from a keyboard what the kernel itself would do for it: Ctrl-Alt-Del, and SysRq, on the serial line, too.
func keyboards() {
	signal.Ignore(unix.SIGINT) // what Ctrl-Alt-Del comes to
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		say("keyboards: %v", err)
	}
	if err := os.WriteFile("/proc/sys/kernel/sysrq", []byte("0"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		say("keyboards: %v", err)
	}
}

// say writes a line to the console, where whoever looks at the serial line finds it.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stdout, "init: "+format+"\n", args...)
}

// consoles makes the console this process's output; the kernel does so only if it can open it itself.
func consoles() {
	f, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return
	}
	os.Stdout, os.Stderr = f, f
	for fd := range 3 {
		_ = unix.Dup3(int(f.Fd()), fd, 0) // a panic of the run time goes there, too
	}
}

func uptime() time.Duration {
	var info unix.Sysinfo_t
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil {
		return time.Duration(now.Nano())
	}
	_ = unix.Sysinfo(&info)
	return time.Duration(info.Uptime) * time.Second
}

// hostname is how the box calls itself to the network.
func hostname() {
	name := []byte("phonebackupbox")
	if b, err := os.ReadFile("/etc/hostname"); err == nil && len(b) > 0 {
		name = trimLine(b)
	}
	if err := unix.Sethostname(name); err != nil {
		say("hostname: %v", err)
	}
}
