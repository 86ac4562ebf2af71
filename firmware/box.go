package firmware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// Config is what a Box is wired to.
type Config struct {
	Bus    usbhost.Bus // where phones arrive
	Vault  Vault
	Roster Roster
	Drives Drives // nil: no drive can be adopted, and shutting down flushes nothing
	Policy Policy // what the owner allows
	Keeper Keeper // nil: no upkeep is done
	// ClockTrusted tells whether the clock is right; nil: it never is, so that nothing is done at an hour of the day.
	ClockTrusted func() bool
	Diary        Diary        // nil: what upkeep was done is forgotten with the Box
	Clerk        Clerk        // nil: restores have no receipts
	Updater      Updater      // nil: no update is taken in
	Resetter     Resetter     // nil: the settings cannot be erased with the button
	PowerOn      bool         // the power came just now: the box was not only started anew
	Log          *slog.Logger // nil: no log
}

// Box is the one loop around State. Make it with New, feed it with Edge and Do, listen with Subscribe, run it with Run.
type Box struct {
	config   Config
	log      *slog.Logger
	events   chan Event
	edges    chan edge
	commands chan request
	stopped  chan struct{} // closed when Run has returned

	mu     sync.Mutex // guards what follows
	newest State
	subs   map[chan State]struct{}
	over   bool // Run has returned
}

type edge struct {
	at   time.Time
	down bool
}

type request struct {
	command Command
	answer  chan error // buffered, so that answering never blocks
}

// ErrStopped: the Box does not run any more.
var ErrStopped = errors.New("firmware: the box has stopped")

// New makes a Box. It starts nothing.
func New(c Config) *Box {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	first := newState(time.Now())
	first.memory.powerOn = c.PowerOn && c.Resetter != nil
	first.memory.updates = c.Updater != nil
	return &Box{
		config: c, log: log,
		events: make(chan Event), edges: make(chan edge, 16), commands: make(chan request), stopped: make(chan struct{}),
		newest: first, subs: map[chan State]struct{}{},
	}
}

// State is the newest State.
func (b *Box) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest
}

// Subscribe returns a channel that holds the newest State and never an older one: who reads slowly misses some. The
// channel is closed by cancel, and when the Box stops. The Box never waits for a reader.
func (b *Box) Subscribe() (states <-chan State, cancel func()) {
	ch := make(chan State, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	ch <- b.newest
	if b.over {
		close(ch)
		return ch, func() {}
	}
	b.subs[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.subs[ch]; ok {
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// publish hands a new State to everyone who listens.
func (b *Box) publish(s State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.newest = s
	for ch := range b.subs {
		select {
		case <-ch: // drop the older one
		default:
		}
		ch <- s // only publish sends, under mu, so there is room
	}
}

// end closes every subscription: Run has returned.
func (b *Box) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	for ch := range b.subs {
		delete(b.subs, ch)
		close(ch)
	}
	close(b.stopped)
}

// Edge tells the Box that the button went down or up at the time at.
func (b *Box) Edge(ctx context.Context, down bool, at time.Time) error {
	select { // there may be room for it all the same
	case <-b.stopped:
		return ErrStopped
	default:
	}
	select {
	case b.edges <- edge{at, down}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.stopped:
		return ErrStopped
	}
}

// Do asks for what a person wants. A nil error means that the Box has begun to do it; otherwise the error says, in words
// for that person, why it cannot be done now.
func (b *Box) Do(ctx context.Context, c Command) error {
	r := request{c, make(chan error, 1)}
	select {
	case b.commands <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.stopped:
		return ErrStopped
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-b.stopped:
		return ErrStopped
	}
}

// send gives an event to the loop. It is not bound to a job's context: the end of a job must be told even if the job was
// cancelled. It returns when the loop took it, or is over.
func (b *Box) send(e Event) {
	select {
	case b.events <- e:
	case <-b.stopped:
	}
}

// Run runs the box until ctx ends or the bus dies, and waits for everything that it started. It may be called once.
func (b *Box) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	l := &loop{box: b, ctx: ctx, cancel: cancel, state: b.State(), phones: map[int]*minder{}}
	err := l.run()
	b.end()
	if err != nil {
		return fmt.Errorf("firmware: %w", err)
	}
	return nil
}
