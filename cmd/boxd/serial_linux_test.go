//go:build !rescue

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"phonebackupbox/firmware"
)

// openPty opens a pair of terminals: the far end, and the path of the near one.
func openPty(t *testing.T) (far *os.File, near string) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	if err := unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(far.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return far, fmt.Sprintf("/dev/pts/%d", n)
}

// hears reads from the far end until words came.
func hears(t *testing.T, far *os.File, words string) {
	t.Helper()
	var all []byte
	p := make([]byte, 4096)
	for !bytes.Contains(all, []byte(words)) {
		n, err := far.Read(p)
		if err != nil {
			t.Fatalf("before %q: %v; heard %q", words, err, all)
		}
		all = append(all, p[:n]...)
	}
}

// A box on a serial line that is full of garbage, as of a terminal at another speed: it answers what makes sense, gives nothing away
// without its code, and ends when it is told to.
func TestTheConsoleOnASerialLine(t *testing.T) {
	far, near := openPty(t)
	l := &lab{T: t, state: t.TempDir()}
	l.runOn(&bays{}, func() {
		a := &appliance{box: l.box}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.converse(ctx, near, l.state, filepath.Join(l.state, boxLog)) }()
		hears(t, far, "box> ")
		random, noise := rand.New(rand.NewPCG(1, 1)), make([]byte, 2000)
		for i := range noise {
			if noise[i] = byte(random.Uint32()); noise[i] == '\r' || noise[i] == '\n' {
				noise[i] = 0x1b
			}
		}
		go func() { _, _ = far.Write(append(noise, "xx\r"...)) }() // its echo is read meanwhile
		hears(t, far, "! ")
		for typed, answer := range map[string]string{"stastus\x7f\x7f\x7f\x7ftus\r": "protection:", "report\r": "this console is locked", "shutdown yes\r": "this console is locked"} {
			if _, err := far.WriteString(typed); err != nil {
				t.Fatal(err)
			}
			hears(t, far, answer)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s := l.box.State(); s.Phase == firmware.Stopping || s.Phase == firmware.Off {
			t.Errorf("the box does as a locked console says: %s", s.Phase)
		}
	})
}

func TestConsolePort(t *testing.T) {
	active := filepath.Join(t.TempDir(), "active")
	for said, want := range map[string]string{"tty0 ttyAMA0\n": "/dev/ttyAMA0", "ttyS0 tty1\n": "/dev/ttyS0", "tty0\n": "", "": ""} {
		writeFile(t, active, []byte(said), time.Now())
		if got, err := consolePort(autoConsole, active); got != want || err != nil {
			t.Errorf("%q: %q, %v", said, got, err)
		}
	}
	if got, err := consolePort("/dev/ttyGS0", active); got != "/dev/ttyGS0" || err != nil {
		t.Error(got, err)
	}
}

// What an unlocked console has of the box's log.
func TestConsoleTellsTheLog(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, boxLog)
	writeFile(t, log, []byte("one\ntwo\nthree\n"), time.Now())
	a := &appliance{box: firmware.New(firmware.Config{})}
	say := func(name string, args ...string) string {
		for _, c := range a.consoleCommands(dir, log) {
			if c.Name == name {
				var b strings.Builder
				if err := c.Run(t.Context(), &b, args); err != nil {
					return "! " + err.Error()
				}
				return b.String()
			}
		}
		return ""
	}
	if got := say("log", "2"); got != "two\nthree\n" {
		t.Errorf("%q", got)
	}
	if got := say("log", "many"); !strings.HasPrefix(got, "! ") {
		t.Errorf("%q", got)
	}
	if got := say("report"); !strings.Contains(got, "phase starting") || !strings.Contains(got, "three") {
		t.Errorf("%q", got)
	}
}
