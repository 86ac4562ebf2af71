package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// bar draws progress in one line of a terminal; on anything else it draws nothing. It is safe for concurrent use.
type bar struct {
	w       io.Writer
	columns int
	label   string
	start   time.Time

	mu    sync.Mutex // guards last and shown
	last  time.Time
	shown bool
}

// newBar returns a bar for the terminal behind w.
func newBar(w io.Writer, label string) *bar {
	b := &bar{label: label, start: time.Now()}
	if columns, ok := terminal(w); ok {
		b.w, b.columns = w, columns
	}
	return b
}

// show draws done of total bytes, moved of which had to be worked for, at most ten times a second. A total of 0 is not
// known yet.
func (b *bar) show(done, total, moved int64, note string) {
	if b.w == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.shown && now.Sub(b.last) < 100*time.Millisecond && (total == 0 || done < total) {
		return
	}
	b.last, b.shown = now, true
	fmt.Fprintf(b.w, "\r\x1b[K%s", fit(barLine(b.label, done, total, moved, now.Sub(b.start), note), b.columns-1))
}

// clear removes the bar, so that other lines can be printed.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.shown = false
	}
}

const barWidth = 24 // cells

// barLine is one line of progress without colours.
func barLine(label string, done, total, moved int64, took time.Duration, note string) string {
	if total <= 0 {
		return fmt.Sprintf("%s  %s  %s", label, size(done), note)
	}
	share := min(1, float64(done)/float64(total))
	eighths := int(share * barWidth * 8)
	cells := strings.Repeat("█", eighths/8)
	if eighths%8 > 0 {
		cells += string([]rune("▏▎▍▌▋▊▉")[eighths%8-1])
	}
	cells += strings.Repeat("·", barWidth-len([]rune(cells)))
	line := fmt.Sprintf("%s ▕%s▏ %3.0f %%  %s of %s", label, cells, share*100, size(done), size(total))
	if s := took.Seconds(); s >= 1 && moved > 0 {
		rate := float64(moved) / s
		line += fmt.Sprintf("  %s/s", size(int64(rate)))
		if left := time.Duration(float64(total-done) / rate * float64(time.Second)); done < total {
			line += "  " + timeLeft(left) + " left"
		}
	}
	if note != "" {
		line += "  " + note
	}
	return line
}

// timeLeft rounds d as a person would say it.
func timeLeft(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds())+1)
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes())+1)
	default:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// fit cuts s to n columns, taking every rune for one.
func fit(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n])
}
