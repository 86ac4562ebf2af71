package vphone

import (
	"context"

	"phonebackupbox/usbhost"
)

// Host is what a host controller sees of an Attachment, where a Pipe is what a driver sees: a halted endpoint stays halted
// until ClearHalt, and what a cancelled transfer brought can be given back. One goroutine reads, one writes and one waits for
// events at a time; the other methods are safe for concurrent use. Every method returns soon after ctx ends.
type Host struct{ a *Attachment }

// Host is the host controller's side of the cable. It and a Pipe may not be used at the same time.
func (a *Attachment) Host() Host { return Host{a} }

// Taken is what one bulk-IN transfer brought; it is meaningful beside an error too.
type Taken struct {
	Data  []byte
	Short bool // a short or zero-length packet ended it
}

// In does one bulk-IN transfer into p, whose length is a positive multiple of the packet size.
func (h Host) In(ctx context.Context, p []byte) (Taken, error) {
	s := hostSide{ctx, h.a.gone}
	n, err := h.a.in.take(p, s, h.a.vanish)
	t := Taken{Data: p[:n], Short: err == nil && n < len(p)}
	if err != nil {
		return t, err
	}
	return t, h.a.pace.pass(s, n)
}

// Unread gives back what a transfer brought that nobody saw: the next In begins with it, so what came last is given back first.
// What the device takes back, by halting its endpoint or because a transaction is cancelled, is lost. t.Data belongs to the
// endpoint from now on.
func (h Host) Unread(t Taken) { h.a.in.unread(t) }

// Out does one bulk-OUT transfer of p and returns how many bytes the device took.
func (h Host) Out(ctx context.Context, p []byte) (int, error) {
	s := hostSide{ctx, h.a.gone}
	if err := h.a.out.put(p, s); err != nil {
		return 0, err
	}
	if err := h.a.out.drain(s); err != nil {
		return len(p) - h.a.out.retract(), err
	}
	return len(p), h.a.pace.pass(s, len(p))
}

// Event waits for one interrupt-IN transfer.
func (h Host) Event(ctx context.Context) ([]byte, error) {
	select {
	case ev := <-h.a.events:
		return ev, nil
	case <-h.a.gone:
		return nil, usbhost.ErrUnplugged
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Control does one class or vendor request; the standard ones are the host's to answer. ErrNoAnswer is at once what a device
// that does not answer would only be after the host's patience.
func (h Host) Control(s usbhost.Setup, p []byte) (int, error) {
	if h.a.isGone() {
		return 0, usbhost.ErrUnplugged
	}
	return h.a.device.Control(&Port{h.a}, s, p)
}

// ClearHalt ends a halt of the bulk-IN or the bulk-OUT endpoint; without one it does nothing.
func (h Host) ClearHalt(in bool) { h.endpoint(in).clear() }

// Halted tells whether the bulk-IN or the bulk-OUT endpoint is halted.
func (h Host) Halted(in bool) bool {
	e := h.endpoint(in)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.halted
}

func (h Host) endpoint(in bool) *endpoint {
	if in {
		return h.a.in
	}
	return h.a.out
}
