package vboard

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"phonebackupbox/hal"
)

var escape = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

func TestRenderASCII(t *testing.T) {
	for _, tt := range []struct {
		frame   hal.Frame
		pressed bool
		want    string
	}{
		{hal.Frame{}, false, "( )( )( )( )( )  < > [ ]"},
		{hal.Frame{hal.Percent(1), hal.Percent(20), hal.Percent(60), 255, 0, 255}, true, "(.)(o)(O)(@)( )  <@> [#]"},
	} {
		if got := Render(tt.frame, tt.pressed, ASCII); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%v is drawn as %q, want %q", tt.frame, got, tt.want)
		}
	}
}

func TestColouredPictures(t *testing.T) {
	dark := Render(hal.Frame{}, false, TrueColour)
	for _, d := range []Depth{TrueColour, Colour256} {
		seen := map[string]string{}
		for name, f := range map[string]hal.Frame{"dark": {}, "dot": {hal.Percent(1)}, "dim": {80}, "bright": {255}, "amber": {5: 255}, "second": {0, 255}} {
			lines := Render(f, false, d)
			if len(lines) != len(dark) {
				t.Fatalf("%s has %d lines, not %d", name, len(lines), len(dark))
			}
			for i, l := range lines {
				if n := utf8.RuneCountInString(escape.ReplaceAllString(l, "")); n != Width {
					t.Errorf("%s: line %d has %d columns", name, i, n)
				}
				if !strings.HasSuffix(l, "\x1b[0m") {
					t.Errorf("%s: line %d leaves its colours on", name, i)
				}
			}
			all := strings.Join(lines, "\n")
			if other := seen[all]; other != "" {
				t.Errorf("depth %d: %s looks like %s", d, name, other)
			}
			seen[all] = name
		}
	}
}

// Every step of brightness is at least as bright on the screen as the one below, and a dot is no darkness.
func TestBrighterLooksBrighter(t *testing.T) {
	x, _ := lightAt(2)
	sum := func(l hal.Level) float64 {
		c, ok := pixel(hal.Frame{2: l}, false, int(x), int(ledY))
		if !ok {
			t.Fatal("the light is off the box")
		}
		return c.r + c.g + c.b
	}
	for l := hal.Level(1); l != 0; l++ {
		if sum(l) < sum(l-1) {
			t.Errorf("level %d is darker than %d", l, l-1)
		}
	}
	if sum(1) < sum(0)+40 {
		t.Errorf("a dot (%v) cannot be told from darkness (%v)", sum(1), sum(0))
	}
}

func TestLookOf(t *testing.T) {
	for _, tt := range []struct {
		terminal        bool
		columns         int
		term, colorterm string
		want            Look
	}{
		{false, 0, "xterm-256color", "truecolor", Look{ASCII, false, 0}},
		{true, 120, "xterm-256color", "truecolor", Look{TrueColour, true, 120}},
		{true, 120, "xterm-256color", "", Look{Colour256, true, 120}},
		{true, 120, "vt100", "", Look{ASCII, true, 120}},
		{true, 120, "dumb", "truecolor", Look{ASCII, false, 120}},
		{true, 40, "xterm-256color", "truecolor", Look{ASCII, true, 40}},
	} {
		if got := LookOf(tt.terminal, tt.columns, tt.term, tt.colorterm); got != tt.want {
			t.Errorf("%+v gives %+v", tt, got)
		}
	}
}

