// Bench measures boxd beside rsync and stock restic in one run on one machine: what they take to copy a phone, to copy it
// again unchanged, to restore it and to read everything back. Absolute figures belong to the machine; the ratios are what
// is promised.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	boxd := flag.String("boxd", "bin/boxd", "the boxd to measure")
	restic := flag.String("restic", ".cache/bin/restic", "the restic to measure beside it")
	scale := flag.Float64("scale", 1, "size of the phone; 1 is about 4.2 GB and needs 25 GB of room")
	dir := flag.String("dir", "", "where to work, a new folder in it; default: the folder for temporary files")
	data := flag.String("data", "", "only write the phone's files into this folder")
	flag.Parse()
	err := func() error {
		if *data != "" {
			files, size, err := phone(*data, *scale)
			fmt.Printf("%d files, %s\n", files, megabytes(size))
			return err
		}
		return bench(ctx, os.Stdout, *boxd, *restic, *dir, *scale)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// step is one thing that is measured.
type step struct {
	task, tool string // what is done, and by whom
	name       string // the command
	args       []string
	skip       string // why it cannot be measured here
}

// bench makes the phone, runs every step and prints the table.
func bench(ctx context.Context, out io.Writer, boxd, restic, parent string, scale float64) error {
	dir, err := os.MkdirTemp(parent, "boxbench")
	if err != nil {
		return err
	}
	err = benchIn(ctx, out, dir, boxd, restic, scale)
	return errors.Join(err, os.RemoveAll(dir))
}

func benchIn(ctx context.Context, out io.Writer, dir, boxd, restic string, scale float64) error {
	source := filepath.Join(dir, "phone")
	files, size, err := phone(source, scale)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d files, %s, from a folder; %d cores, %s/%s, %s\n\n", files, megabytes(size), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, processor())
	if err := same(source, source); err != nil { // reads it all, so nobody reads it cold
		return err
	}
	steps, err := plan(dir, source, boxd, restic)
	if err != nil {
		return err
	}
	got := map[string]cost{}
	for _, s := range steps {
		c := cost{}
		if s.skip == "" {
			if c, err = measure(ctx, s.name, s.args...); err != nil {
				return err
			}
		}
		got[s.task+"/"+s.tool] = c
		fmt.Fprintln(out, row(s, c, got))
	}
	ours, theirs, check := got["first backup/boxd"], got["first backup/restic"], got["read everything back/restic"]
	fmt.Fprintf(out, "\nA backup by boxd reads back what it stored before it says done; restic's does not. Beside restic's backup and check\n"+
		"together: wall %.2f cpu %.2f\n", ratio(ours.wall, theirs.wall+check.wall), ratio(ours.cpu, theirs.cpu+check.cpu))
	for _, restored := range []string{"box-restored", "box-degraded"} {
		if err := same(source, filepath.Join(dir, restored)); err != nil {
			return fmt.Errorf("what boxd restored is not what it backed up: %w", err)
		}
	}
	fmt.Fprintln(out, "\nWhat boxd restored, also with a drive missing, equals the source: names, sizes, times, bytes.")
	return sizes(out, dir, size)
}

// plan lists the steps in order: each task by every tool, one after the other.
func plan(dir, source, boxd, restic string) ([]step, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	key, password := in("key"), in("password")
	if err := os.WriteFile(password, []byte("bench\n"), 0o600); err != nil {
		return nil, err
	}
	two := []string{"--drive", in("drive1"), "--drive", in("drive2"), "--key-file", key, "--state", in("state")}
	three := append([]string{"--drive", in("drive3")}, two...)
	box := func(task string, drives []string, args ...string) step {
		return step{task: task, tool: "boxd", name: boxd, args: append(args, drives...)}
	}
	res := func(task string, args ...string) step {
		return step{task: task, tool: "restic", name: restic, args: append(args, "--quiet", "--repo", in("restic"), "--password-file", password, "--cache-dir", in("cache"))}
	}
	sync := func(task string, args ...string) step {
		s := step{task: task, tool: "rsync", name: "rsync", args: append([]string{"-a"}, args...)}
		if _, err := exec.LookPath("rsync"); err != nil {
			s.skip = "rsync is not installed"
		}
		return s
	}
	flushed := sync("first backup")
	flushed.tool, flushed.name = "rsync+", "sh" // boxd and restic return when all is on the drives; so does this one
	flushed.args = []string{"-c", `rsync -a "$1" "$2" && sync -f "$2"`, "sh", source + "/", in("rsync-flushed")}
	return []step{
		res("make the vault", "init"),
		box("make the vault", three, "vault", "create", "--survive", "1"),
		sync("first backup", source+"/", in("rsync")),
		flushed,
		res("first backup", "backup", "--compression", "off", source),
		box("first backup", three, "backup", "folder:"+source),
		sync("unchanged backup", source+"/", in("rsync")),
		res("unchanged backup", "backup", "--compression", "off", source),
		box("unchanged backup", three, "backup", "folder:"+source),
		sync("restore", in("rsync")+"/", in("rsync-restored")),
		res("restore", "restore", "latest", "--target", in("restic-restored")),
		box("restore", three, "restore", "latest", "--to", in("box-restored")),
		box("restore, one drive missing", two, "restore", "latest", "--to", in("box-degraded")),
		res("read everything back", "check", "--read-data"),
		box("read everything back", three, "vault", "verify"),
	}, nil
}

// row is one line of the table: the cost, and its ratio to what others took for the same task.
func row(s step, c cost, got map[string]cost) string {
	line := fmt.Sprintf("%-26s  %-6s", s.task, s.tool)
	if s.skip != "" {
		return line + "  " + s.skip
	}
	line += fmt.Sprintf("  %8.2f s  cpu %8.2f s  rss %8s", c.wall.Seconds(), c.cpu.Seconds(), megabytes(c.rss))
	if s.tool != "boxd" {
		return line
	}
	task, _, _ := strings.Cut(s.task, ",")
	for _, peer := range []string{"restic", "rsync", "rsync+"} {
		if p, ok := got[task+"/"+peer]; ok && p.wall > 0 {
			line += fmt.Sprintf("  | of %s: wall %.2f cpu %.2f", peer, ratio(c.wall, p.wall), ratio(c.cpu, p.cpu))
		}
	}
	return line
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, time.Microsecond)) }

// sizes tells what the copies take on the drives.
func sizes(out io.Writer, dir string, source int64) error {
	for _, place := range []struct {
		name string
		dirs []string
	}{{"restic", []string{"restic"}}, {"boxd, two drives and parity", []string{"drive1", "drive2", "drive3"}}} {
		for i, d := range place.dirs {
			place.dirs[i] = filepath.Join(dir, d)
		}
		n, err := onDisk(place.dirs...)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-28s stores %s: %.2f of the source\n", place.name, megabytes(n), float64(n)/float64(max(source, 1)))
	}
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// processor is the model and whether it has instructions for AES, which decide most of all.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	model, aes := "unknown processor", "no AES instructions"
	for line := range strings.SplitSeq(string(b), "\n") {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags", "Features":
			if strings.Contains(" "+value+" ", " aes ") {
				aes = "AES instructions"
			}
		}
	}
	return model + ", " + aes
}
