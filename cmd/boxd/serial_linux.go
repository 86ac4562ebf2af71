//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/rpi"
	"phonebackupbox/ui/console"
)

const (
	autoConsole  = "auto" // the port that the kernel writes its messages to
	consoleBaud  = 115200 // as in the kernel's command line
	consoleAgain = 10 * time.Second
	consoleIdle  = 10 * time.Minute      // of a person who went away
	consoleEvery = 50 * time.Millisecond // nobody types faster; noise does
)

// consolePort is the path of the port that --console names; "" if there is none.
func consolePort(name, active string) (string, error) {
	if name != autoConsole {
		return name, nil
	}
	b, err := readSmall(active, 1<<10)
	if err != nil {
		return "", err
	}
	ports := strings.Fields(string(b)) // the last is /dev/console (Linux, Documentation/ABI/testing/sysfs-tty)
	for i := len(ports) - 1; i >= 0; i-- {
		if tty, isScreen := strings.CutPrefix(ports[i], "tty"); !isScreen || tty == "" || tty[0] < '0' || tty[0] > '9' {
			return filepath.Join("/dev", ports[i]), nil
		}
	}
	return "", nil
}

// console lets whoever is at the serial port name ask for the status, and for more with the box's code, until ctx ends. A port that is
// stuck, or gone, is let go of and tried again later; the box never waits for it.
func (a *appliance) console(ctx context.Context, name, state, log string) error {
	port, err := consolePort(name, "/sys/class/tty/console/active")
	if err != nil || port == "" {
		a.screen.say("  no console: %v", errors.Join(err, errors.New("no serial port")))
		return nil
	}
	told := ""
	for ctx.Err() == nil {
		err := a.converse(ctx, port, state, log)
		if err != nil && err.Error() != told && ctx.Err() == nil {
			told = err.Error()
			a.screen.say("  console: %s", oneLine(err))
		}
		t := time.NewTimer(consoleAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	return nil
}

// converse speaks with one person: until they quit, or the port fails.
func (a *appliance) converse(ctx context.Context, port, state, log string) error {
	s, err := rpi.OpenSerial(port, consoleBaud)
	if err != nil {
		return err
	}
	c := console.New(a.box, console.Options{Echo: true, Prompt: "box> ", Locked: true, Unlock: a.unlock(), LockAfter: consoleIdle, Every: consoleEvery,
		Commands: a.consoleCommands(state, log)})
	err = c.Run(ctx, s)
	if cerr := s.Close(); err == nil && ctx.Err() == nil { // ctx's end has closed it already
		err = cerr
	}
	return err
}

// consoleCommands are what a console of the box has besides its own.
func (a *appliance) consoleCommands(state, log string) []console.Command {
	return []console.Command{
		{Name: "log", Args: "[LINES]", Help: "the last lines of the log", Run: func(_ context.Context, w io.Writer, args []string) error {
			n := 20
			if len(args) > 0 {
				var err error
				if n, err = strconv.Atoi(args[0]); err != nil || n < 1 || n > maxReport {
					return fmt.Errorf("log takes a number of lines, 1 to %d", maxReport)
				}
			}
			_, err := io.WriteString(w, strings.Join(append(lastLines(log, n), ""), "\n"))
			return err
		}},
		{Name: "update", Help: "which version runs, and what becomes of a new one", Run: func(_ context.Context, w io.Writer, _ []string) error {
			if a.updates == nil {
				return errors.New("this box takes no updates: it does not run from a card of its own")
			}
			s := a.updates.Status()
			lines := s.Lines()
			if on := s.Arriving; on != nil {
				lines = append(lines, fmt.Sprintf("Version %s is coming in: %s of %s.", printable(on.Version), firmware.Bytes(on.Done), firmware.Bytes(on.Size)))
			}
			_, err := io.WriteString(w, strings.Join(append(lines, ""), "\n"))
			return err
		}},
		{Name: "report", Help: "what to send to whoever helps; no names and no secrets", Run: func(_ context.Context, w io.Writer, _ []string) error {
			s := a.box.State()
			_, err := io.WriteString(w, report(state, log, &s))
			return err
		}},
	}
}
