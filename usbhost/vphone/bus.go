package vphone

import (
	"context"
	"log/slog"

	"phonebackupbox/usbhost"
)

// arrivals is how many phones may wait for Accept.
const arrivals = 64

// Bus is a port that phones made of bytes arrive on.
type Bus struct {
	open    func(context.Context, usbhost.Interface) (usbhost.Phone, error)
	log     *slog.Logger
	waiting chan usbhost.Interface
}

var _ usbhost.Bus = (*Bus)(nil)

// NewBus makes a Bus whose phones are opened by the driver's open. A phone that cannot be opened (because it was unplugged
// meanwhile, say) is logged and passed over, since Accept's errors mean that the bus is dead.
func NewBus(open func(context.Context, usbhost.Interface) (usbhost.Phone, error), log *slog.Logger) *Bus {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Bus{open: open, log: log, waiting: make(chan usbhost.Interface, arrivals)}
}

// Arrive tells the bus that a device was plugged in. It blocks while 64 phones wait to be accepted.
func (b *Bus) Arrive(i usbhost.Interface) { b.waiting <- i }

// Accept waits for the next phone and opens it.
func (b *Bus) Accept(ctx context.Context) (usbhost.Phone, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case i := <-b.waiting:
			p, err := b.open(ctx, i)
			if err == nil {
				return p, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			b.log.Warn("phone passed over", "model", i.Model, "err", err)
		}
	}
}
