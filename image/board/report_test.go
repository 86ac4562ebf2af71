package board

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain writes the report when all scenarios were played.
func TestMain(m *testing.M) {
	code := m.Run()
	if *report != "" {
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
		s := &scenario{name: name, shows: shows, from: time.Now(), reel: x.reel}
		before := x.T
		x.T, x.scenario = t, s
		defer func() {
			x.T, x.scenario = before, nil
			s.to, s.failed = time.Now(), t.Failed()
			played.mu.Lock()
			defer played.mu.Unlock()
			played.scenarios = append(played.scenarios, s)
		}()
		do()
	})
}

// figure adds a measurement to the report.
func figure(t *testing.T, what, measured, limit string) {
	t.Logf("%s: %s (limit: %s)", what, measured, limit)
	played.mu.Lock()
	defer played.mu.Unlock()
	played.figures = append(played.figures, fmt.Sprintf("| %s | %s | %s |", what, measured, limit))
}

func (p *program) text(now time.Time) string {
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What the virtual board showed\n\nWritten by `make board ARGS=\"-report $PWD/docs/E2E.md\"` on %s, at commit %s. Do not edit.\n\n",
		now.UTC().Format("2 January 2006"), strings.TrimSpace(string(commit)))
	b.WriteString("QEMU's machine \"virt\" boots the Raspberry Pi's kernel and the card's very image. Phones are simulated ones on its USB, over usb-redir; drives are USB sticks that forget " +
		"half of what was not flushed when they lose power. What lies on them afterwards is read by stock restic. What only hardware can prove is in [HARDWARE.md](HARDWARE.md).\n\n" +
		"| scenario | shows | verdict | took |\n|---|---|---|---|\n")
	for _, s := range p.scenarios {
		verdict := "holds"
		if s.failed {
			verdict = "**FAILS**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d s |\n", s.name, s.shows, verdict, int(s.to.Sub(s.from).Seconds()))
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
