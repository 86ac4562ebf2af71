package vphone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"phonebackupbox/usbhost"
)

// ErrCancelled is what a Port's methods return to the device when the host has cancelled the transaction under way.
var ErrCancelled = errors.New("cancelled by the host")

// ErrNoAnswer is what a Device's Control returns where it never answers: the transfer lasts until the host gives it up.
var ErrNoAnswer = errors.New("no answer")

// eventQueue is how many interrupt transfers wait for the host; further ones are lost, as they are on a phone whose
// host does not poll.
const eventQueue = 256

// A Device is the phone's side of the cable: one claimed interface.
type Device interface {
	// Describe tells what the descriptors say; Pipe, Gone and MaxPacket are ignored.
	Describe() usbhost.Interface

	// Serve answers the host until a method of the port returns usbhost.ErrUnplugged. It runs from Plug to Unplug.
	Serve(port *Port)

	// Control answers one class or vendor request on the control endpoint, on the host's goroutine, while Serve runs.
	Control(port *Port, s usbhost.Setup, p []byte) (n int, err error)
}

// Wire is what a cable and a port allow.
type Wire struct {
	MaxPacket int   // bytes: 64 (full speed), 512 (high speed; the default) or 1024 (SuperSpeed)
	Rate      int64 // bytes per second, both directions together; 0: no limit
	// Latency is what each bulk transfer takes besides its bytes' time: the host controller's turnaround, the interrupt, the
	// system call. About 0.1 to 0.3 ms on small boards.
	Latency time.Duration
}

// Attachment is one stay of a device on a port, from Plug to Unplug.
type Attachment struct {
	device Device
	wire   Wire
	in     *endpoint
	out    *endpoint
	events chan []byte
	abort  chan struct{}
	gone   chan struct{}
	once   sync.Once
	served sync.WaitGroup
	pace   pacer
}

// Plug attaches a device and starts its goroutine; Unplug ends it.
func Plug(d Device, w Wire) *Attachment {
	if w.MaxPacket == 0 {
		w.MaxPacket = 512
	}
	a := &Attachment{
		device: d, wire: w,
		in: newEndpoint(w.MaxPacket), out: newEndpoint(w.MaxPacket),
		events: make(chan []byte, eventQueue), abort: make(chan struct{}, 1), gone: make(chan struct{}),
		pace: pacer{rate: w.Rate, latency: w.Latency},
	}
	a.served.Go(func() { d.Serve(&Port{a}) })
	return a
}

// Interface is what a Bus would hand to a driver. Each call gives a new Pipe to the same endpoints, as claiming the
// interface again would; only one of them may be used at a time.
func (a *Attachment) Interface() usbhost.Interface {
	i := a.device.Describe()
	i.MaxPacket, i.Gone = a.wire.MaxPacket, a.gone
	i.Pipe = &pipe{a: a}
	return i
}

// Unplug pulls the cable and waits until the device's goroutine has ended. It may be called again.
func (a *Attachment) Unplug() {
	a.vanish()
	a.served.Wait()
}

// UnplugAfter pulls the cable at the moment when n more bytes of bulk-IN data have reached the host.
func (a *Attachment) UnplugAfter(n int64) { a.in.cutAfter(n) }

// Stall halts both bulk endpoints until the host clears them.
func (a *Attachment) Stall() {
	a.in.halt()
	a.out.halt()
}

// Gone is closed when the cable is pulled.
func (a *Attachment) Gone() <-chan struct{} { return a.gone }

// Moved tells how many bulk bytes have crossed the cable: in towards the host, out towards the device.
func (a *Attachment) Moved() (in, out int64) { return a.in.count(), a.out.count() }

func (a *Attachment) vanish() { a.once.Do(func() { close(a.gone) }) }

func (a *Attachment) isGone() bool {
	select {
	case <-a.gone:
		return true
	default:
		return false
	}
}

// pipe is the host's side of an Attachment.
type pipe struct {
	a      *Attachment
	closed atomic.Bool
}

func (p *pipe) usable(ctx context.Context) error {
	if p.closed.Load() {
		return fmt.Errorf("vphone: pipe: %w", fs.ErrClosed)
	}
	if p.a.isGone() {
		return usbhost.ErrUnplugged
	}
	return ctx.Err()
}

func (p *pipe) Read(ctx context.Context, b []byte) (int, error) {
	if err := p.usable(ctx); err != nil {
		return 0, err
	}
	t, err := p.a.Host().In(ctx, b)
	return len(t.Data), p.unstall(err)
}

func (p *pipe) Write(ctx context.Context, b []byte) (int, error) {
	if err := p.usable(ctx); err != nil {
		return 0, err
	}
	n, err := p.a.Host().Out(ctx, b)
	return n, p.unstall(err)
}

