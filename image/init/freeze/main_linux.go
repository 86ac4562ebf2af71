package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "watch" {
		watch(os.Getppid())
		return
	}
	if _, err := os.StartProcess("/user/boxd", []string{"freeze", "watch"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}}); err != nil {
		say("%v", err)
	}
	err := unix.Exec("/user/realboxd", append([]string{"boxd"}, os.Args[1:]...), os.Environ())
	say("%v", err)
	os.Exit(1)
}

func say(format string, args ...any) { fmt.Printf("freeze: "+format+"\n", args...) }

// watch stops boxd, every thread of it, when the console says so.
func watch(boxd int) {
	console, err := os.Open("/dev/console")
	if err != nil {
		say("%v", err)
		return
	}
	say("boxd is process %d", boxd)
	for s := bufio.NewScanner(console); s.Scan(); {
		if strings.TrimSpace(s.Text()) != "stop" {
			continue
		}
		if err := unix.Kill(boxd, unix.SIGSTOP); err != nil {
			say("%v", err)
		}
		say("stopped")
	}
}
