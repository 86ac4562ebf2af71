//go:build !rescue

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/usbhost/folder"
)

// stuckMark as the first argument makes the test binary a backup that stops half-way and waits there.
const stuckMark = "run-a-backup-that-sticks"

// backUpStuck backs a folder up, and halts in the middle, with every lock held, until somebody kills it.
func backUpStuck(dir, key string, drives []string) int {
	ctx := context.Background()
	c := &call{stdio: stdio{os.Stdin, os.Stdout, os.Stderr}}
	card, err := folder.Open(dir)
	if err != nil {
		return c.fail(err)
	}
	f := vaultFlags{drives: drives, keyFile: key}
	r, err := f.open(ctx, writing)
	if err != nil {
		return c.fail(err)
	}
	stick := func() {
		fmt.Println("stuck")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	return c.fail(errors.Join(backUp(ctx, c, r, &haltingPhone{Phone: card, n: 100, interrupt: stick}), r.close()))
}

// TestTwoProcesses: beside a backup in another process, whatever reads works and whatever would write is refused with a line
// that says what to do. Killed outright, that process leaves nothing behind that keeps the next one out.
func TestTwoProcesses(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	want := contents(t, phone)
	for i := range 150 {
		if err := os.WriteFile(filepath.Join(phone, fmt.Sprintf("new-%d", i)), []byte(fmt.Sprint("new ", i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := exec.Command(os.Args[0], append([]string{stuckMark, phone, s.key}, s.drives...)...)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "stuck\n" {
		t.Fatalf("the other process says %q (%v)", line, err)
	}

	for _, args := range [][]string{
		{"backup", "folder:" + phone}, {"vault", "prune"}, {"vault", "repair"}, {"drive", "add", filepath.Join(s.dir, "new")},
		{"drive", "remove", s.drives[0]}, {"key", "rotate"},
	} {
		code, out, errs := boxd(t, s.with(args...)...)
		lines := strings.Split(strings.TrimSpace(strings.TrimPrefix(errs, "note:")), "\n")
		if code != exitFailed || out != "" || !strings.Contains(lines[0], "is in use by another boxd") || !strings.Contains(errs, "wait until the other boxd has finished") || len(lines) > 2 {
			t.Errorf("%v beside a backup: exit %d\n%s%s", args, code, out, errs)
		}
	}
	must(t, exitOK, s.with("snapshots")...)
	must(t, exitOK, s.with("ls", "latest")...)
	must(t, exitOK, s.with("cat", "latest", "plain.txt")...)
	must(t, exitOK, s.with("vault", "status")...)
	must(t, exitOK, s.with("vault", "verify")...)
	must(t, exitOK, s.with("vault", "scrub")...)
	to := filepath.Join(s.dir, "restored")
	must(t, exitOK, s.with("restore", "latest", "--to", to)...)
	same(t, want, contents(t, to))

	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err == nil {
		t.Error("the other process ended by itself")
	}
	must(t, exitOK, s.with("vault", "prune")...)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	must(t, exitOK, s.with("vault", "verify")...)
	to = filepath.Join(s.dir, "restored again")
	must(t, exitOK, s.with("restore", "latest", "--to", to)...)
	same(t, contents(t, phone), contents(t, to))
}
