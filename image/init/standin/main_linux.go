package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// memory is where it counts its lives.
const memory = "/perm/box/lives"

func main() {
	life := 1
	if b, err := os.ReadFile(memory); err == nil {
		life, _ = strconv.Atoi(string(b))
		life++
	}
	if err := os.WriteFile(memory, []byte(strconv.Itoa(life)), 0o600); err != nil {
		say("%v", err)
	}
	unix.Sync()
	say("life %d with %s", life, strings.Join(os.Args[1:], " "))
	say("it is %d", time.Now().UTC().Year())
	switch life {
	case 1:
		facts()
	case 2:
		os.Exit(125)
	case 3:
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	case 4:
		switchOff()
	}
	for { // hangs, and feeds nothing
		_ = unix.Pause()
	}
}

func say(format string, args ...any) { fmt.Printf("standin: "+format+"\n", args...) }

// facts tells what init made of the system.
func facts() {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		say("%v", err)
	}
	for _, m := range mounts {
		say("mount %s %s %s", m.Mountpoint, m.FSType, m.Options)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/perm", &st); err != nil {
		say("%v", err)
	}
	say("perm %d MB", int64(st.Blocks)*st.Bsize/1e6)
	if err := os.WriteFile("/user/x", nil, 0o600); err == nil {
		say("the root can be written")
	}
	os.Exit(0)
}

// switchOff takes over the watchdog, has the box switched off, and dies as it is told to.
func switchOff() {
	dog, err := os.OpenFile("/dev/watchdog", os.O_WRONLY, 0)
	if err != nil {
		say("%v", err)
		return
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	if err := unix.Kill(1, unix.SIGUSR2); err != nil {
		say("%v", err)
	}
	for {
		_, _ = dog.Write([]byte{0})
		select {
		case <-told:
			say("flushed")
			os.Exit(0)
		case <-time.After(time.Second):
		}
	}
}
