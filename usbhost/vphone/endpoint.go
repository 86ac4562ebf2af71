package vphone

import (
	"context"
	"errors"
	"slices"
	"sync"

	"phonebackupbox/usbhost"
)

// errNotPackets refuses a read whose buffer could not hold a whole number of packets: on real hardware that babbles.
var errNotPackets = errors.New("vphone: read buffer is not a positive multiple of the packet size")

// endpoint is one bulk endpoint: a producer queues transfers, a consumer takes packets. At most one transfer is queued;
// its bytes are copied once, from the producer's buffer into the consumer's, however many packets they stand for.
// One goroutine produces and one consumes at a time.
type endpoint struct {
	packet int // bytes: wMaxPacketSize

	filled, freed chan struct{} // capacity 1: a transfer was queued, the queue became empty

	mu     sync.Mutex // guards what follows
	back   []Taken    // given back by the consumer; it comes before rest
	rest   []byte     // of the queued transfer, not yet taken
	busy   bool       // a transfer is queued
	short  bool       // the queued transfer ends in a short or zero-length packet
	halted bool
	moved  int64 // bytes taken in all
	cut    int64 // the device vanishes when moved gets here; < 0: never
}

func newEndpoint(packet int) *endpoint {
	return &endpoint{packet: packet, filled: make(chan struct{}, 1), freed: make(chan struct{}, 1), cut: -1}
}

// side is one end's way of waiting: a host gives up with its context, a device when its transaction is cancelled.
type side interface {
	// ended returns why there is nothing to wait for any more, or nil.
	ended() error
	// wait returns nil after a value from c, or why the wait is over.
	wait(c <-chan struct{}) error
	// stalls reports whether a halt is an error to this side; the device that halted just waits for the end of it.
	stalls() bool
}

type hostSide struct {
	ctx  context.Context // of one call: a side lives no longer than that
	gone <-chan struct{}
}

func (hostSide) stalls() bool { return true }

func (h hostSide) ended() error {
	select {
	case <-h.gone:
		return usbhost.ErrUnplugged
	default:
		return h.ctx.Err()
	}
}

func (h hostSide) wait(c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-h.gone:
		return usbhost.ErrUnplugged
	case <-h.ctx.Done():
		return h.ctx.Err()
	}
}

type deviceSide struct {
	abort, gone <-chan struct{}
}

func (deviceSide) stalls() bool { return false }

func (d deviceSide) ended() error {
	select {
	case <-d.gone:
		return usbhost.ErrUnplugged
	default:
	}
	select {
	case <-d.abort:
		return ErrCancelled
	default:
		return nil
	}
}

func (d deviceSide) wait(c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-d.gone:
		return usbhost.ErrUnplugged
	case <-d.abort:
		return ErrCancelled
	}
}

// put queues the transfer p once the one before has been taken. p belongs to the endpoint until drain or the next put
// returns. An empty p is a zero-length packet.
func (e *endpoint) put(p []byte, s side) error {
	for {
		e.mu.Lock()
		if err := e.refuse(s); err != nil {
			e.mu.Unlock()
			return err
		}
		if !e.busy && !e.halted {
			e.rest, e.busy, e.short = p, true, len(p)%e.packet != 0 || len(p) == 0
			e.mu.Unlock()
			signal(e.filled)
			return nil
		}
		e.mu.Unlock()
		if err := s.wait(e.freed); err != nil {
			return err
		}
	}
}

// refuse tells why a side may not go on. A cancellation is seen before what the host sent after it, since both sides
// look under mu. The caller holds it.
func (e *endpoint) refuse(s side) error {
	if err := s.ended(); err != nil {
		return err
	}
	if e.halted && s.stalls() {
		return usbhost.ErrStalled
	}
	return nil
}

// drain waits until the queued transfer has been taken.
func (e *endpoint) drain(s side) error {
	for {
		e.mu.Lock()
		busy, halted := e.busy, e.halted
		e.mu.Unlock()
		if halted && s.stalls() {
			return usbhost.ErrStalled
		}
		if !busy {
			return nil
		}
		if err := s.wait(e.freed); err != nil {
			return err
		}
	}
}

// retract takes back the queued transfer and returns how many of its bytes were not taken.
func (e *endpoint) retract() int {
	e.mu.Lock()
	n := len(e.rest)
	e.back, e.rest, e.busy = nil, nil, false
	e.mu.Unlock()
	signal(e.freed)
	return n
}

// take fills p from the queued transfers until it is full or a short packet came (USB 2.0, 5.8.3).
func (e *endpoint) take(p []byte, s side, vanish func()) (n int, err error) {
	if len(p) == 0 || len(p)%e.packet != 0 {
		return 0, errNotPackets
	}
	for {
		e.mu.Lock()
		if err := e.refuse(s); err != nil {
			e.mu.Unlock()
			return n, err
		}
		m, ended := e.move(p[n:])
		n += m
		cut := e.cut >= 0 && e.moved >= e.cut
		e.mu.Unlock()
		if cut {
			vanish()
			return n, usbhost.ErrUnplugged
		}
		if ended || n == len(p) {
			return n, nil
		}
		if err := s.wait(e.filled); err != nil {
			return n, err
		}
	}
}

// move copies what it can and reports whether a short packet ended the consumer's transfer. The caller holds mu.
func (e *endpoint) move(p []byte) (n int, ended bool) {
	for len(e.back) > 0 && n < len(p) && !ended {
		b := &e.back[0]
		m := copy(p[n:], b.Data)
		n, b.Data = n+m, b.Data[m:]
		if len(b.Data) == 0 && (n < len(p) || !b.Short) { // else an empty packet is left
			ended = b.Short
			e.back = e.back[1:]
		}
	}
	e.moved += int64(n)
	if ended || n == len(p) {
		return n, ended
	}
	m, ended := e.moveQueued(p[n:])
	return n + m, ended
}

// moveQueued is move for what the producer queued.
func (e *endpoint) moveQueued(p []byte) (n int, ended bool) {
	if !e.busy {
		return 0, false
	}
	if left := e.cut - e.moved; e.cut >= 0 && left < int64(len(p)) {
		p = p[:left]
	}
	n = copy(p, e.rest)
	e.rest = e.rest[n:]
	e.moved += int64(n)
	if len(e.rest) > 0 {
		return n, false
	}
	e.busy, e.rest = false, nil
	signal(e.freed)
	return n, e.short
}

// unread puts what was taken in front of everything else.
func (e *endpoint) unread(t Taken) {
	if len(t.Data) == 0 && !t.Short {
		return
	}
	e.mu.Lock()
	e.back = slices.Insert(e.back, 0, t)
	e.moved -= int64(len(t.Data))
	e.mu.Unlock()
}

// halt stops the endpoint as a STALL handshake does; what is queued is lost.
func (e *endpoint) halt() {
	e.mu.Lock()
	e.halted, e.busy, e.rest, e.back = true, false, nil, nil
	e.mu.Unlock()
	signal(e.filled)
	signal(e.freed)
}

// clear ends a halt (USB 2.0, 9.4.5).
func (e *endpoint) clear() {
	e.mu.Lock()
	e.halted = false
	e.mu.Unlock()
	signal(e.freed)
}

func (e *endpoint) count() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moved
}

// cutAfter makes the device vanish when n more bytes have been taken.
func (e *endpoint) cutAfter(n int64) {
	e.mu.Lock()
	e.cut = e.moved + max(n, 0)
	e.mu.Unlock()
	signal(e.filled)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
