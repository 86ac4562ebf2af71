//go:build !rescue

package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/vboard"
)

// screen tells what happened, line by line, and how the box is.
type screen struct {
	face  face
	quiet atomic.Bool // a person types: nothing is said that was not asked for
}

// say writes a line that stays. An error of the terminal is found when it is closed.
func (s *screen) say(format string, args ...any) {
	_ = s.face.Println(fmt.Sprintf(format, args...))
}

func (s *screen) title(n int, text string) {
	if n > 0 {
		text = fmt.Sprintf("%d. %s", n, text)
	}
	s.say("")
	s.say("── %s %s", text, strings.Repeat("─", max(2, vboard.Width-4-len([]rune(text)))))
}

// follow shows every State under the lights, and what happened above them, until the States end.
func (s *screen) follow(states <-chan firmware.State) error {
	var last firmware.Line
	for st := range states {
		if s.quiet.Load() {
			continue
		}
		for _, l := range news(st.Lines, last) {
			s.say("    %s", l.Text)
			last = l
		}
		if err := s.face.Status(statusLines(st, time.Now())...); err != nil {
			return err
		}
	}
	return nil
}

// news are the lines after last.
func news(lines []firmware.Line, last firmware.Line) []firmware.Line {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i] == last {
			return lines[i+1:]
		}
	}
	return lines
}

// words are the phases as a person would say them.
var words = map[firmware.Phase]string{
	firmware.Starting: "starting", firmware.VaultLocked: "the vault is locked", firmware.Idle: "idle",
	firmware.Asking: "a new phone: tap to back it up from now on", firmware.AskingDrive: "a new drive: tap to use it",
	firmware.AskingPage: "a page asks: tap to say yes",
	firmware.Waiting:    "unlock your phone", firmware.Copying: "backing up", firmware.Verifying: "reading back",
	firmware.Done: "done: every file stored, read back and protected. Unplug", firmware.Problem: "needs you",
	firmware.Arming: "keep holding to restore", firmware.Confirming: "double tap to restore",
	firmware.Restoring: "restoring", firmware.Restored: "restored: the phone has everything. Unplug",
	firmware.Stopping: "letting go of the drives", firmware.Off: "off: pull the power",
}

// statusLines are what stands under the lights.
func statusLines(st firmware.State, now time.Time) []string {
	head := words[st.Phase]
	if p, ok := st.CurrentPhone(); ok {
		head = p.Name + ": " + head
	}
	if f, ok := st.Fault(); ok {
		head += fmt.Sprintf("  %s %s", f.Code, f.Sentence)
	}
	lines := []string{head}
	switch p := st.Progress; {
	case p != nil && st.Job.Kind != firmware.NoJob:
		lines = append(lines, barLine(p.Doing, p.Bytes, p.BytesTotal, p.Moved, now.Sub(p.Began), rest(p)))
	case st.Heal != nil:
		lines = append(lines, barLine("healing", st.Heal.Done, st.Heal.Total, st.Heal.Done, now.Sub(st.Heal.Began), ""))
	}
	return lines
}

// rest is what the bar has no room for otherwise.
func rest(p *firmware.Progress) string {
	if p.FilesTotal == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s/%s files", count(p.Files), count(p.FilesTotal)))
}
