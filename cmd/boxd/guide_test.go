//go:build !rescue

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheGuideGetsEverythingBack is a person who mistypes a word, types the others on six lines, names a folder that
// holds something, and then another.
func TestTheGuideGetsEverythingBack(t *testing.T) {
	s := newSite(t, 3, 1)
	phone := filepath.Join(s.dir, "phone")
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	out, _ := must(t, exitOK, "key", "words", "--key-file", s.key, "--json")
	words := strings.Fields(decode[map[string]string](t, out)["words"])
	var typed strings.Builder
	fmt.Fprintln(&typed, strings.Join(words[:20], " "), "aple")
	for i := range 6 {
		fmt.Fprintln(&typed, strings.ToUpper(strings.Join(words[4*i:4*i+4], " ")))
	}
	fmt.Fprintf(&typed, "7\n1\n%s\nrestored\n", s.drives[0])
	var said bytes.Buffer
	g := &guide{c: &call{stdio: stdio{nil, &said, &said}}, in: bufio.NewReader(strings.NewReader(typed.String())), home: s.dir}
	if err := g.run(t.Context(), s.drives[:2]); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for _, want := range []string{"word 21", "aple", "From 1 to 1", "holds something", "Done: "} {
		if !strings.Contains(strings.ToLower(said.String()), strings.ToLower(strings.TrimPrefix(want, "From "))) {
			t.Errorf("never said %q:\n%s", want, said.String())
		}
	}
	same(t, contents(t, phone), contents(t, filepath.Join(s.dir, "restored")))
}

// TestRescueProgram builds the program that lies on every drive and restores with it, as somebody would who has two of
// three drives and the words: by command, and without one.
func TestRescueProgram(t *testing.T) {
	if raceDetector {
		t.Skip("it runs a program that is built without the detector")
	}
	s := newSite(t, 3, 1)
	phone := filepath.Join(s.dir, "phone")
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	exe := filepath.Join(s.drives[0], "rescue", "rescue-test")
	build := exec.Command("go", "build", "-tags", "rescue", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	byCommand := filepath.Join(s.dir, "by-command")
	sh(t, exe, s.without(2, "restore", "latest", "--to", byCommand)...)
	same(t, contents(t, phone), contents(t, byCommand))
	rescueProves(t, s, exe, contents(t, phone))
	if out, err := exec.Command(exe, "backup", "folder:"+phone).CombinedOutput(); err == nil || !strings.Contains(string(out), "no command") {
		t.Errorf("the rescue program writes to drives: %v\n%s", err, out)
	}

	// With one drive of three the guide finds the drive that it lies on, and says what is missing.
	key, err := os.ReadFile(s.key)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Stdin = strings.NewReader(string(key) + "1\n" + filepath.Join(s.dir, "partly") + "\n\n")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), s.drives[0]) || !strings.Contains(string(out), "Not here: the drive that was called drive1") || !strings.Contains(string(out), "cannot be read") {
		t.Errorf("with one drive of three: %v\n%s", err, out)
	}
}

// rescueProves does with the rescue program what else it is for: any two of three drives are listed, verified, exported
// without the key and served without it, and stock restic agrees; one drive alone is refused by name.
func rescueProves(t *testing.T, s site, exe string, want map[string]string) {
	t.Helper()
	two := []string{"--drive", s.drives[1], "--drive", s.drives[2]}
	out, err := exec.Command(exe, s.without(1, "snapshots", "--json")...).Output()
	if list := decode[[]snapshotJSON](t, string(out)); err != nil || len(list) != 1 || !list[0].Complete {
		t.Errorf("snapshots: %v, %+v", err, list)
	}
	// A drive is missing, so that verify and status say 3: all is readable, and less protected than asked for.
	for _, what := range []string{"verify", "status"} {
		out, err := exec.Command(exe, s.without(0, "vault", what)...).CombinedOutput()
		if ee := new(exec.ExitError); !errors.As(err, &ee) || ee.ExitCode() != exitIncomplete {
			t.Errorf("vault %s without a drive: %v\n%s", what, err, out)
		}
	}
	plain := filepath.Join(s.dir, "plain")
	sh(t, exe, s.without(0, "vault", "export", "latest", "--to", plain)...)
	same(t, want, contents(t, plain))
	repo := filepath.Join(s.dir, "repo")
	out, err = exec.Command(exe, "vault", "export", "--format", "restic", "--to", repo, "--drive", s.drives[2]).CombinedOutput()
	if _, serr := os.Stat(repo); err == nil || serr == nil || !strings.Contains(string(out), "away: drive0, drive1") {
		t.Errorf("an export of one drive of three: %v\n%s", err, out)
	}
	sh(t, exe, append([]string{"vault", "export", "--format", "restic", "--to", repo}, two...)...)
	restic := func(at string, args ...string) {
		t.Helper()
		sh(t, findRestic(t), append([]string{"-r", at, "--password-file", s.key, "--no-cache"}, args...)...)
	}
	restic(repo, "check", "--read-data")
	served := filepath.Join(s.dir, "served")
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"vault", "serve", "--json", "--listen", "127.0.0.1:0"}, two...)...)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var at serveJSON
	if err := json.NewDecoder(said).Decode(&at); err != nil {
		t.Fatal(err)
	}
	restic(at.URL, "restore", "latest", "--target", served)
	same(t, want, contents(t, served))
	if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
		t.Errorf("serve, interrupted: %v", err)
	}
}
