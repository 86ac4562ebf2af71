package board

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain writes the report when all scenarios were played.
func TestMain(m *testing.M) {
	code := m.Run()
	if *report != "" {
		weigh()
		if err := os.WriteFile(*report, []byte(played.text(time.Now())), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// played is what is reported.
var played program

type program struct {
	mu        sync.Mutex // guards what follows
	scenarios []*scenario
	figures   []string // rows of a table
}

// scenario is what is told of one.
type scenario struct {
	name, shows string
	life        time.Time // when its box was made
	long        bool
	failed      bool
	from, to    time.Time
	heard       []heard
	reel        *reel
}

// heard is a line of the console that was waited for.
type heard struct {
	at   time.Time
	line string
}

// play plays a scenario on a box, and takes down how it went. shows is what it shows, for the report.
func (x *box) play(name, shows string, do func()) bool {
	return x.owner.Run(name, func(t *testing.T) {
		s := &scenario{name: name, shows: shows, life: x.since, long: x.long, from: time.Now(), reel: x.reel}
		before := x.T
		x.T, x.scenario = t, s
		defer func() {
			x.T, x.scenario = before, nil
			if s.to, s.failed = time.Now(), t.Failed(); s.failed {
				x.autopsy()
			}
			played.mu.Lock()
			defer played.mu.Unlock()
			played.scenarios = append(played.scenarios, s)
		}()
		do()
	})
}

// autopsy logs what a box that is not well wrote down of itself.
func (x *box) autopsy() {
	if x.m == nil {
		return
	}
	x.cut()
	perm := filepath.Join(x.dir, "perm.img")
	said, err := x.try("dd", "if="+x.card, "of="+perm, "bs=1M", "status=none", "conv=sparse", fmt.Sprintf("skip=%d", permAt/mib))
	if err == nil {
		_, _ = x.try("e2fsck", "-f", "-y", perm) // as init does
		said, err = x.try("debugfs", "-R", "cat /box/log.txt", perm)
	}
	x.owner.Logf("its log (%v):\n%s", err, said)
}

// figure adds a measurement to the report.
func figure(t *testing.T, what, measured, limit string) {
	t.Logf("%s: %s (limit: %s)", what, measured, limit)
	played.mu.Lock()
	defer played.mu.Unlock()
	played.figures = append(played.figures, fmt.Sprintf("| %s | %s | %s |", what, measured, limit))
}

// weigh adds how large the card's image is, as it is flashed and as make image packs it.
func weigh() {
	b, err := built()
	var raw os.FileInfo
	if err == nil {
		raw, err = os.Stat(b.image)
	}
	var packed []byte
	if err == nil {
		packed, err = exec.Command("sh", "-c", `xz -T2 -6 -c "$0" | wc -c`, b.image).Output()
	}
	n, nerr := strconv.Atoi(strings.TrimSpace(string(packed)))
	if err = errors.Join(err, nerr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	played.figures = append(played.figures, fmt.Sprintf("| the card's image | %d MB, %d MB to fetch (xz) | – |", raw.Size()/1e6, n/1e6))
}

func (p *program) text(now time.Time) string {
	slices.SortStableFunc(p.scenarios, func(a, b *scenario) int { return cmp.Or(a.life.Compare(b.life), a.from.Compare(b.from)) })
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What the virtual board showed\n\nWritten by `make board ARGS=\"-all -report $PWD/docs/E2E.md\"` on %s, at commit %s. Do not edit.\n\n",
		now.UTC().Format("2 January 2006"), strings.TrimSpace(string(commit)))
	b.WriteString("QEMU's machine \"virt\" boots the Raspberry Pi's kernel and the card's very image. Phones are simulated ones on its USB, over usb-redir; drives are USB sticks that forget " +
		"half of what was not flushed when they lose power. What lies on them afterwards is read by stock restic. What only hardware can prove is in [HARDWARE.md](HARDWARE.md).\n\n" +
		"| scenario | shows | verdict | took | played by |\n|---|---|---|---|---|\n")
	for _, s := range p.scenarios {
		verdict := "holds"
		if s.failed {
			verdict = "**FAILS**"
		}
		by := "make board, in CI"
		if s.long {
			by = "make e2e-all"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d s | %s |\n", s.name, s.shows, verdict, int(s.to.Sub(s.from).Seconds()), by)
	}
	if len(p.figures) > 0 {
		fmt.Fprintf(&b, "\n## Figures\n\nOn an emulated processor: only what is compared within one run means anything in seconds.\n\n| what | measured | limit |\n|---|---|---|\n%s\n", strings.Join(p.figures, "\n"))
	}
	b.WriteString("\n## What was seen\n\nFive white lights and the amber one, from left to right in time; a dot is a box without power, or one that does not show its lights yet.\n")
	for _, s := range p.scenarios {
		fmt.Fprintf(&b, "\n### %s\n\n```\n%s", s.name, s.strip())
		for _, h := range s.heard {
			fmt.Fprintf(&b, "%5.1f s  %s\n", h.at.Sub(s.from).Seconds(), strings.TrimSpace(h.line))
		}
		b.WriteString("```\n")
	}
	return b.String()
}

// columns is how wide a strip is.
const columns = 100

// strip draws the lights of a scenario, a row each: in each column the brightest that they were in its time.
func (s *scenario) strip() string {
	const levels = " ▁▂▃▄▅▆▇█"
	each := s.to.Sub(s.from) / columns
	var b strings.Builder
	for lamp := range 6 {
		name := fmt.Sprintf("light %d ", lamp+1)
		if lamp == 5 {
			name = "amber   "
		}
		b.WriteString(name)
		for c := range columns {
			from := s.from.Add(time.Duration(c) * each)
			level, known := s.reel.brightest(lamp, from, from.Add(each))
			r := []rune(levels)[int(level*8+0.999)]
			if !known {
				r = '·'
			}
			b.WriteRune(r)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// reel is all that a box's lights have shown.
type reel struct {
	mu     sync.Mutex // guards what follows
	frames []shot
}

// shot is what the lights show from an instant on.
type shot struct {
	at time.Time
	on bool // false: nobody can see them
	frame
}

func (r *reel) add(on bool, f frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, shot{time.Now(), on, f})
}

// last is the newest frame, if the lights can be seen.
func (r *reel) last() (frame, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.frames) == 0 {
		return frame{}, false
	}
	s := r.frames[len(r.frames)-1]
	return s.frame, s.on
}

// brightest is the highest level of a lamp in a time; known is whether anything was seen in it.
func (r *reel) brightest(lamp int, from, to time.Time) (level float64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.frames {
		ends := i+1 == len(r.frames) || r.frames[i+1].at.After(from)
		if s.on && s.at.Before(to) && ends {
			level, known = max(level, s.frame[lamp]), true
		}
	}
	return level, known
}

// Columns take the brightest of their time, whether or not the lights changed in it, and tell darkness from a box without power.
func TestStrip(t *testing.T) {
	from := time.Unix(1000, 0)
	r := &reel{frames: []shot{{at: from.Add(10 * time.Second), on: true, frame: frame{1}}, {at: from.Add(30 * time.Second), on: true},
		{at: from.Add(40500 * time.Millisecond), on: true, frame: frame{0, 0.5}}, {at: from.Add(40600 * time.Millisecond), on: true}, {at: from.Add(60 * time.Second)}}}
	s := &scenario{from: from, to: from.Add(columns * time.Second), reel: r}
	want := "light 1 " + strings.Repeat("·", 10) + strings.Repeat("█", 20) + strings.Repeat(" ", 30) + strings.Repeat("·", 40) + "\n" +
		"light 2 " + strings.Repeat("·", 10) + strings.Repeat(" ", 30) + "▄" + strings.Repeat(" ", 19) + strings.Repeat("·", 40) + "\n"
	if got := s.strip(); !strings.HasPrefix(got, want) {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}
