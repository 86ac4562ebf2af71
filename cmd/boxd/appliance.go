//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
	"phonebackupbox/hal/vboard"
	"phonebackupbox/ui/led"
	"phonebackupbox/ui/web"
)

// appliance is a whole box: what boxd run and boxd demo have in common.
type appliance struct {
	screen   *screen
	board    hal.Board
	term     *vboard.Board // the board, where it is a terminal; nil elsewhere
	depth    vboard.Depth  // of term
	box      *firmware.Box
	bays     *bays
	probe    bool           // see mtp.Options
	boot     *bootPart      // nil without a card
	ownerErr error          // what is wrong with the owner's file
	mounts   *mountedDrives // nil where somebody else mounts drives
	log      *slog.Logger   // of the ports' drivers; nil: no log
	pulse    *pulse         // nil without a watchdog
	off      bool           // shut down by the button; for who waited for serve

	quiet func(time.Time) led.Quiet // nil: the lights never disturb

	life    *life            // this one, and how the one before ended
	updates *updates         // nil where no updates are taken in
	restart firmware.Restart // as off: why all is to be started anew
	sick    bool             // as off: this system is an update that did not prove healthy
	try     bool             // the machine is to be started from the other slot, at once
	reboot  bool             // the machine is to be started as it is, at once
	address string           // of the page
	texts   []web.Text       // that can be had from it

	settings *settingsFile // nil: none on the page
	anew     chan struct{} // see startAnew

	claim *web.Claim               // nil: nobody can be let in from elsewhere
	local func(*http.Request) bool // see web.Options.Allowed
}

// onTerminal makes the part of an appliance that people see where it is a terminal: out.
func onTerminal(out io.Writer) appliance {
	columns, live := terminal(out)
	look := vboard.LookOf(live, columns, os.Getenv("TERM"), os.Getenv("COLORTERM"))
	board := vboard.New(out, look)
	return appliance{board: board.HAL(), term: board, screen: &screen{face: board}, depth: look.Depth, local: web.FromThisComputer}
}

// run starts the box, its lights, its button and its lines in g.
func (a *appliance) run(ctx context.Context, g *errgroup.Group) {
	states, leave := a.box.Subscribe()
	lights, dark := a.box.Subscribe()
	g.Go(func() error { return a.box.Run(ctx) })
	g.Go(func() error { defer leave(); return a.screen.follow(states) })
	g.Go(func() error { defer dark(); return led.Run(ctx, a.board.Strip, lights, led.Options{Quiet: a.quiet}) })
	g.Go(func() error { return a.finger(ctx) })
}

// ended takes the end that we asked for out of an error.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// finger carries the button's edges from the board to the box.
func (a *appliance) finger(ctx context.Context) error {
	for {
		e, err := a.board.Button.Edge(ctx)
		if err != nil {
			return err
		}
		if err := a.box.Edge(ctx, e.Down, e.At); err != nil {
			return err
		}
	}
}

// anyPort is an address that only this computer reaches, with a port that is free.
const anyPort = "127.0.0.1:0"

// page opens the status page's port, so that a taken one is found at once, and returns what serves it.
func (a *appliance) page(addr string) (func(context.Context) error, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, hintError{fmt.Errorf("status page: %w", err), "web", "choose another --web ADDRESS:PORT"}
	}
	o := web.Options{Do: a.box.Do, Claim: a.claim, Allowed: a.local, Texts: a.texts, Lamps: func(s firmware.State, now time.Time) web.Lamps {
		var lamps web.Lamps
		for i, level := range led.Frame(s, now, false) {
			lamps[i] = uint8(level)
		}
		return lamps
	}}
	if a.updates != nil {
		o.Updates = a.updates
	}
	if a.bays != nil {
		o.Words = a.bays
	}
	if a.settings != nil {
		o.Settings = a.settings
	}
	h := web.New(a.box, o)
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	srv.RegisterOnShutdown(h.Close)
	a.address = l.Addr().String()
	a.screen.say("  status page: http://%s/", a.address)
	return func(ctx context.Context) error { return serveUntil(ctx, srv, l) }, nil
}

// serveUntil serves until ctx ends, and lets who is being answered have their answer.
func serveUntil(ctx context.Context, srv *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err := srv.Shutdown(wait)
	if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}