// unstall keeps the Pipe's promise that the halts have been cleared when ErrStalled is returned.
func (p *pipe) unstall(err error) error {
	if errors.Is(err, usbhost.ErrStalled) {
		p.a.in.clear()
		p.a.out.clear()
	}
	return err
}

func (p *pipe) Event(ctx context.Context, b []byte) (int, error) {
	if err := p.usable(ctx); err != nil {
		return 0, err
	}
	ev, err := p.a.Host().Event(ctx)
	return copy(b, ev), err
}

// The standard request that a Pipe answers without asking the device (USB 2.0, tables 9-3 to 9-6).
const (
	toEndpoint   = 0x02 // host to device, standard, endpoint
	clearFeature = 0x01
	directionIn  = 0x80
)

func (p *pipe) Control(ctx context.Context, s usbhost.Setup, b []byte) (int, error) {
	if err := p.usable(ctx); err != nil {
		return 0, err
	}
	if s.RequestType == toEndpoint && s.Request == clearFeature && s.Value == 0 {
		p.a.Host().ClearHalt(s.Index&directionIn != 0)
		return 0, nil
	}
	n, err := p.a.Host().Control(s, b)
	if errors.Is(err, ErrNoAnswer) {
		err = hostSide{ctx, p.a.gone}.wait(nil)
	}
	return n, err
}

func (p *pipe) Close() error {
	p.closed.Store(true)
	return nil
}

// Port is the device's side of an Attachment. Read, Queue, Flush and Sleep are for the goroutine of Serve alone; they
// return usbhost.ErrUnplugged when the cable was pulled and ErrCancelled once after each Cancel.
type Port struct{ a *Attachment }

func (p *Port) side() deviceSide { return deviceSide{p.a.abort, p.a.gone} }

// MaxPacket is the bulk endpoints' packet size in bytes.
func (p *Port) MaxPacket() int { return p.a.wire.MaxPacket }

// Read takes one bulk-OUT transfer: it returns when b, a multiple of MaxPacket, is full or a short packet came.
func (p *Port) Read(b []byte) (int, error) { return p.a.out.take(b, p.side(), p.a.vanish) }

// Queue sends b on the bulk-IN endpoint as packets; an empty b is a zero-length packet. It returns as soon as the
// transfer queued before has reached the host, so a device fills one buffer while the host takes the other: b must stay
// as it is until a later Queue or Flush returns.
func (p *Port) Queue(b []byte) error { return p.a.in.put(b, p.side()) }

// Flush waits until everything queued has reached the host.
func (p *Port) Flush() error { return p.a.in.drain(p.side()) }

// Sent is the number of bulk-IN bytes that have reached the host.
func (p *Port) Sent() int64 { return p.a.in.count() }

// Interrupt sends b on the interrupt endpoint without waiting; it is lost if the host does not poll.
func (p *Port) Interrupt(b []byte) {
	select {
	case p.a.events <- b:
	default:
	}
}

// Cancel ends the transaction under way: what is queued for the host is dropped and the device's next or present call
// returns ErrCancelled. It is called by Device.Control.
func (p *Port) Cancel() {
	signal(p.a.abort)
	p.a.in.retract()
}

// Stall halts both bulk endpoints, as a device does that gives a transaction up.
func (p *Port) Stall() { p.a.Stall() }

// Sleep waits as long as d.
func (p *Port) Sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.a.gone:
		return usbhost.ErrUnplugged
	case <-p.a.abort:
		return ErrCancelled
	}
}

// Mute waits for a Cancel or for the cable to be pulled, taking nothing and saying nothing.
func (p *Port) Mute() error {
	select {
	case <-p.a.gone:
		return usbhost.ErrUnplugged
	case <-p.a.abort:
		return ErrCancelled
	}
}

// VanishAfter pulls the cable when n more bytes have reached the host, counted behind everything that is queued now.
func (p *Port) VanishAfter(n int64) {
	p.a.in.mu.Lock()
	n += int64(len(p.a.in.rest))
	for _, t := range p.a.in.back {
		n += int64(len(t.Data))
	}
	p.a.in.cut = p.a.in.moved + n
	p.a.in.mu.Unlock()
}

// pacer makes bytes take their time. Time comes from package time, so that testing/synctest can bend it.
type pacer struct {
	rate    int64 // bytes per second; 0: no limit
	latency time.Duration

	mu   sync.Mutex
	free time.Time // when the wire has carried all it was given; guarded by mu
}

// slack is how far a transfer may run ahead of its time: shorter sleeps cost more than they tell.
const slack = time.Millisecond

func (p *pacer) pass(h hostSide, n int) error {
	if p.rate <= 0 && p.latency <= 0 {
		return nil
	}
	now := time.Now()
	p.mu.Lock()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(p.latency)
	if p.rate > 0 {
		p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	}
	d := p.free.Sub(now)
	p.mu.Unlock()
	if d < slack {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-h.gone:
		return nil // the bytes did cross
	case <-h.ctx.Done():
		return nil
	}
}
