// Scale measures boxd on a vault of a million files: 1.5 million blobs in 200,000 packs over three drives, of which the
// packs of files are made up. Every figure is a fresh process of boxd: wall time, the most memory that it ever had, and what
// it wrote. The vault is made by the test TestScaleVault and -build; see make scale.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	boxd := flag.String("boxd", "bin/boxd", "the boxd to measure")
	drivesOnly := flag.Bool("build", false, "only make the drives; another process measures, since the kernel counts a child's memory from what its parent had")
	only := flag.String("only", "", "measure only steps whose name has this in it")
	flag.Parse()
	err := func() error {
		if flag.NArg() != 1 {
			return errors.New("name the folder that TestScaleVault made")
		}
		if *drivesOnly {
			return build(ctx, flag.Arg(0))
		}
		return measure(ctx, *boxd, flag.Arg(0), *only)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		stop()
		os.Exit(1)
	}
}

// most is how much memory a step may take, in MB.
const most = 200

// step is one command.
type step struct {
	name  string
	prime func() error // is done before
	args  []string
}

func measure(ctx context.Context, boxd, dir, only string) error {
	state, phone := filepath.Join(dir, "state"), filepath.Join(dir, "phone")
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	common := []string{"--state", state, "--key-file", filepath.Join(dir, "key")}
	for i := range drives {
		common = append(common, "--drive", filepath.Join(dir, fmt.Sprint("drive-", i+1)))
	}
	fresh, second := filepath.Join(phone, "folder-0007", "new"), filepath.Join(dir, "second")
	steps := []step{
		{"status, no cache", func() error { return os.RemoveAll(state) }, []string{"vault", "status"}},
		{"status", nil, []string{"vault", "status"}},
		{"snapshots", nil, []string{"snapshots"}},
		{"ls of a folder", nil, []string{"ls", "latest", "folder-0123"}},
		{"ls of all", nil, []string{"ls", "latest"}},
		{"unchanged backup", nil, []string{"backup", "folder:" + phone}},
		{"backup of one new file", func() error { return os.WriteFile(fresh, []byte(time.Now().String()), 0o644) }, []string{"backup", "folder:" + phone}},
		{"status after it", nil, []string{"vault", "status"}},
		{"prune --dry-run", nil, []string{"vault", "prune", "--dry-run"}},
		{"first backup of a second phone", func() error { return photos(second, secondBytes) }, []string{"backup", "folder:" + second}},
	}
	fmt.Println("| step | wall s | CPU s | most memory MB | written KB |")
	fmt.Println("|---|--:|--:|--:|--:|")
	for _, s := range steps {
		if !strings.Contains(s.name, only) {
			continue
		}
		if s.prime != nil {
			if err := s.prime(); err != nil {
				return err
			}
		}
		if err := one(ctx, s.name, boxd, append(s.args, common...)); err != nil {
			return err
		}
	}
	if strings.Contains("at rest", only) {
		if err := rest(ctx, boxd, phone, state, common); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(fresh), os.RemoveAll(second))
}

// one runs one command and prints what it took.
func one(ctx context.Context, name, boxd string, args []string) error {
	cmd := exec.CommandContext(ctx, boxd, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 0 && cmd.ProcessState.ExitCode() != 3 { // 3: a box that keeps no words
		return fmt.Errorf("%s: %w\n%s", name, err, errs.Bytes())
	}
	u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("this system does not tell what a process took")
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	// Linux counts memory in KiB and writes in blocks of 512 bytes (getrusage(2)).
	peak := (u.Maxrss*1024 + 999_999) / 1_000_000
	fmt.Printf("| %s | %.2f | %.2f | %d | %d |\n", name, wall.Seconds(), cpu.Seconds(), peak, u.Oublock/2)
	if peak > most {
		return fmt.Errorf("%s: it took %d MB of memory, and may take %d", name, peak, most)
	}
	return nil
}
