package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guest is the test machine from inside.
type guest struct{ ports }

// commands are what can be asked for: with the words that follow, a command does one thing. Every line that it says begins with
// "vm: ", the last one with "vm: DONE" or "vm: FAILED".
func (g *guest) commands() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"run":    run,      // PROGRAM ARG…: what it prints comes as it is
		"keys":   keys,     // PROGRAM ARG…: run, with what is typed on the console as its keys
		"sum":    sum,      // DIR: FILE lines of all that is below
		"write":  write,    // PATH TEXT…: into a file, of the kernel say; %20 in the path is a space
		"mkdir":  mkdir,    // PATH
		"link":   link,     // PATH: what a symbolic link names
		"wait":   wait,     // VENDOR: until the kernel has found its device; INTERFACE tells where in sysfs
		"gone":   gone,     // VENDOR: until the kernel has none any more
		"quiet":  quiet,    // PROGRAM ARG…: run, but what it prints is thrown away: the console is slow
		"serve":  serve,    // DIR PROGRAM ARG…: runs on, until DIR is a file system of its own
		"peak":   peak,     // PROGRAM: PEAK tells the most memory that it had while it ran, in kB; "init" is ourselves
		"walk":   walk,     // DIR: look at all that is below, as a file manager does
		"age":    age,      // DIR: every file below gets a time of its own
		"empty":  empty,    // DIR: removes all that is in it
		"load":   load,     // MODULE…: into the kernel
		"gadget": gadget,   // PROGRAM: the machine is a phone to itself, which the program answers for
		"bus":    g.listen, // from now on ARRIVED and GONE lines tell of phones
		"pull":   g.pull,   // ID: back the phone up into memory; FILE lines of what it had
		"deaf":   g.deaf,   // no more of these, and what is let go of stays free
		"free":   g.free,   // ID: let go of the phone, so that another program can have it
	}
}

func main() {
	g := guest{}
	err := start()
	if err == nil {
		say("READY")
		err = g.obey()
	}
	if err != nil {
		say("BROKEN %s", oneLine(err))
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		say("BROKEN %v", err)
	}
	select {}
}

// obey reads the console until it is told "off".
func (g *guest) obey() error {
	commands := g.commands()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "off" {
			return nil
		}
		err := errors.New("no such command")
		if do := commands[words[0]]; do != nil {
			err = do(words[1:])
		}
		if err != nil {
			say("FAILED %s: %s", words[0], oneLine(err))
		} else {
			say("DONE %s", words[0])
		}
	}
	return in.Err()
}

// say writes a line to the console, where the test reads it.
func say(format string, args ...any) { fmt.Printf("vm: "+format+"\n", args...) }

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// start makes a usable system of what the kernel leaves.
func start() error {
	for _, m := range []struct{ device, kind, dir string }{{"proc", "proc", "/proc"}, {"sysfs", "sysfs", "/sys"}, {"dev", "devtmpfs", "/dev"}, {"tmp", "tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.device, m.dir, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	// The console gives what is typed as it comes: nothing is shown twice, and no key ends a program.
	t, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err == nil {
		t.Lflag &^= unix.ECHO | unix.ISIG
		err = unix.IoctlSetTermios(0, unix.TCSETS, t)
	}
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("run what?")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, plain{}
	cmd.Env = environment()
	return cmd.Run()
}

func keys(args []string) error {
	if len(args) == 0 {
		return errors.New("run what?")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, plain{}, plain{}
	cmd.Env = environment()
	return cmd.Run()
}

func environment() []string { return append(os.Environ(), "HOME=/tmp", "PATH=/", "LANG=C.UTF-8") }

// plain keeps a program from seeing a terminal where it would draw its progress.
type plain struct{}

func (plain) Write(p []byte) (int, error) { return os.Stderr.Write(p) }

func write(args []string) error {
	if len(args) < 2 {
		return errors.New("write PATH TEXT")
	}
	return os.WriteFile(strings.ReplaceAll(args[0], "%20", " "), []byte(strings.Join(args[1:], " ")), 0)
}

func mkdir(args []string) error { return os.MkdirAll(strings.Join(args, " "), 0o755) }

func link(args []string) error {
	to, err := os.Readlink(strings.Join(args, " "))
	if errors.Is(err, fs.ErrNotExist) {
		to, err = "none", nil
	}
	say("LINK %s", to)
	return err
}

// found is how long a device may take to be found.
const found = 5 * time.Minute

func wait(args []string) error {
	if len(args) != 1 {
		return errors.New("wait VENDOR")
	}
	for from := time.Now(); time.Since(from) < found; time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob("/sys/bus/usb/devices/*/idVendor")
		if err != nil {
			return err
		}
		for _, f := range files {
			dir := filepath.Dir(f)
			id, err := os.ReadFile(f)
			if err != nil || strings.TrimSpace(string(id)) != args[0] {
				continue // it may have gone
			}
			if parts, err := filepath.Glob(dir + "/*:*"); err == nil && len(parts) > 0 {
				say("INTERFACE %s", parts[0])
				return nil
			}
		}
	}
	return fmt.Errorf("no device of %s in %v", args[0], found)
}
