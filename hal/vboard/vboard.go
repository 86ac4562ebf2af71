package vboard

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"phonebackupbox/hal"
)

// Look is how a board is drawn.
type Look struct {
	Depth   Depth
	Live    bool // redrawn in place; only on a terminal
	Columns int  // of the terminal; 0: 80. Lines are cut to it
}

// LookOf chooses a Look: terminal tells whether the output is one, term and colorterm are what terminals put into
// TERM and COLORTERM.
func LookOf(terminal bool, columns int, term, colorterm string) Look {
	l := Look{Live: terminal && term != "dumb" && term != "", Columns: columns}
	switch {
	case !l.Live || columns > 0 && columns < Width:
	case colorterm == "truecolor" || colorterm == "24bit" || strings.Contains(term, "direct"):
		l.Depth = TrueColour
	case strings.Contains(term, "256color"):
		l.Depth = Colour256
	}
	return l
}

// Board is a simulated board. Its methods are safe for concurrent use.
type Board struct {
	look  Look
	edges chan hal.Edge

	mu      sync.Mutex // guards what follows, and the order of what is written
	out     io.Writer
	frame   hal.Frame
	pressed bool
	status  []string
	drawn   int // lines of the picture that stand on the terminal now
	said    string
	closed  bool
}

// New makes a board that draws to out. Close it before anything else writes there.
func New(out io.Writer, look Look) *Board {
	if look.Columns <= 0 {
		look.Columns = 80
	}
	return &Board{look: look, out: out, edges: make(chan hal.Edge, 64)}
}

// HAL is the board as the firmware sees it.
func (b *Board) HAL() hal.Board { return hal.Board{Strip: b, Button: b} }

// Show sets the lights. Where nothing can be redrawn in place, they are drawn by the next Status only.
func (b *Board) Show(f hal.Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f == b.frame && b.drawn > 0 {
		return nil
	}
	b.frame = f
	return b.redraw("")
}

// Frame is what the lights show.
func (b *Board) Frame() hal.Frame {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frame
}

// Status sets the lines under the lights. Where nothing can be redrawn in place, the lights and the first line are written
// as one line whenever that first line is another than before.
func (b *Board) Status(lines ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Equal(lines, b.status) {
		return nil
	}
	b.status = slices.Clone(lines)
	if b.look.Live || b.closed {
		return b.redraw("")
	}
	if len(lines) == 0 || lines[0] == b.said {
		return nil
	}
	b.said = lines[0]
	_, err := fmt.Fprintf(b.out, "%s  %s\n", renderASCII(b.frame, b.pressed), clean(lines[0]))
	return err
}

// Println writes a line that stays, above the picture.
func (b *Board) Println(line string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.look.Live || b.closed {
		_, err := fmt.Fprintln(b.out, clean(line))
		return err
	}
	return b.redraw(clean(line) + "\n")
}

// Close leaves the picture as it is and gives the terminal back.
func (b *Board) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !b.look.Live {
		b.closed = true
		return nil
	}
	err := b.redraw("")
	b.closed = true
	if _, werr := io.WriteString(b.out, "\x1b[?25h"); err == nil {
		err = werr
	}
	return err
}

// redraw writes above, then the picture over the one that stands there, in one piece.
func (b *Board) redraw(above string) error {
	if !b.look.Live || b.closed {
		return nil
	}
	var s strings.Builder
	s.WriteString("\x1b[?2026h\x1b[?25l") // hold the display until all is written (terminals that know how); no cursor
	if b.drawn > 0 {
		fmt.Fprintf(&s, "\x1b[%dA\r\x1b[J", b.drawn)
	}
	s.WriteString(above)
	lines := Render(b.frame, b.pressed, b.look.Depth)
	for _, l := range lines {
		s.WriteString(l + "\n")
	}
	for _, l := range b.status {
		s.WriteString(cut(clean(l), b.look.Columns-1) + "\n")
	}
	s.WriteString("\x1b[?2026l")
	b.drawn = len(lines) + len(b.status)
	_, err := io.WriteString(b.out, s.String())
	return err
}

