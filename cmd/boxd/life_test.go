//go:build !rescue

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// dieMark has this test's program die as boxd would.
const dieMark = "die-in-state-folder"

// dies begins a life in a child process, which then panics with the name of a file in its words.
func dies(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDies$")
	cmd.Env = append(os.Environ(), dieMark+"="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("Kontoauszug.pdf")) {
		t.Fatalf("it does not die: %v\n%s", err, out)
	}
}

// TestDies is the child of dies.
func TestDies(t *testing.T) {
	dir := os.Getenv(dieMark)
	if dir == "" {
		t.Skip("only as a child process")
	}
	beginLife(dir, "boot 1", slog.New(slog.DiscardHandler))
	panic(fmt.Errorf("cannot read %q", "DCIM/Kontoauszug.pdf"))
}

func TestHowALifeEnded(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	is := func(l *life, before howEnded, powerOn bool) *life {
		t.Helper()
		if l.before != before || l.powerOn != powerOn {
			t.Fatalf("before: %q, power on: %v; want %q, %v", l.before, l.powerOn, before, powerOn)
		}
		return l
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(is(beginLife(dir, "boot 1", log), firstLife, true).end())
	l := is(beginLife(dir, "boot 1", log), asAsked, false)
	must(l.crash.Close()) // killed
	l = is(beginLife(dir, "boot 1", log), killed, false)
	must(l.crash.Close()) // the plug is pulled
	must(is(beginLife(dir, "boot 2", log), powerLost, true).end())
	dies(t, dir)
	var b bytes.Buffer
	must(is(beginLife(dir, "boot 1", slog.New(slog.NewTextHandler(&b, nil))), crashed, false).end())
	if said := b.String(); !strings.Contains(said, "TestDies") || !strings.Contains(said, "life_test.go:") || strings.Contains(said, "Kontoauszug") {
		t.Errorf("the log says of the crash:\n%s", said)
	}
	must(is(beginLife(dir, "boot 3", log), asAsked, true).end())
}

// The report of a box with recognisable phones, drives, words, settings and a crash tells how it is, and none of them.
func TestAReportTellsNoSecrets(t *testing.T) {
	dir := t.TempDir()
	const words = "abandon ability able about above absent absorb abstract absurd abuse access accident account accuse achieve acid acoustic acquire across act action actor actress actual"
	enrolled, err := json.Marshal([]firmware.Enrolment{{ID: "mtp:SERIAL4711", Name: "Svetlanas Telefon", Order: 1}})
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, boxLog)
	for name, text := range map[string]string{enrolledName: string(enrolled), cardKeyName: words + "\n", configName: "unlock = \"card\" # geheim\n",
		boxLog: "level=WARN msg=\"of Svetlanas Telefon, SERIAL4711: abandon ability\"\nlevel=INFO msg=phase to=copying\n", boxLog + ".1": "level=INFO msg=older\n"} {
		writeFile(t, filepath.Join(dir, name), []byte(text), time.Now())
	}
	dies(t, dir)
	if err := beginLife(dir, "boot 1", slog.New(slog.DiscardHandler)).end(); err != nil {
		t.Fatal(err)
	}
	s := firmware.State{Phase: firmware.Copying, Current: "mtp:SERIAL4711", Phones: []firmware.Phone{{ID: "mtp:SERIAL4711", Name: "Svetlanas Telefon", Maker: "Hersteller"}},
		Lines: []firmware.Line{{Text: "Svetlanas Telefon: the backup begins."}}, Progress: &firmware.Progress{Name: "Kontoauszug.pdf"},
		Backups: []firmware.Backup{{Name: "Svetlanas Telefon"}}, Faults: []firmware.Fault{{Code: firmware.DriveMissing, Sentence: "A drive is missing.", Detail: "Ottos Platte"}},
		Health: firmware.Health{Want: 1, Drives: []firmware.Drive{{ID: "platte-4712", Label: "Ottos Platte", State: firmware.DriveAway, Note: "Ottos"}}}}
	s.Health.Drives[0].Free, s.Ports = 5e9, []firmware.Port{{Phone: usbhost.ID("mtp:SERIAL4711")}}
	_, command, _ := boxd(t, "report", "--state", dir)
	for which, text := range map[string]string{"running": report(dir, log, &s), "command": command} {
		for _, secret := range []string{"Svetlana", "4711", "4712", "Otto", "Hersteller", "Kontoauszug", "geheim", "abandon", "ability able"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: it tells %q:\n%s", which, secret, text)
			}
		}
		for _, fact := range []string{"version ", "unlock card", "msg=older", "to=copying", "TestDies", "[phone 1]"} {
			if !strings.Contains(text, fact) {
				t.Errorf("%s: it does not tell %q:\n%s", which, fact, text)
			}
		}
	}
	if text := report(dir, log, &s); !strings.Contains(text, "phase copying") || !strings.Contains(text, "B-10") || !strings.Contains(text, "drive 1: away, 5.0 GB") {
		t.Errorf("of the state it tells:\n%s", text)
	}
}

func TestTheLogInAReportIsBounded(t *testing.T) {
	log := filepath.Join(t.TempDir(), boxLog)
	var b bytes.Buffer
	for i := range 3 * maxReport {
		fmt.Fprintln(&b, "line", i)
	}
	writeFile(t, log, b.Bytes(), time.Now())
	writeFile(t, log+".1", []byte("before\n"), time.Now())
	lines := lastLines(log, maxReport)
	if len(lines) != maxReport || lines[0] != fmt.Sprint("line ", 2*maxReport) || lines[maxReport-1] != fmt.Sprint("line ", 3*maxReport-1) {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}
