// Package console is the box on a line: a serial port or a terminal. It shows what the box knows and takes commands; the
// wiring may add some of its own, as the demo does to plug in phones and to kill drives.
package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"phonebackupbox/firmware"
)

// MaxLine is the longest line that is taken, in bytes; the rest of a longer one is thrown away with it.
const MaxLine = 1024

// answerWithin bounds how long a command waits for the box.
const answerWithin = 5 * time.Second

// ErrQuit is what a Command returns to end the console. Run then returns nil.
var ErrQuit = errors.New("quit")

// Box is what a console needs of the box; *firmware.Box is one.
type Box interface {
	State() firmware.State
	Subscribe() (states <-chan firmware.State, cancel func())
	Do(ctx context.Context, c firmware.Command) error
}

// Command is one word that a console understands.
type Command struct {
	Name string
	Args string // as shown by help, such as "[PHONE]"
	Help string // one line
	// Run does it and writes what it has to say to w. args are the words after the name. An error is shown as one line;
	// ErrQuit ends the console.
	Run func(ctx context.Context, w io.Writer, args []string) error
}

// Options of a Console.
type Options struct {
	Echo     bool      // write back what is typed, as a serial port needs and a terminal does itself
	Prompt   string    // "" for none
	Commands []Command // besides the console's own; one of the same name replaces it

	// Locked has the console show no more than the status until Unlock accepts what was typed after "code"; nil accepts nothing.
	Locked bool
	Unlock func(ctx context.Context, code string) error
	// LockAfter has it lock itself again when no line was typed for so long; 0: never.
	LockAfter time.Duration

	// Every is how long each line takes at least. Lines that make no sense take twice as long as the one before, up to Every <<
	// maxDoublings, and what came meanwhile is thrown away after a few: a port that is full of noise, or hears itself, costs the box next
	// to nothing, and is one to speak with as soon as that ends. 0: no time.
	Every time.Duration
}

const (
	maxDoublings = 4
	noise        = 3 // lines without sense, one after another
)

// Console speaks with one person.
type Console struct {
	box      Box
	o        Options
	commands []Command
	locked   atomic.Bool
	typed    chan struct{} // a line came
	wrong    int           // lines in a row that made no sense; used by Run's goroutine alone
}

// New makes a Console. It starts nothing.
func New(box Box, o Options) *Console {
	c := &Console{box: box, o: o, typed: make(chan struct{}, 1)}
	c.locked.Store(o.Locked)
	own := append(c.looking(), c.doing()...)
	for _, cmd := range own {
		replaced := false
		for _, extra := range o.Commands {
			replaced = replaced || extra.Name == cmd.Name
		}
		if !replaced {
			c.commands = append(c.commands, cmd)
		}
	}
	c.commands = append(c.commands, o.Commands...)
	return c
}

// Run reads lines from rw and answers them until quit, the end of rw or the end of ctx. What the reader is stuck in is
// ended by its SetReadDeadline, or else its Close, if it has one; without either, Run returns when the next line comes.
func (c *Console) Run(ctx context.Context, rw io.ReadWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	out := &output{w: rw, ctx: ctx}
	var wg sync.WaitGroup
	wg.Go(func() { c.follow(ctx, out) })
	wg.Go(func() { c.lockIdle(ctx, out) })
	unblock := context.AfterFunc(ctx, func() { stopReading(rw) })
	defer wg.Wait()
	defer cancel()
	defer unblock()
	lines := lineReader{from: rw, r: bufio.NewReaderSize(rw, MaxLine), echo: c.o.Echo, out: out}
	for {
		if c.o.Prompt != "" {
			out.print(c.o.Prompt)
		}
		line, err := lines.next()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errTooLong):
			out.print(fmt.Sprintf("! %v\n", err))
			c.pause(ctx, &lines, false)
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("console: %w", err)
		}
		if err = c.obey(ctx, out, line); errors.Is(err, ErrQuit) {
			return nil
		} else if err != nil {
			out.print("! " + safe(err.Error()) + "\n")
		}
		if out.failed() != nil {
			return fmt.Errorf("console: %w", out.failed())
		}
		c.pause(ctx, &lines, err == nil)
	}
}

