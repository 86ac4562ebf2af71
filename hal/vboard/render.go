// Package vboard is a board in a terminal: six lights as they would look on the box, and a button that code or keys press.
package vboard

import (
	"fmt"
	"math"
	"strings"

	"phonebackupbox/hal"
)

// Depth is how many colours a terminal shows.
type Depth int

// Depths.
const (
	ASCII      Depth = iota // no colours, no escapes, one line
	Colour256               // the 6×6×6 cube and greys of xterm
	TrueColour              // 24 bits
)

// Width is how many columns the coloured picture takes.
const Width = 64

// Render draws a frame, and the button beside it, as lines without a line end. It is pure.
func Render(f hal.Frame, pressed bool, d Depth) []string {
	if d == ASCII {
		return []string{renderASCII(f, pressed)}
	}
	lines := make([]string, 0, rows/2+2)
	for y := 0; y < rows; y += 2 {
		lines = append(lines, half(f, pressed, d, y))
		if y == labelAfter {
			lines = append(lines, label(d))
		}
	}
	return lines
}

// renderASCII tells brightness by the size of the letter in the lens.
func renderASCII(f hal.Frame, pressed bool) string {
	var b strings.Builder
	for i, l := range f {
		c := '@'
		switch {
		case l == 0:
			c = ' '
		case l <= hal.Percent(3):
			c = '.'
		case l < hal.Percent(40):
			c = 'o'
		case l < hal.Percent(80):
			c = 'O'
		}
		if i == hal.Amber {
			fmt.Fprintf(&b, "  <%c>", c)
		} else {
			fmt.Fprintf(&b, "(%c)", c)
		}
	}
	if pressed {
		b.WriteString(" [#]")
	} else {
		b.WriteString(" [ ]")
	}
	return b.String()
}

// The face of the box, in pixels: a column wide, half a row high, so that they are about square.
const (
	rows       = 12 // pixels
	labelAfter = 8  // the label's row comes after the pixels of this row
	ledY       = 5.0
	ledR       = 1.9 // radius of a lens
	firstX     = 7.0
	stepX      = 8.0
	amberX     = 48.0
	buttonX    = 57.0
	buttonR    = 2.7
)

type rgb struct{ r, g, b float64 }

var (
	body   = rgb{30, 32, 36}
	edge   = rgb{52, 55, 61}
	lens   = rgb{47, 50, 56}
	white  = rgb{255, 250, 238}
	amber  = rgb{255, 158, 20}
	ring   = rgb{72, 76, 84}
	knob   = rgb{112, 118, 128}
	knobIn = rgb{66, 132, 214} // a finger on it
	letter = rgb{128, 133, 142}
)

func mix(a, b rgb, t float64) rgb {
	t = min(max(t, 0), 1)
	return rgb{a.r + (b.r-a.r)*t, a.g + (b.g-a.g)*t, a.b + (b.b-a.b)*t}
}

func lightAt(i int) (x float64, colour rgb) {
	if i == hal.Amber {
		return amberX, amber
	}
	return firstX + stepX*float64(i), white
}

// inside reports whether a pixel belongs to the box, whose corners are round.
func inside(x, y int) bool {
	const r = 3.0
	cx := min(max(float64(x), r), Width-1-r)
	cy := min(max(float64(y), r), rows-1-r)
	return math.Hypot(float64(x)-cx, float64(y)-cy) <= r+0.3
}

// pixel is the colour of a point on the face, or false outside of it.
func pixel(f hal.Frame, pressed bool, x, y int) (rgb, bool) {
	if !inside(x, y) {
		return rgb{}, false
	}
	c := body
	if !inside(x-1, y) || !inside(x+1, y) || !inside(x, y-1) || !inside(x, y+1) {
		c = edge
	}
	for i, l := range f {
		lx, colour := lightAt(i)
		d := math.Hypot(float64(x)-lx, float64(y)-ledY)
		v := float64(l) / 255
		if l > 0 {
			v = 0.16 + 0.84*math.Pow(v, 0.9) // the eye sees a dot in the dark; a terminal in a lit room hardly would
		}
		if l > 0 {
			away := max(d-ledR, 0)
			c = mix(c, colour, 0.40*float64(l)/255*math.Exp(-away*away/4))
		}
		c = mix(c, mix(lens, colour, v*(1-0.10*d/ledR)), ledR+0.5-d) // the edge of a lens covers a pixel in part
	}
	d := math.Hypot(float64(x)-buttonX, float64(y)-ledY)
	top := knob
	if pressed {
		top = knobIn
	}
	c = mix(c, ring, buttonR+0.5-d)
	c = mix(c, top, buttonR-0.6-d)
	return c, true
}

// half draws two rows of pixels as one line of half blocks.
func half(f hal.Frame, pressed bool, d Depth, y int) string {
	var b strings.Builder
	was := ""
	for x := range Width {
		up, isUp := pixel(f, pressed, x, y)
		low, isLow := pixel(f, pressed, x, y+1)
		var style, glyph string
		switch {
		case isUp && isLow:
			style, glyph = d.fg(up)+d.bg(low), "▀"
		case isUp:
			style, glyph = d.fg(up)+"\x1b[49m", "▀"
		case isLow:
			style, glyph = d.fg(low)+"\x1b[49m", "▄"
		default:
			style, glyph = "\x1b[0m", " "
		}
		if style != was {
			b.WriteString(style)
			was = style
		}
		b.WriteString(glyph)
	}
	b.WriteString("\x1b[0m")
	return b.String()
}

// label is the row of names under the lights.
func label(d Depth) string {
	row := []rune(strings.Repeat(" ", Width))
	put := func(at float64, text string) {
		copy(row[int(at)-(len(text)-1)/2:], []rune(text))
	}
	for i := range hal.Bars {
		x, _ := lightAt(i)
		put(x, fmt.Sprint(i+1))
	}
	put(amberX, "!")
	put(buttonX, "press")
	return d.bg(edge) + " " + d.fg(letter) + d.bg(body) + string(row[1:Width-1]) + d.bg(edge) + " \x1b[0m"
}

func (d Depth) fg(c rgb) string { return d.colour(38, c) }

func (d Depth) bg(c rgb) string { return d.colour(48, c) }

func (d Depth) colour(layer int, c rgb) string {
	if d == TrueColour {
		return fmt.Sprintf("\x1b[%d;2;%d;%d;%dm", layer, int(c.r+0.5), int(c.g+0.5), int(c.b+0.5))
	}
	return fmt.Sprintf("\x1b[%d;5;%dm", layer, cube(c))
}

// cube is the nearest colour of xterm's 256: the 6×6×6 cube from 16, or the 24 greys from 232.
func cube(c rgb) int {
	levels := [...]float64{0, 95, 135, 175, 215, 255}
	nearest := func(v float64) int {
		best := 0
		for i, l := range levels {
			if math.Abs(l-v) < math.Abs(levels[best]-v) {
				best = i
			}
		}
		return best
	}
	r, g, b := nearest(c.r), nearest(c.g), nearest(c.b)
	dist := func(x rgb) float64 {
		return (x.r-c.r)*(x.r-c.r) + (x.g-c.g)*(x.g-c.g) + (x.b-c.b)*(x.b-c.b)
	}
	grey := min(max(int(math.Round(((c.r+c.g+c.b)/3-8)/10)), 0), 23)
	v := float64(8 + 10*grey)
	if dist(rgb{v, v, v}) <= dist(rgb{levels[r], levels[g], levels[b]}) {
		return 232 + grey
	}
	return 16 + 36*r + 6*g + b
}
