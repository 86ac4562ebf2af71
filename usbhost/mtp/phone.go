// Package mtp is an MTP initiator: it lists, reads and sends the files of a phone, camera or player that speaks the Media
// Transfer Protocol (MTP 1.1, USB-IF 2011; ISO 15740) over a usbhost.Pipe.
//
// A whole phone is listed in six transactions where it supports GetObjectPropList, folder by folder where that fails for
// all, object by object otherwise. Files are read in bounded windows, ahead of the tree that stores them. Every
// transaction is drained and every transfer has a deadline: a transaction that is abandoned wedges a phone.
//
// In the tree, the first element of a path is the storage's name ("Internal shared storage/DCIM/..."), even if the phone
// has only one storage, so that a card inserted later moves nothing. See escape for names that no path can hold.
package mtp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// Options tune a Phone. The zero value will do.
type Options struct {
	Log      *slog.Logger   // nil: nothing is logged
	Location *time.Location // the zone of times that the phone sends without one; nil: time.Local
	// Probe lets the driver put a small file on the phone for a moment, twice a plug-in, to learn its time zone where its clock
	// does not tell. Without, and where that fails, times are taken to be in Location.
	Probe    bool
	Sampling Sampling
	Timeouts Timeouts
	Listings *Listings // of phones whose cable came out, shared by all; nil: each listing begins anew
}

// Phone is one attached phone. It satisfies usbhost.Phone; its methods are called by one goroutine at a time, except
// Gone and Close.
type Phone struct {
	dev       usbhost.Interface
	s         *session
	local     *time.Location
	zoneKnown bool // local is the phone's, not only taken to be
	probe     bool
	sampling  Sampling
	listings  *Listings
	id        usbhost.ID
	byPort    bool // see usbhost.Info

	ctx     context.Context // of the goroutines below and, through bind, of every operation: ends with Close
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	gone    chan struct{}
	woken   chan struct{} // capacity 1: see Woken
	changes changes
	told    told
	busy    chan struct{} // capacity 1: full during an operation; Close waits for it
}

var _ usbhost.Phone = (*Phone)(nil)

// Open asks the phone who it is. It works on a locked phone; the session opens with the first operation that needs one.
// Open owns dev.Pipe from now on, and closes it if it fails.
func Open(ctx context.Context, dev usbhost.Interface, o Options) (*Phone, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	if dev.MaxPacket <= 0 || scratchSize%dev.MaxPacket != 0 {
		return nil, errors.Join(fmt.Errorf("mtp: open: packets of %d bytes", dev.MaxPacket), dev.Pipe.Close())
	}
	s := &session{
		link: &link{pipe: dev.Pipe, packet: dev.MaxPacket, number: uint16(dev.Number), scratch: make([]byte, scratchSize)},
		t:    o.Timeouts.withDefaults(),
		log:  o.Log,
	}
	var err error
	for try := range 3 { // a phone that just woke lets the first question run out
		if s.info, err = s.getDeviceInfo(ctx, s.t.Open<<try); err == nil || ctx.Err() != nil || errors.Is(err, usbhost.ErrUnplugged) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mtp: open: %w", err), dev.Pipe.Close())
	}
	p := &Phone{dev: dev, s: s, local: o.Location, probe: o.Probe, sampling: o.Sampling, listings: o.Listings, gone: make(chan struct{}), woken: make(chan struct{}, 1), busy: make(chan struct{}, 1)}
	serial := cmp.Or(usbhost.OwnSerial(dev.Serial), usbhost.OwnSerial(s.info.serial)) // AOSP's over MTP is random, and each phone's own
	p.id, p.byPort = usbhost.NewID("mtp", cmp.Or(serial, dev.Place())), serial == ""
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.wait.Go(p.watchGone)
	p.wait.Go(p.readEvents)
	return p, nil
}

func (p *Phone) watchGone() {
	defer close(p.gone)
	select {
	case <-p.dev.Gone:
	case <-p.ctx.Done():
	}
}

// begin takes the phone for one operation, whose ctx also ends with Close.
func (p *Phone) begin(ctx context.Context) (_ context.Context, end func()) {
	p.busy <- struct{}{}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		<-p.busy
	}
}

// Info describes the phone. Free and Total add all storages up.
func (p *Phone) Info(ctx context.Context) (usbhost.Info, error) {
	ctx, end := p.begin(ctx)
	defer end()
	info := usbhost.Info{
		ID: p.id, ByPort: p.byPort,
		Maker: cmp.Or(p.dev.Maker, p.s.info.maker),
		Model: cmp.Or(p.dev.Model, p.s.info.model),
		Free:  -1,
		Total: -1,
		Link:  p.dev.Link,
	}
	info.Name = strings.TrimSpace(info.Maker + " " + strings.TrimSpace(strings.TrimPrefix(info.Model, info.Maker)))
	all, err := p.s.storages(ctx)
	if err != nil {
		return info, fmt.Errorf("mtp: info: %w", err)
	}
	if info.Locked = len(all) == 0; info.Locked {
		return info, nil
	}
	p.told.put(all)
	info.Free, info.Total = 0, 0
	for _, s := range all {
		info.Free = addSize(info.Free, s.free)
		info.Total = addSize(info.Total, s.total)
	}
	return info, nil
}

// addSize adds what a phone claims without letting it overflow.
func addSize(sum int64, more uint64) int64 {
	const most = 1 << 60
	return min(sum+int64(min(more, most)), most)
}

// Gone is closed when the phone is unplugged or closed.
func (p *Phone) Gone() <-chan struct{} { return p.gone }

// Close ends the operation under way, closes the session and lets go of the interface.
func (p *Phone) Close() error {
	p.cancel()
	p.busy <- struct{}{}
	defer func() { <-p.busy }()
	p.wait.Wait()
	if p.s.open {
		p.s.open = false
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.s.t.Open)
		defer cancel()
		// The next host opens the session anew whatever comes of this.
		if _, err := p.s.do(ctx, request{op: opCloseSession, first: p.s.t.Open}); err != nil {
			p.s.log.Debug("mtp: close session", "err", err)
		}
	}
	if err := p.dev.Pipe.Close(); err != nil {
		return fmt.Errorf("mtp: close: %w", err)
	}
	return nil
}
