package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// table is one map for each run, from "task/tool" to what it took.
type table []map[string]cost

// results is all that was measured.
type results struct {
	machine, data, date string
	runs                int
	tools               []string
	usual, plain        table // with the processor's special instructions, and without
	room                int64 // bytes that a step may fill
	stored              map[string]int64
	skipped             string // why some tool is missing
}

// median is the middle of what f makes of the runs; false if the step was not measured.
func (t table) median(f func(map[string]cost) (float64, bool)) (float64, bool) {
	var all []float64
	for _, run := range t {
		if v, ok := f(run); ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2, true
}

func wall(c cost) float64 { return c.wall.Seconds() }
func cpu(c cost) float64  { return c.cpu.Seconds() }
func rss(c cost) float64  { return float64(c.rss) / 1e6 }

// of is the median of one figure of a step.
func (t table) of(step string, figure func(cost) float64) (float64, bool) {
	return t.median(func(run map[string]cost) (float64, bool) {
		c, ok := run[step]
		return figure(c), ok
	})
}

// ratio is the median of the ratios in one run of a step's figure to those of others, added up.
func (t table) ratio(step string, figure func(cost) float64, others ...string) (float64, bool) {
	return t.median(func(run map[string]cost) (float64, bool) {
		c, ok := run[step]
		sum := 0.0
		for _, o := range others {
			other, have := run[o]
			ok = ok && have
			sum += figure(other)
		}
		return figure(c) / math.Max(sum, 1e-6), ok
	})
}

// peer is the step that a task's figures are set beside: restic's, of the same work with all drives there.
func peer(task string) string {
	switch task {
	case "restore, a drive missing":
		task = "restore"
	case "scrub without the key":
		task = "read everything back"
	}
	return task + "/restic"
}

// rows are the lines of one table, each with the cells task, tool, wall, cpu, rss, ratio of wall and of cpu to restic's.
func (t table) rows() [][]string {
	var rows [][]string
	for _, task := range tasks {
		for _, tool := range []string{"boxd", "restic", "restic+", "borg", "rsync", "rsync+"} {
			step := task + "/" + tool
			w, ok := t.of(step, wall)
			if !ok {
				continue
			}
			c, _ := t.of(step, cpu)
			m, _ := t.of(step, rss)
			wr, _ := t.ratio(step, wall, peer(task))
			cr, _ := t.ratio(step, cpu, peer(task))
			rows = append(rows, []string{task, tool, fmt.Sprintf("%.2f", w), fmt.Sprintf("%.2f", c), fmt.Sprintf("%.0f", m), fmt.Sprintf("%.2f", wr), fmt.Sprintf("%.2f", cr)})
		}
	}
	return rows
}

var columns = []string{"task", "tool", "wall s", "CPU s", "RSS MB", "wall / restic", "CPU / restic"}

// notes are the sentences under a table: how boxd fares beside a peer that does the same work.
func (t table) notes() string {
	beside := func(step string, others ...string) string {
		w, _ := t.ratio(step, wall, others...)
		c, _ := t.ratio(step, cpu, others...)
		return fmt.Sprintf("wall %.2f, CPU %.2f", w, c)
	}
	return "A backup by boxd reads back what it stored before it says done; restic's does not. Beside restic's backup and check together: " +
		beside("first backup/boxd", "first backup/restic", "read everything back/restic") + ".\n\n" +
		"A restore by boxd reads back what it wrote; restic's does if told to --verify, which is the line restic+. Beside that: " +
		beside("restore/boxd", "restore/restic+") + "; with a drive missing: " + beside("restore, a drive missing/boxd", "restore/restic+") + ".\n"
}

// text is both tables for a terminal.
func (r *results) text() string {
	var b strings.Builder
	for _, part := range []struct {
		title string
		t     table
	}{{"", r.usual}, {"without assembly: a stand-in for a processor without instructions for AES and SHA-256", r.plain}} {
		if len(part.t) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n%-26s %-7s %9s %9s %8s %14s %14s\n", part.title, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6])
		for _, row := range part.t.rows() {
			fmt.Fprintf(&b, "%-26s %-7s %9s %9s %8s %14s %14s\n", row[0], row[1], row[2], row[3], row[4], row[5], row[6])
		}
		b.WriteString("\n" + part.t.notes())
	}
	fmt.Fprintf(&b, "\nWhat boxd restored, also with a drive missing, equals the source: names, sizes, times, bytes.\n")
	fmt.Fprintf(&b, "Stored: restic %s, boxd on two drives and parity %s.\n", megabytes(r.stored["restic"]), megabytes(r.stored["boxd"]))
	if r.skipped != "" {
		fmt.Fprintf(&b, "Not all peers were measured: %s.\n", r.skipped)
	}
	return b.String()
}

// The figures in BENCHMARKS.md stand between these lines; what people wrote around them stays.
const (
	figuresBegin = "<!-- figures: written by make bench -->\n"
	figuresEnd   = "<!-- end of figures -->\n"
)

// write puts the figures into dir's BENCHMARKS.md and draws benchmarks.svg.
func (r *results) write(dir string) error {
	file := filepath.Join(dir, "BENCHMARKS.md")
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(figuresBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(figuresEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s: the lines %q and %q are missing", file, figuresBegin, figuresEnd)
	}
	text := string(head) + figuresBegin + r.markdown() + figuresEnd + string(tail)
	return errors.Join(os.WriteFile(file, []byte(text), 0o644), os.WriteFile(filepath.Join(dir, "benchmarks.svg"), []byte(r.svg()), 0o644))
}

// markdown is both tables.
func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s; medians of %d runs; %s. Peers: %s.\n", r.date, r.data, r.runs, r.machine, strings.Join(r.tools, "; "))
	for _, part := range []struct {
		title string
		t     table
	}{{"With the processor's instructions for AES, SHA-256 and vectors", r.usual}, {"Without assembly", r.plain}} {
		if len(part.t) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n| %s |\n|%s\n", part.title, strings.Join(columns, " | "), "---|---|"+strings.Repeat("--:|", len(columns)-2))
		for _, row := range part.t.rows() {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		b.WriteString("\n" + part.t.notes())
	}
	fmt.Fprintf(&b, "\nStored: restic %s, boxd on two drives and parity %s.\n", megabytes(r.stored["restic"]), megabytes(r.stored["boxd"]))
	return b.String()
}

// svg draws the wall and CPU seconds of boxd as a part of restic's, task by task.
func (r *results) svg() string {
	const left, width, line, gap = 210, 480, 15, 14
	var b strings.Builder
	y := 46
	bar := func(v float64, colour, label string) {
		w := math.Min(v, 1.6) / 1.6 * width
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/><text x="%.1f" y="%d" class="v">%.2f %s</text>`+"\n", left, y, w, line-3, colour, left+w+6, y+10, v, label)
		y += line
	}
	for _, task := range tasks {
		w, ok := r.usual.ratio(task+"/boxd", wall, peer(task))
		if !ok {
			continue
		}
		c, _ := r.usual.ratio(task+"/boxd", cpu, peer(task))
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="t">%s</text>`+"\n", left-12, y+17, task)
		bar(w, "#2f7d5b", "wall")
		bar(c, "#8fc3a8", "CPU")
		if p, ok := r.plain.ratio(task+"/boxd", cpu, peer(task)); ok {
			bar(p, "#c9b27a", "CPU, no assembly")
		}
		y += gap
	}
	one := left + width*10/16
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 %d" font-family="sans-serif" font-size="12">
<style>text{fill:#222}.t{text-anchor:end}.v{font-size:10.5px;fill:#444}.h{font-size:14px;font-weight:bold}</style>
<rect width="820" height="%d" fill="#fff"/>
<text x="16" y="22" class="h">boxd over two drives and parity, as a part of restic's time (shorter is better)</text>
<line x1="%d" y1="34" x2="%d" y2="%d" stroke="#b33" stroke-dasharray="3 3"/><text x="%d" y="%d" fill="#b33">restic = 1</text>
`, y+26, y+26, one, one, y, one-24, y+16)
	return head + b.String() + "</svg>\n"
}
