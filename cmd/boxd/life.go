//go:build !rescue

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// Names in a state folder of what tells how the box's program lived. None of it goes into the vault.
const (
	lifeName  = "life.json"
	crashName = "crash.txt"      // what Go's run time writes when this program fails
	lastCrash = "crash-last.txt" // what it wrote last
	maxCrash  = 64 << 10         // bytes of it that are kept
)

// howEnded is how the program's last life ended.
type howEnded string

// Endings.
const (
	firstLife howEnded = "none before"
	asAsked   howEnded = "as asked"
	crashed   howEnded = "crashed"    // of itself: a stack was left
	killed    howEnded = "killed"     // by somebody else, or the kernel for want of memory: nothing was left
	powerLost howEnded = "power lost" // the machine was started anew meanwhile: its plug was pulled, or its watchdog bit
)

// life is this run of the program, and what is known of the one before.
type life struct {
	dir     string
	boot    string // names this start of the machine; "" where none is known
	before  howEnded
	powerOn bool     // the first one since the machine was started
	crash   *os.File // nil if it could not be made
}

// lifeRecord is lifeName.
type lifeRecord struct {
	Boot string `json:"boot"` // see life.boot
	Over bool   `json:"over"` // it ended as it was asked to
}

// beginLife finds out how the program ended the last time, and sees to it that the next one finds out how this one does. A folder
// that cannot be written costs only that knowledge.
func beginLife(dir, boot string, log *slog.Logger) *life {
	l := &life{dir: dir, boot: boot, before: firstLife, powerOn: true}
	var r lifeRecord
	b, err := readSmall(filepath.Join(dir, lifeName), 1<<10)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil {
		l.powerOn = boot == "" || r.Boot != boot
		l.before = l.how(r)
	}
	log.Info("life", "before", string(l.before), "power_on", l.powerOn, "version", version)
	if l.before == crashed {
		err := os.Rename(filepath.Join(dir, crashName), filepath.Join(dir, lastCrash))
		text, rerr := readSmall(filepath.Join(dir, lastCrash), maxCrash)
		log.Error("crash", "stack", strings.Join(stackOf(text), " < "), "err", errors.Join(err, rerr))
	}
	err = l.write(lifeRecord{Boot: boot})
	if err == nil {
		l.crash, err = os.OpenFile(filepath.Join(dir, crashName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err == nil {
		err = debug.SetCrashOutput(l.crash, debug.CrashOptions{})
	}
	if err != nil {
		log.Warn("life", "not written down", err)
	}
	return l
}

func (l *life) how(r lifeRecord) howEnded {
	info, err := os.Stat(filepath.Join(l.dir, crashName))
	switch {
	case r.Over:
		return asAsked
	case err == nil && info.Size() > 0:
		return crashed
	case l.powerOn && l.boot != "":
		return powerLost
	}
	return killed
}

// words are for the owner; "" if there is nothing to tell. A pulled plug is no news to whoever pulled it.
func (l *life) words() string {
	switch l.before {
	case crashed:
		return "The box's program failed and was started again. Nothing is lost; if it happens again, send a report."
	case killed:
		return "The box's program was ended from outside and was started again."
	}
	return ""
}

// end notes that the program ends as it was asked to.
func (l *life) end() error {
	err := l.write(lifeRecord{l.boot, true})
	if l.crash != nil {
		err = errors.Join(err, debug.SetCrashOutput(nil, debug.CrashOptions{}), l.crash.Close())
	}
	return err
}

func (l *life) write(r lifeRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return putStateFile(l.dir, lifeName, b)
}

// stackOf is what may be told of a crash: the functions that it was in, innermost first, and where in them. The words of the
// failure stay out unless they are the run time's own: they may hold the name of a file.
func stackOf(text []byte) (lines []string) {
	const most = 40
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	for _, own := range []string{"panic: runtime error: ", "fatal error: ", "SIG"} {
		if bytes.HasPrefix(first, []byte(own)) {
			lines = append(lines, printable(string(first)))
		}
	}
	_, rest, found := bytes.Cut(rest, []byte("\ngoroutine "))
	if !found {
		return lines
	}
	for i, line := range strings.Split(string(rest), "\n") {
		if line == "" || len(lines) == most {
			break // the end of the goroutine that failed
		}
		switch at, isPlace := strings.CutPrefix(line, "\t"); {
		case i == 0:
		case isPlace:
			place, _, _ := strings.Cut(filepath.Base(at), " ")
			lines = append(lines, printable(place))
		default:
			call := strings.TrimPrefix(line, "created by ")
			if n := strings.LastIndexByte(call, '('); n > 0 {
				call = call[:n] // arguments are addresses and sizes
			}
			lines = append(lines, printable(call))
		}
	}
	return lines
}

// bootID names this start of the machine, "" where the system does not tell.
func bootID() string {
	b, err := readSmall("/proc/sys/kernel/random/boot_id", 100)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return strings.TrimSpace(string(b))
}