// screen plays what was written on a terminal that knows only what a board uses.
func screen(t *testing.T, written string) []string {
	t.Helper()
	lines := []string{""}
	row := 0
	for written != "" {
		if loc := escape.FindStringIndex(written); loc != nil && loc[0] == 0 {
			seq := written[:loc[1]]
			written = written[loc[1]:]
			switch seq[len(seq)-1] {
			case 'A':
				n, err := strconv.Atoi(seq[2 : len(seq)-1])
				if err != nil || n > row {
					t.Fatalf("moves up by %q from line %d", seq, row)
				}
				row -= n
			case 'J':
				lines = append(lines[:row], "")
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(written)
		written = written[n:]
		switch r {
		case '\n':
			row++
			if row == len(lines) {
				lines = append(lines, "")
			}
		case '\r':
		default:
			lines[row] += string(r)
		}
	}
	return lines
}

func TestLivePictureStaysInPlace(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, Look{ASCII, true, 40})
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(b.Show(hal.Frame{255}))
	do(b.Status("one", "two"))
	do(b.Println("a line that stays"))
	do(b.Status("three: \x1b[2J\n" + strings.Repeat("x", 99)))
	fmt.Fprintf(b.Writer(), "piece by ")
	w := b.Writer()
	fmt.Fprintf(w, "piece by ")
	fmt.Fprintf(w, "piece\r\nnext\n")
	do(b.Show(hal.Frame{255, 255}))
	do(b.Close())
	want := []string{"a line that stays", "piece by piece", "next", "(@)(@)( )( )( )  < > [ ]", "three: ·[2J·" + strings.Repeat("x", 27), ""}
	if got := screen(t, out.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the screen shows %q\nwant             %q", got, want)
	}
	if !strings.HasSuffix(out.String(), "\x1b[?25h") {
		t.Error("the cursor is not given back")
	}
}

func TestPlainLinesAreFew(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, Look{})
	for i := range 1000 {
		if err := b.Show(hal.Frame{hal.Level(i)}); err != nil {
			t.Fatal(err)
		}
		if err := b.Status([]string{"backing up", "done"}[i/500], fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Println("hm\x1b[2J"); err != nil {
		t.Fatal(err)
	}
	want := "( )( )( )( )( )  < > [ ]  backing up\n(@)( )( )( )( )  < > [ ]  done\nhm·[2J\n"
	if out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		line    string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"写真写真", 5, "写真"}, {"e\u0301e\u0301e", 2, "e\u0301e\u0301"}, {"😀😀", 3, "😀"}, {"x", 0, ""}} {
		if got := cut(tt.line, tt.columns); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.line, tt.columns, got, tt.want)
		}
	}
}

// A simulated press bounces as a cheap contact does, and lasts as long as it was told.
func TestPresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(&bytes.Buffer{}, Look{})
		go func() {
			if known, err := b.Key(t.Context(), 's'); !known || err != nil {
				t.Errorf("key s: %v, %v", known, err)
			}
		}()
		var edges []hal.Edge
		for range 6 {
			e, err := b.Edge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			edges = append(edges, e)
		}
		for i, e := range edges {
			if e.Down != (i%2 == 0) {
				t.Errorf("edge %d: down %v", i, e.Down)
			}
		}
		if held := edges[3].At.Sub(edges[2].At); held != 3503*time.Millisecond {
			t.Errorf("held for %v", held)
		}
	})
}

// slowly is a terminal that takes its time.
type slowly struct{}

func (slowly) Write(p []byte) (int, error) {
	time.Sleep(2 * time.Second) // of the bubble
	return len(p), nil
}

// A computer that is late makes no tap a hold: the edges tell when the hand moved.
func TestATapIsATapHoweverSlowTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(slowly{}, Look{Live: true})
		go func() {
			if err := b.Tap(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		var edges []hal.Edge
		for range 6 {
			e, err := b.Edge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			edges = append(edges, e)
		}
		if held := edges[3].At.Sub(edges[2].At); held != 107*time.Millisecond {
			t.Errorf("held for %v", held)
		}
	})
}

func TestACancelledHoldLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(&bytes.Buffer{}, Look{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Hold(ctx, time.Minute); err == nil {
			t.Error("no error")
		}
		last := hal.Edge{Down: true}
		for range 6 {
			e, err := b.Edge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last = e
		}
		if last.Down {
			t.Error("the button stays down")
		}
	})
}
