package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// restAfter is how long a box that is done is left alone before its memory is looked at. Upkeep begins after five minutes.
	restAfter = 2 * time.Minute
	// restWithin is the longest that a box may take to be done.
	restWithin = 10 * time.Minute
)

// rest has a box back the phone up, leaves it alone, and prints the memory that it holds then.
func rest(ctx context.Context, boxd, phone, state string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, restWithin+restAfter)
	defer cancel()
	log := filepath.Join(state, "scale.log")
	if err := errors.Join(os.RemoveAll(log), os.MkdirAll(state, 0o700)); err != nil {
		return err
	}
	enrol := exec.CommandContext(ctx, boxd, "phones", "enrol", "folder:"+phone, "--state", state)
	if out, err := enrol.CombinedOutput(); err != nil {
		return fmt.Errorf("enrol: %w\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, boxd, append([]string{"run", "--phone", "folder:" + phone, "--log", log, "--web", "127.0.0.1:0"}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	err := done(ctx, log)
	held, herr := int64(0), error(nil)
	if err == nil {
		select {
		case <-time.After(restAfter):
		case <-ctx.Done():
		}
		held, herr = resident(cmd.Process.Pid)
	}
	stop := cmd.Process.Signal(syscall.SIGTERM)
	if err := errors.Join(err, herr, stop); err != nil {
		return fmt.Errorf("at rest: %w\n%s", errors.Join(err, cmd.Wait()), said.Bytes())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("at rest: %w\n%s", err, said.Bytes())
	}
	fmt.Printf("| at rest, %v after an unchanged backup | | | %d | |\n", restAfter, held)
	return nil
}

// done waits until the box's log says that a backup is.
func done(ctx context.Context, log string) error {
	for {
		p, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if strings.Contains(string(p), "to=done") {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("the box was never done; its log:\n%s", p)
		}
	}
}

// resident is the memory that a process holds, in MB, rounded up.
func resident(pid int) (int64, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(p))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm says %q", p)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return (pages*int64(os.Getpagesize()) + 999_999) / 1_000_000, err
}
