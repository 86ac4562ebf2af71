//go:build !rescue && linux

package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
)

// TestPhonesAreEnrolledByCommand: a box begins with what the command enrolled, nobody changes the folder of a box that runs, a
// second box on it is refused, and a terminal that goes is a clean end.
func TestPhonesAreEnrolledByCommand(t *testing.T) {
	s, phone := newSite(t, 3, 1), filepath.Join(t.TempDir(), "card")
	makePhone(t, phone)
	state := filepath.Join(s.dir, "state")
	name := "folder:" + phone
	_, errs := must(t, exitFailed, "phones", "forget", name, "--state", state)
	if !strings.Contains(errs, "is not enrolled") || !strings.Contains(errs, "none is") {
		t.Errorf("forget a stranger: %s", errs)
	}
	must(t, exitFailed, "phones", "enrol", name+"-that-is-not-there", "--state", state)
	out, _ := must(t, exitOK, "phones", "enrol", name, "--state", state, "--json")
	if res := decode[enrolResult](t, out); string(res.ID) != name || res.Order != 1 || !res.Enrolled {
		t.Errorf("%+v", res)
	}
	if _, errs := must(t, exitFailed, "phones", "enrol", name, "--state", state); !strings.Contains(errs, "enrolled already") {
		t.Errorf("enrolled twice: %s", errs)
	}

	// Where SIGHUP is ignored, as under nohup, a child ignores it too; not one of a process that listens to it.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log := filepath.Join(s.dir, "log")
	b := runSite(t, s, state, phone, "--log", log)
	b.until(allThere) // without a tap
	if _, errs := must(t, exitFailed, "run", "--web", anyPort, "--drive", t.TempDir(), "--key-file", s.key, "--state", state); !strings.Contains(errs, "another boxd is at work") || !strings.Contains(errs, "stop it first") {
		t.Errorf("a second box on the state folder: %s", errs)
	}
	b.takesCommands(t, state, name)
	if err := b.stop(syscall.SIGHUP); err != nil {
		t.Fatalf("SIGHUP: %v\n%s", err, strings.Join(b.said, "\n"))
	}
	if p, err := os.ReadFile(log); err != nil || !strings.Contains(string(p), "to=verifying") || strings.Contains(string(p), phone) {
		t.Errorf("the log: %s, %v", p, err)
	}
	if end := decode[runResult](t, b.out.String()); len(end.Phones) != 1 || end.Phones[0].Outcome != firmware.Stored {
		t.Errorf("at the end: %+v", end)
	}

	if out, _ := must(t, exitOK, "phones", "forget", name, "--state", state); !strings.Contains(out, "card") || !strings.Contains(out, "is forgotten") {
		t.Errorf("forget: %s", out)
	}
	if p, err := os.ReadFile(filepath.Join(state, enrolledName)); err != nil || strings.TrimSpace(string(p)) != "[]" {
		t.Errorf("remembered still: %s, %v", p, err)
	}
}

// takesCommands has the box that runs forget its only phone and enrol it again, and asks it for what cannot be.
func (b *runningBox) takesCommands(t *testing.T, state, name string) {
	t.Helper()
	refused := func(want string, args ...string) {
		t.Helper()
		if _, errs := must(t, exitFailed, append(args, "--state", state)...); !strings.Contains(errs, want) {
			t.Errorf("%v: %s, want %q", args, errs, want)
		}
	}
	refused("no phone is plugged in that the box does not back up already", "phones", "enrol", "any")
	refused("that phone is enrolled already", "phones", "enrol", name)
	refused("that phone is not plugged in", "phones", "enrol", "mtp:OTHER")
	refused("that phone is not enrolled", "phones", "forget", "mtp:OTHER")
	out, _ := must(t, exitOK, "phones", "forget", name, "--state", state)
	if !strings.Contains(out, "card ("+name+") is forgotten") {
		t.Errorf("forget: %s", out)
	}
	b.until("is forgotten")
	if p, err := os.ReadFile(filepath.Join(state, enrolledName)); err != nil || strings.TrimSpace(string(p)) != "[]" {
		t.Errorf("the command said that it is forgotten, and remembered is %s, %v", p, err)
	}
	refused("that phone is not enrolled", "phones", "forget", name)
	out, _ = must(t, exitOK, "phones", "enrol", "any", "--state", state, "--json")
	if res := decode[enrolResult](t, out); string(res.ID) != name || res.Name != "card" || res.Order != 1 || !res.Enrolled || res.Later {
		t.Errorf("enrol: %+v", res)
	}
	b.until(allThere)
}

// TestAppsSurviveARestart: how chat apps' own backups stand is told by a box that was started anew, without the phone.
func TestAppsSurviveARestart(t *testing.T) {
	s, phone := newSite(t, 2, 1), filepath.Join(t.TempDir(), "card")
	file := filepath.Join(phone, "Android/media/com.whatsapp/WhatsApp/Databases/msgstore.db.crypt15")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	b := runSite(t, s, filepath.Join(s.dir, "state"), filepath.Join(s.dir, "no phone"))
	address := b.until("http://")
	b.until("The box is ready.")
	if p := page(t, address); !strings.Contains(p, "WhatsApp: last local backup") {
		t.Errorf("the page does not tell of WhatsApp:\n%s", p)
	}
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if end := decode[runResult](t, b.out.String()); len(end.Phones) != 1 || len(end.Phones[0].Apps) != 1 || end.Phones[0].Apps[0].Backup.IsZero() {
		t.Errorf("at the end: %+v", end.Phones)
	}
}

// A phone is taken in by the page of this computer, too.
func TestAPhoneIsEnrolledOnThePage(t *testing.T) {
	s, phone := newSite(t, 2, 1), filepath.Join(t.TempDir(), "card")
	makePhone(t, phone)
	b := runSite(t, s, filepath.Join(s.dir, "state"), phone)
	line := b.until("http://")
	b.until(asksPhone)
	m := regexp.MustCompile(`value="([0-9a-f]+)"><button>Back it up from now on`).FindStringSubmatch(page(t, line))
	if m == nil {
		t.Fatalf("not offered:\n%s", page(t, line))
	}
	resp, err := http.PostForm(strings.TrimSpace(line[strings.Index(line, "http://"):])+"do", url.Values{"do": {m[1]}})
	if err != nil || resp.StatusCode != http.StatusOK { // after the redirect
		t.Fatalf("%v, %v", resp, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	b.until("is enrolled")
	b.until(allThere)
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// A socket's path is short; a state folder's need not be.
func TestControlOfAFolderWithALongPath(t *testing.T) {
	state := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := askBox(t.Context(), state, "enrol", "any"); !errors.Is(err, errNoBox) {
		t.Errorf("nobody is there: %v", err)
	}
	a := appliance{box: firmware.New(firmware.Config{})} // it does not run, and says that no phone is here
	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	for range 2 { // the second finds what one that was killed has left
		if err := a.control(ctx, g, state); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := askBox(t.Context(), state, "enrol", "any"); err == nil || !strings.Contains(err.Error(), "no phone is plugged in") {
		t.Errorf("asked: %v", err)
	}
	if info, err := os.Stat(filepath.Join(state, controlName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
