package libusb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// ErrNoUSB: this program was built without the tag libusb and can claim no device.
var ErrNoUSB = errors.New("this build has no USB")

// Times of a Bus.
const (
	// chargePatience is how long a phone may look as if it only charged before that is told: in between two modes all do.
	chargePatience = 2 * time.Second
	// A device that could not be opened is tried again after firstRetry, then after twice as long each time, up to lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Driver opens a phone on an interface that is claimed; it owns the Pipe, and closes it if it fails.
type Driver func(context.Context, usbhost.Interface) (usbhost.Phone, error)

// A Witness hears of phones that are plugged in and cannot be opened, in the words of Device.Claim's errors or of the driver's.
// It must return at once. Each is tried again while it stays, and told again if that comes to nothing too.
type Witness interface{ Refused(err error) }

// Bus hands out phones as they are plugged in. A device that cannot be opened, since another program uses it or it does not
// answer, is told to the Witness and tried again while it stays; so is one that was closed while it stays, without being told.
type Bus struct {
	look    func() ([]Device, error)
	claim   func(Device, *departure) (usbhost.Interface, error)
	open    Driver
	witness Witness
	log     *slog.Logger

	phones chan usbhost.Phone
	tried  chan attempt
	asked  chan struct{} // received by watch: it lives
	dead   chan struct{} // closed when the Bus has ended
	err    error         // why; set before dead is closed
	cancel context.CancelFunc
	wait   sync.WaitGroup
	events *os.File // nil in tests
}

var _ usbhost.Bus = (*Bus)(nil)

// departure is closed once, by whoever first notices that a device is gone: its Bus or its Pipe.
type departure struct {
	once sync.Once
	gone chan struct{}
}

func newDeparture() *departure { return &departure{gone: make(chan struct{})} }

func (d *departure) leave() { d.once.Do(func() { close(d.gone) }) }

// Listen opens the ports; what is plugged in already counts as arriving. A nil Witness hears and a nil log logs nothing; what
// is logged has ports and kinds of devices, never serial numbers. Close ends it.
func Listen(ctx context.Context, open Driver, w Witness, log *slog.Logger) (*Bus, error) {
	events, err := uevents()
	if err != nil {
		return nil, err
	}
	b := newBus(func() ([]Device, error) { return scan(sysfs) }, claim, open, w, log)
	b.events = events
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	changed := make(chan struct{}, 1)
	b.wait.Go(func() { b.listen(events, changed) })
	b.wait.Go(func() { b.watch(ctx, changed) })
	return b, nil
}

func newBus(look func() ([]Device, error), claim func(Device, *departure) (usbhost.Interface, error), open Driver, w Witness, log *slog.Logger) *Bus {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Bus{look: look, claim: claim, open: open, witness: w, log: log, phones: make(chan usbhost.Phone), tried: make(chan attempt), asked: make(chan struct{}), dead: make(chan struct{})}
}

// Accept waits for the next phone. One that only charges is handed out too, so that its owner can be told.
func (b *Bus) Accept(ctx context.Context) (usbhost.Phone, error) {
	select {
	case p := <-b.phones:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.dead:
		return nil, b.err
	}
}

// Answer returns when the goroutine that everything here depends on has answered. If that hangs, it fails with ctx.
func (b *Bus) Answer(ctx context.Context) error {
	select {
	case b.asked <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.dead:
		return b.err
	}
}

// Close ends the Bus and waits for it. Phones that were accepted live on.
func (b *Bus) Close() error {
	b.cancel()
	var err error
	if b.events != nil {
		err = b.events.Close()
	}
	b.wait.Wait()
	return err
}

// listen tells changed of the kernel's events until the socket is closed. One that waits already stands for all.
func (b *Bus) listen(events *os.File, changed chan<- struct{}) {
	buf := make([]byte, maxUevent)
	for {
		n, err := events.Read(buf)
		if err != nil && !lostEvents(err) {
			if !errors.Is(err, os.ErrClosed) {
				b.log.Error("usb: no more events", "err", err)
			}
			return
		}
		if err != nil || concernsUSB(buf[:n]) {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}

// stay is one attachment of a device, from when it was first seen until it is gone.
type stay struct {
	device Device
	left   *departure
	held   bool      // being opened, or handed out and not closed since
	tries  int       // that came to nothing
	next   time.Time // when it may be opened
}

// attempt is how opening a device went: err is nil if it was handed out, and its phone is closed since.
type attempt struct {
	stay *stay
	err  error
}

// watch owns the stays until ctx ends.
func (b *Bus) watch(ctx context.Context, changed <-chan struct{}) {
	stays := make(map[string]*stay)
	defer close(b.dead)
	for {
		all, err := b.look()
		if err != nil {
			b.err = fmt.Errorf("libusb: list devices: %w", err)
			return
		}
		timer := time.NewTimer(b.update(ctx, stays, all))
		ended := b.pause(ctx, changed, timer.C)
		timer.Stop()
		if ended {
			b.err = os.ErrClosed
			return
		}
	}
}

// pause returns when there is something to look at, or true when ctx has ended.
func (b *Bus) pause(ctx context.Context, changed <-chan struct{}, due <-chan time.Time) (ended bool) {
	for {
		select {
		case <-ctx.Done():
			return true
		case <-b.asked: // and answered by that
			continue
		case a := <-b.tried:
			b.judge(a)
		case <-changed:
		case <-due:
		}
		return false
	}
}

// update compares what is plugged in with what was, opens what is due, and returns how long there is nothing to do.
func (b *Bus) update(ctx context.Context, stays map[string]*stay, all []Device) time.Duration {
	for key, s := range stays {
		if !slices.ContainsFunc(all, func(d Device) bool { return d.stay() == key }) {
			b.log.Info("usb: device gone", "port", s.device.Interface.Port)
			s.left.leave()
			delete(stays, key)
		}
	}
	now, idle := time.Now(), lastRetry
	for _, d := range all {
		if d.Use == Other || d.Use == Apple && d.Interface.Class == 0 {
			continue
		}
		s := stays[d.stay()]
		if s == nil {
			s = &stay{device: d, left: newDeparture(), next: now}
			if d.Use == ChargeOnly {
				s.next = now.Add(chargePatience)
			}
			stays[d.stay()] = s
		}
		switch wait := s.next.Sub(now); {
		case s.held:
		case wait > 0:
			idle = min(idle, wait)
		default:
			s.held = true
			b.wait.Go(func() { b.bring(ctx, s) })
		}
	}
	return idle
}

// bring opens a device, hands it to who accepts it, and waits until that phone is gone or closed.
func (b *Bus) bring(ctx context.Context, s *stay) {
	phone, err := b.raise(ctx, s)
	switch {
	case err != nil:
	case b.offer(ctx, phone, s.left.gone):
		i := s.device.Interface
		b.log.Info("usb: phone", "device", fmt.Sprintf("%04x:%04x", i.Vendor, i.Product), "port", i.Port, "use", s.device.Use, "mbit_s", i.Link.Speed)
		select {
		case <-phone.Gone():
		case <-ctx.Done():
			return
		}
	default:
		err = errors.Join(usbhost.ErrUnplugged, phone.Close())
	}
	select {
	case b.tried <- attempt{s, err}:
	case <-ctx.Done():
	}
}

// offer waits until somebody accepts the phone, and reports whether that was so.
func (b *Bus) offer(ctx context.Context, phone usbhost.Phone, gone <-chan struct{}) bool {
	select {
	case <-gone: // while it was opened
		return false
	default:
	}
	select {
	case b.phones <- phone:
		return true
	case <-gone:
	case <-ctx.Done():
	}
	return false
}

func (b *Bus) raise(ctx context.Context, s *stay) (usbhost.Phone, error) {
	if s.device.Use == ChargeOnly {
		return &charging{s.device, s.left}, nil
	}
	i, err := b.claim(s.device, s.left)
	if err != nil {
		return nil, err
	}
	return b.open(ctx, i)
}

// judge decides when a device is tried again that could not be opened, or that was let go of while it stays. A Pipe may take one
// for gone that only failed: if it does stay, a new departure tells it from its former self. If not, update finds that out.
func (b *Bus) judge(a attempt) {
	s := a.stay
	gone := errors.Is(a.err, usbhost.ErrUnplugged)
	select {
	case <-s.left.gone:
		gone, s.left = true, newDeparture()
	default:
	}
	if a.err == nil {
		s.tries = 0
	}
	again := min(firstRetry<<s.tries, lastRetry)
	if again < lastRetry {
		s.tries++
	}
	s.next, s.held = time.Now().Add(again), false
	if a.err == nil || gone {
		return
	}
	if b.witness != nil {
		b.witness.Refused(a.err)
	}
	b.log.Warn("usb: phone cannot be opened", "port", s.device.Interface.Port, "again_in", again, "err", a.err)
}