// clean makes a line harmless for a terminal.
func clean(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(line, "·"))
}

// cut shortens a line to columns. Letters of East Asia and pictures take two.
func cut(line string, columns int) string {
	used := 0
	for i, r := range line {
		w := 1
		switch {
		case unicode.Is(unicode.Mn, r):
			w = 0
		case r >= 0x1100 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) || r >= 0x1F300 && r <= 0x1FAFF || r >= 0xFF01 && r <= 0xFF60):
			w = 2
		}
		if used+w > columns {
			return line[:i]
		}
		used += w
	}
	return line
}

// Edge waits for the next change of the button.
func (b *Board) Edge(ctx context.Context) (hal.Edge, error) {
	select {
	case e := <-b.edges:
		return e, nil
	case <-ctx.Done():
		return hal.Edge{}, ctx.Err()
	}
}

// Hold presses the button for d, with the bounces of a cheap contact, and returns when it is up again. The edges have the times that
// the hand meant: a computer that is busy must not make a tap a hold.
func (b *Board) Hold(ctx context.Context, d time.Duration) error {
	at, err := b.contact(ctx, true, time.Now())
	if err != nil {
		return err
	}
	waited := wait(ctx, d)
	if at = at.Add(d); waited != nil {
		at = time.Now() // a hand that is pulled away still lets go
	}
	if _, err := b.contact(context.WithoutCancel(ctx), false, at); err != nil {
		return err
	}
	return waited
}

// Tap presses the button shortly.
func (b *Board) Tap(ctx context.Context) error { return b.Hold(ctx, 107*time.Millisecond) }

// DoubleTap presses it twice.
func (b *Board) DoubleTap(ctx context.Context) error {
	if err := b.Tap(ctx); err != nil {
		return err
	}
	if err := wait(ctx, 143*time.Millisecond); err != nil {
		return err
	}
	return b.Tap(ctx)
}

// contact moves the contact at a time, bouncing, and returns when it came to rest. The bounces are told at once: their times tell when
// they were, and a computer that is late in between must not make two presses of one.
func (b *Board) contact(ctx context.Context, down bool, at time.Time) (time.Time, error) {
	if err := ctx.Err(); err != nil && down {
		return at, err
	}
	b.mu.Lock()
	b.pressed = down
	err := b.redraw("")
	b.mu.Unlock()
	if err != nil {
		return at, err
	}
	for i, after := range []time.Duration{0, 700 * time.Microsecond, 1300 * time.Microsecond} {
		at = at.Add(after)
		select {
		case b.edges <- hal.Edge{Down: down == (i%2 == 0), At: at}:
		case <-ctx.Done():
			return at, ctx.Err()
		}
	}
	return at, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Keys, for those who play with a simulated board.
const KeysHelp = "space: tap   d: double tap   s: hold 3 s   r: hold 11 s"

// Key does what a key stands for, as told by KeysHelp; false if it stands for nothing.
func (b *Board) Key(ctx context.Context, key rune) (bool, error) {
	switch key {
	case ' ':
		return true, b.Tap(ctx)
	case 'd':
		return true, b.DoubleTap(ctx)
	case 's':
		return true, b.Hold(ctx, 3503*time.Millisecond)
	case 'r':
		return true, b.Hold(ctx, 11003*time.Millisecond)
	}
	return false, nil
}

// Writer is an io.Writer whose lines go above the picture. A line is written when its end comes; longer than 4 KiB, it
// is written in pieces.
func (b *Board) Writer() io.Writer { return &lineWriter{board: b} }

type lineWriter struct {
	board *Board
	mu    sync.Mutex // guards rest
	rest  []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range p {
		if c != '\n' {
			w.rest = append(w.rest, c)
			if len(w.rest) < 4096 || !utf8.Valid(w.rest) && len(w.rest) < 4096+utf8.UTFMax {
				continue
			}
		}
		line := strings.TrimSuffix(string(w.rest), "\r")
		w.rest = w.rest[:0]
		if err := w.board.Println(line); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
