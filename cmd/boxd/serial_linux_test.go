//go:build !rescue

package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/rpi/pty"
	"phonebackupbox/ui/web"
)

// openPty opens a pair of terminals: the far end, and the path of the near one.
func openPty(t *testing.T) (far *os.File, near string) {
	t.Helper()
	far, near, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return far, near
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

// A port that is flooded with noise, as fast as it takes it, holds nobody up; when that ends, what is typed is heard within seconds. The code
// opens it, and only then is there more than the status.
func TestAFloodOnTheSerialLine(t *testing.T) {
	far, near := openPty(t)
	l := &lab{T: t, state: t.TempDir()}
	l.runOn(&bays{}, func() {
		claim, err := web.OpenClaim(claimStore{l.state}, func() (time.Time, bool) { return time.Now(), true })
		if err != nil {
			t.Fatal(err)
		}
		a := &appliance{box: l.box, claim: claim}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.converse(ctx, near, l.state, filepath.Join(l.state, boxLog)) }()
		hears(t, far, "box> ")
		flooded := make(chan int, 1)
		if err := far.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			sent := 0
			for noise := bytes.Repeat([]byte("\xf8\x00\r~\r"), 1000); ; {
				n, err := far.Write(noise)
				if sent += n; err != nil {
					flooded <- sent
					return
				}
			}
		}()
		until := time.Now().Add(2 * time.Second)
		lines := 0
		for p := make([]byte, 4096); time.Now().Before(until); {
			if err := far.SetReadDeadline(until); err != nil {
				t.Fatal(err)
			}
			n, _ := far.Read(p)
			lines += bytes.Count(p[:n], []byte("this console is locked"))
		}
		if sent := <-flooded; sent < 10_000 || lines > 2*int(2*time.Second/consoleEvery) {
			t.Errorf("%d bytes of noise were taken and %d lines answered", sent, lines)
		}
		if err := errors.Join(far.SetWriteDeadline(time.Time{}), far.SetReadDeadline(time.Now().Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		for _, s := range [][2]string{{"status", "protection:"}, {"phones", "this console is locked"}, {"code " + claim.Code(), "ok; help tells"}, {"phones", "no phones yet"},
			{"update", "this box takes no updates"}, {"restore", "now: there is no backup"}, {"report", "the log:"}} {
			answered := make(chan struct{})
			go func() { // what is typed while noise is thrown away goes with it: a person types it again
				for {
					_, _ = far.WriteString(s[0] + "\r")
					select {
					case <-answered:
						return
					case <-time.After(2 * time.Second):
					}
				}
			}()
			hears(t, far, s[1])
			close(answered)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
