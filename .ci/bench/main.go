// Bench measures boxd beside rsync, stock restic and borg in one run on one machine: what they take to copy a phone, to
// copy it again unchanged, to restore it and to read everything back; several times over, and then once more with boxd and
// restic built without assembly, as a stand-in for a processor that has no instructions for AES, SHA-256 and vectors.
// Absolute figures belong to the machine; the ratios are what is promised.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// settings are the flags.
type settings struct {
	boxd, restic           string
	plainBoxd, plainRestic string
	scale                  float64
	runs                   int
	dir, report            string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var s settings
	flag.StringVar(&s.boxd, "boxd", "bin/boxd", "the boxd to measure")
	flag.StringVar(&s.restic, "restic", ".cache/bin/restic", "the restic to measure beside it")
	flag.StringVar(&s.plainBoxd, "plain-boxd", "", "a boxd built without assembly, to measure as well")
	flag.StringVar(&s.plainRestic, "plain-restic", "", "a restic built without assembly")
	flag.Float64Var(&s.scale, "scale", 1, "size of the phone; 1 is about 4.2 GB and needs 40 GB of room")
	flag.IntVar(&s.runs, "runs", 5, "how often everything is measured; figures are medians")
	flag.StringVar(&s.dir, "dir", "", "where to work, a new folder in it; default: the folder for temporary files")
	flag.StringVar(&s.report, "report", "", "write BENCHMARKS.md and benchmarks.svg into this folder")
	data := flag.String("data", "", "only write the phone's files into this folder")
	memory := flag.Int64("touch", 0, "only touch so many bytes of memory")
	flag.Parse()
	err := func() error {
		if *memory > 0 {
			return touch(*memory)
		}
		if *data != "" {
			files, size, err := phone(*data, s.scale)
			fmt.Printf("%d files, %s\n", files, megabytes(size))
			return err
		}
		return bench(ctx, os.Stdout, s)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench makes the phone, runs every step as often as asked and prints the tables.
func bench(ctx context.Context, out io.Writer, s settings) (err error) {
	dir, err := os.MkdirTemp(s.dir, "boxbench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source := filepath.Join(dir, "phone")
	files, size, err := phone(source, s.scale)
	if err != nil {
		return err
	}
	if err := same(source, source); err != nil { // reads it all, so nobody reads it cold
		return err
	}
	r := results{
		machine: fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, processor()),
		data:    fmt.Sprintf("%d files, %s", files, megabytes(size)),
		room:    size + size*3/5, // what boxd writes for two drives and parity, and some
		date:    time.Now().UTC().Format(time.DateOnly), runs: s.runs, tools: versions(ctx, s),
	}
	fmt.Fprintf(out, "%s, from a folder; %s\n\n", r.data, r.machine)
	for i := range s.runs {
		fmt.Fprintf(os.Stderr, "run %d of %d\n", i+1, s.runs)
		if err := r.once(ctx, filepath.Join(dir, "run"), source, s.boxd, s.restic, &r.usual); err != nil {
			return err
		}
		if s.plainBoxd == "" || s.plainRestic == "" {
			continue
		}
		if err := r.once(ctx, filepath.Join(dir, "run"), source, s.plainBoxd, s.plainRestic, &r.plain); err != nil {
			return err
		}
	}
	fmt.Fprint(out, r.text())
	if s.report == "" {
		return nil
	}
	return r.write(s.report)
}

// once runs all steps in a folder of their own, checks what was restored and removes the folder.
func (r *results) once(ctx context.Context, dir, source, boxd, restic string, into *table) (err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	steps, err := plan(dir, source, boxd, restic)
	if err != nil {
		return err
	}
	got := map[string]cost{}
	for _, s := range steps {
		if into == &r.plain && s.tool != "boxd" && !strings.HasPrefix(s.tool, "restic") {
			continue
		}
		if s.skip != "" {
			r.skipped = s.skip
			continue
		}
		c, err := measure(ctx, s, r.room)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  %-26s %-6s %8.2f s  cpu %8.2f s\n", s.task, s.tool, c.wall.Seconds(), c.cpu.Seconds())
		got[s.task+"/"+s.tool] = c
	}
	for _, restored := range []string{"box-restored", "box-degraded"} {
		if err := same(source, filepath.Join(dir, restored)); err != nil {
			return fmt.Errorf("what boxd restored is not what it backed up: %w", err)
		}
	}
	if r.stored == nil {
		if r.stored, err = stored(dir); err != nil {
			return err
		}
	}
	*into = append(*into, got)
	return nil
}

// stored is what the copies take on the drives, in bytes.
func stored(dir string) (map[string]int64, error) {
	restic, err := onDisk(filepath.Join(dir, "restic"))
	if err != nil {
		return nil, err
	}
	box, err := onDisk(filepath.Join(dir, "drive1"), filepath.Join(dir, "drive2"), filepath.Join(dir, "drive3"))
	return map[string]int64{"restic": restic, "boxd": box}, err
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