// stopReading ends a Read that is under way.
func stopReading(rw io.ReadWriter) {
	if d, ok := rw.(interface{ SetReadDeadline(time.Time) error }); ok && d.SetReadDeadline(time.Unix(1, 0)) == nil {
		return
	}
	if c, ok := rw.(io.Closer); ok {
		// The error would be of no use: the reader is told by its Read.
		_ = c.Close()
	}
}

// obey runs one line.
func (c *Console) obey(ctx context.Context, out *output, line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	select {
	case c.typed <- struct{}{}:
	default: // lockIdle has not taken in the last one
	}
	name := strings.ToLower(words[0])
	if c.locked.Load() {
		return c.obeyLocked(ctx, out, name, words[1:])
	}
	for _, cmd := range c.commands {
		if cmd.Name == name {
			return cmd.Run(ctx, out, words[1:])
		}
	}
	return fmt.Errorf("there is no command %q; help tells those there are", safe(cutTo(words[0], 40)))
}

// codeEvery is how long a console waits after a wrong code: nobody guesses many.
const codeEvery = 2 * time.Second

// obeyLocked runs one line of a console that is locked.
func (c *Console) obeyLocked(ctx context.Context, out *output, name string, args []string) error {
	switch name {
	case "status":
		var b strings.Builder
		status(&b, c.box.State())
		_, err := io.WriteString(out, b.String())
		return err
	case "help":
		_, err := io.WriteString(out, "  status     what the box is doing, and what is wrong\n  code CODE  the box's code; then there is more\n  quit\n")
		return err
	case "quit":
		return ErrQuit
	case "code":
		if c.o.Unlock == nil {
			return errors.New("this box knows no code: it cannot be told anything here")
		}
		if err := c.o.Unlock(ctx, strings.Join(args, "")); err != nil {
			select {
			case <-time.After(codeEvery):
			case <-ctx.Done():
			}
			return err
		}
		c.locked.Store(false)
		_, err := io.WriteString(out, "ok; help tells what there is\n")
		return err
	}
	return errors.New("this console is locked: help tells what there is")
}

// do asks the box for something and says so.
func (c *Console) do(ctx context.Context, w io.Writer, cmd firmware.Command) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := c.box.Do(ctx, cmd); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "ok")
	return err
}

// follow writes what happens while following is switched on.
func (c *Console) follow(ctx context.Context, out *output) {
	states, cancel := c.box.Subscribe()
	defer cancel()
	var last time.Time
	for _, l := range c.box.State().Lines {
		last = l.At
	}
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-states:
			if !ok {
				return
			}
			for _, l := range s.Lines {
				if l.At.After(last) {
					last = l.At
					out.event(l)
				}
			}
		}
	}
}

// output is written by the commands and by follow, a piece at a time. A full serial line may block it, and with it this
// console, but never the box.
type output struct {
	ctx context.Context

	mu        sync.Mutex // guards what follows
	w         io.Writer
	following bool
	err       error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ctx.Err() != nil {
		return 0, o.ctx.Err()
	}
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *output) print(s string) {
	if _, err := o.Write([]byte(s)); err != nil {
		return // failed keeps it
	}
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *output) event(l firmware.Line) {
	o.mu.Lock()
	on := o.following
	o.mu.Unlock()
	if on {
		o.print(eventLine(l))
	}
}

func (o *output) setFollowing(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.following = on
}

// safe makes text harmless for a terminal: control and invalid characters are shown as \xNN or \u{NNNN}.
func safe(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			fmt.Fprintf(&b, `\u{%04x}`, r)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// cutTo shortens s to at most n bytes.
func cutTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
