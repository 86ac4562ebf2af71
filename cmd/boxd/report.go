//go:build !rescue

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/firmware"
	"phonebackupbox/ui/web"
)

// boxLog is the log of the box, in its state folder (image/init).
const boxLog = "log.txt"

// maxReport bounds the lines of the log in a report.
const maxReport = 1000

func reportCommand(flags *pflag.FlagSet) action {
	log := flags.String("log", "", "the log's `file`; default "+boxLog+" in the state folder")
	return func(_ context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		dir, err := stateFolder(c.state)
		if err != nil {
			return err
		}
		text := report(dir, cmp.Or(*log, filepath.Join(dir, boxLog)), nil)
		return c.print(map[string]string{"report": text}, func(w io.Writer) { fmt.Fprint(w, text) })
	}
}

// report is what whoever helps the owner needs to know: one text that the owner can read before sending it on. It has no secrets, no
// names of phones, drives or files, and no serial numbers. s is nil of a box that does not run.
func report(dir, log string, s *firmware.State) string {
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	p("Report of a phone backup box. It holds no names, no keys and no serial numbers; read it before you send it.")
	p("")
	p("version %s, %s/%s, up %v", version, runtime.GOOS, runtime.GOARCH, uptime().Round(time.Second))
	if m, err := readSmall("/proc/meminfo", 64<<10); err == nil {
		for line := range strings.Lines(string(m)) {
			if strings.HasPrefix(line, "MemTotal:") || strings.HasPrefix(line, "MemAvailable:") {
				p("%s", strings.Join(strings.Fields(line), " "))
			}
		}
	}
	if c, err := readConfig(dir); err != nil {
		p("settings: cannot be read")
	} else {
		p("settings: unlock %s, restore by button %s, retention %+v", cmp.Or(c.Unlock, "card"), cmp.Or(c.RestoreByButton, "yes"), c.Retention)
	}
	if s != nil {
		reportState(p, *s)
	}
	if text, err := readSmall(filepath.Join(dir, lastCrash), maxCrash); err == nil {
		p("\nthe last crash:")
		for _, line := range stackOf(text) {
			p("  %s", line)
		}
	}
	p("\nthe log:")
	for _, line := range lastLines(log, maxReport) {
		p("%s", line)
	}
	return unnamed(dir, b.String())
}

// textsOf are what the page lets its owner take away.
func (a *appliance) textsOf(state, log string) []web.Text {
	return []web.Text{
		{Name: "report", Label: "A report, for whoever helps: without names and secrets", Make: func() string { s := a.box.State(); return report(state, log, &s) }},
		{Name: "log", Label: "The log", Make: func() string { return strings.Join(append(lastLines(log, maxReport), ""), "\n") }},
	}
}

func reportState(p func(string, ...any), s firmware.State) {
	p("phase %s, %d phones known, %d plugged in, %d backups", s.Phase, len(s.Phones), len(s.Ports), len(s.Backups))
	for _, f := range s.Faults {
		p("fault %s %s", f.Code, f.Sentence)
	}
	h := s.Health
	p("protection: want %d, now %d, lost %d, unhealed %d, uneven %d", h.Want, h.Now, h.Lost, h.Unhealed, h.Uneven)
	d := s.Upkeep.Drill
	p("drill: %.0f %%, bad %d, mended %d, hit %d", d.Fraction*100, d.Bad, d.Mended, d.Lost)
	for i, d := range h.Drives {
		p("drive %d: %s, %s free of %s", i+1, d.State, firmware.Bytes(d.Free), firmware.Bytes(d.Total))
		if c, ok := s.CheckOf(d.ID); ok {
			p("  check: %.0f %%, bad %d, mended %d, lost %d", c.Fraction*100, c.Bad, c.Mended, c.Lost)
		}
	}
}

// lastLines are the last n lines of a log and of the one before it.
func lastLines(log string, n int) []string {
	var all []string
	for _, name := range []string{log + ".1", log} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, maxLog+1<<16))
		_ = f.Close() // it was only read
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			all = append(all, printable(strings.TrimRight(string(line), "\r\n")))
		}
		all = slices.Clone(all[max(0, len(all)-n):])
	}
	return all
}

// unnamed takes out of a text what should not be in it in the first place: the names and numbers of the phones that the box knows, and
// its words.
func unnamed(dir, text string) string {
	if b, err := readSmall(filepath.Join(dir, enrolledName), maxStateFile); err == nil {
		var known []firmware.Enrolment
		if json.Unmarshal(b, &known) == nil {
			for i, e := range known {
				_, serial, _ := strings.Cut(string(e.ID), ":")
				for _, secret := range []string{string(e.ID), serial, e.Name} {
					if len(secret) >= 3 { // a shorter one would be found in ordinary words
						text = strings.ReplaceAll(text, secret, fmt.Sprintf("[phone %d]", i+1))
					}
				}
			}
		}
	}
	if b, err := readSmall(filepath.Join(dir, cardKeyName), maxKeyFile); err == nil {
		words := strings.Fields(string(b))
		for i := range len(words) - 1 {
			text = strings.ReplaceAll(text, words[i]+" "+words[i+1], "[words]")
		}
	}
	return text
}
