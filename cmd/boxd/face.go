//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"phonebackupbox/hal"
	"phonebackupbox/ui/led"
)

// face is where the box tells in words what it does.
type face interface {
	Println(line string) error    // a line that stays
	Status(lines ...string) error // how things stand now, the most important line first
	Close() error                 // what is written after that is none of its business
}

// serial is the face of a box without a screen: lines, for whoever looks at its serial line. Of the status it has the first line,
// whenever that is another than before.
type serial struct {
	mu   sync.Mutex // guards said, and the order of what is written
	out  io.Writer
	said string
}

func (s *serial) Println(line string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := fmt.Fprintln(s.out, printable(line))
	return err
}

func (s *serial) Status(lines ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(lines) == 0 || lines[0] == s.said {
		return nil
	}
	s.said = lines[0]
	_, err := fmt.Fprintln(s.out, printable("* "+s.said))
	return err
}

func (s *serial) Close() error { return nil }

// blind is a board without lights and without a button.
type blind struct{}

func (blind) Show(hal.Frame) error { return nil }

func (blind) Edge(ctx context.Context) (hal.Edge, error) {
	<-ctx.Done()
	return hal.Edge{}, ctx.Err()
}

// board is a real board's lights and button.
type board interface {
	HAL() hal.Board
	Run(ctx context.Context) error // drives the lights until ctx ends, and leaves them dark
	Close() error                  // when Run has ended
}

// light opens the lights and the button and drives the lights until dark is called. A box that cannot show anything says so, and
// works.
func (a *appliance) light(ctx context.Context, w wiring) (dark func() error) {
	b, err := openBoard(w)
	if err != nil {
		a.screen.say("  no lights and no button: %v", err)
		return func() error { return nil }
	}
	a.board = b.HAL()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	return func() error { cancel(); return errors.Join(<-ended, b.Close()) }
}

// lights is led.Options.Quiet.
func (q quietHours) lights(now time.Time) led.Quiet {
	switch quiet, known := q.at(now, clockTrusted()); {
	case !known:
		return led.Dim
	case quiet:
		return led.Night
	}
	return led.Bright
}

// onBoard makes the part of an appliance that people see where it is a real board: out is its console. Its lights and its button
// come with light.
func onBoard(out io.Writer) appliance {
	return appliance{board: hal.Board{Strip: blind{}, Button: blind{}}, screen: &screen{face: &serial{out: out}}}
}
