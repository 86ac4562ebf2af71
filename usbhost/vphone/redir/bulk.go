package redir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

const (
	maxQueued = 1024     // transfers of one endpoint
	maxHeld   = 64 << 20 // bytes of bulk-OUT data not yet taken by the phone
)

// What is remembered of bulk-IN transfers that were answered, in case the guest has cancelled them.
const (
	maxAnswered      = 64
	maxAnsweredBytes = 4 << 20
)

// transfer is one bulk transfer that the guest asked for.
type transfer struct {
	id     uint64
	head   bulkHead
	length int
	data   []byte // of a bulk-OUT transfer
	ctx    context.Context
	cancel context.CancelFunc
	begun  bool          // the lane has reached it
	over   chan struct{} // closed when the phone is through with it
}

// lane does the transfers of one bulk endpoint, in order.
type lane struct {
	address byte
	packet  int
	host    vphone.Host
	out     *sender
	queue   chan *transfer
	wait    sync.WaitGroup

	mu       sync.Mutex           // guards what follows
	turn     *sync.Cond           // of mu: reading or giving has changed
	reading  context.CancelFunc   // ends the reading under way; nil if none is
	giving   bool                 // answers are being given back: nobody may read
	pending  map[uint64]*transfer // not answered yet
	held     int                  // bytes of data in them
	answered []answer             // newest last
	bytes    int                  // in answered
}

// answer is what was sent for a bulk-IN transfer.
type answer struct {
	id    uint64
	taken vphone.Taken
}

func (s *stay) newLane(address byte) *lane {
	l := &lane{
		address: address, packet: s.desc.packet, host: s.host, out: s.out,
		queue: make(chan *transfer, maxQueued), pending: map[uint64]*transfer{},
	}
	l.turn = sync.NewCond(&l.mu)
	l.wait.Go(l.run)
	return l
}

// close waits until everything has been answered: the phone is gone, or all was cancelled.
func (l *lane) close() {
	close(l.queue)
	l.wait.Wait()
}

// bulk queues a transfer.
func (s *stay) bulk(p packet) error {
	h, data, err := decode[bulkHead](p)
	if err != nil {
		return err
	}
	length := int(h.Length) | int(h.LengthHigh)<<16
	in := h.Endpoint&fromDevice != 0
	if length > maxTransfer || in && len(data) > 0 || !in && len(data) != length {
		return errors.New("a bulk transfer's data are not as long as it says, or too long")
	}
	if !s.configured || h.Stream != 0 || h.Endpoint != addressIn && h.Endpoint != addressOut || in && length == 0 {
		h.Status, h.Length, h.LengthHigh = invalid, 0, 0
		return s.out.send(kindBulk, p.id, h, nil)
	}
	s.used = true
	l := s.outs
	if in {
		l = s.in
	}
	return l.add(p.id, h, length, data)
}

func (l *lane) add(id uint64, h bulkHead, length int, data []byte) error {
	t := &transfer{id: id, head: h, length: length, data: data, over: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(context.Background()) // ended by cancel or answer; the cable's end is the host's to see
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[id] != nil || len(l.pending) == maxQueued || l.held+len(data) > maxHeld {
		t.cancel()
		return fmt.Errorf("more than %d transfers or %d bytes under way, or two of one number", maxQueued, maxHeld)
	}
	l.pending[id] = t
	l.held += len(data)
	l.queue <- t
	return nil
}

// cancel ends a transfer. When it returns, the phone is through with it. One that was answered already is one whose answer
// the guest throws away, as QEMU does, with what it brought: that goes back to the phone's endpoint, since on a bus nothing
// gets lost by being cancelled.
func (l *lane) cancel(id uint64) {
	l.mu.Lock()
	t := l.pending[id]
	begun := t != nil && t.begun
	if t != nil {
		t.cancel()
	} else {
		l.giveBack(id)
	}
	l.mu.Unlock()
	if begun {
		<-t.over
	}
}

// giveBack gives an answer back, and those after it: answers are seen in order, so the guest has seen none of them. What is
// being read begins anew with them. The caller holds mu.
func (l *lane) giveBack(id uint64) {
	first := slices.IndexFunc(l.answered, func(a answer) bool { return a.id == id })
	if first < 0 {
		return
	}
	l.giving = true
	for l.reading != nil {
		l.reading()
		l.turn.Wait()
	}
	for _, a := range slices.Backward(l.answered[first:]) {
		l.host.Unread(a.taken)
		l.bytes -= len(a.taken.Data)
	}
	l.answered = l.answered[:first]
	l.giving = false
	l.turn.Broadcast()
}

// cancelAll ends all transfers.
func (l *lane) cancelAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.pending {
		t.cancel()
	}
}

func (l *lane) run() {
	for t := range l.queue {
		l.mu.Lock()
		t.begun = true
		l.mu.Unlock()
		if l.address == addressIn {
			l.takeIn(t)
		} else {
			l.sendOut(t)
		}
	}
}

// answer ends a transfer and sends what came of it. If the guest is gone, the reader sees it too.
func (l *lane) answer(t *transfer, st status, n int, data []byte) {
	t.head.Status, t.head.Length, t.head.LengthHigh = st, uint16(n), uint16(n>>16)
	_ = l.out.send(kindBulk, t.id, t.head, data)
}

// settle takes a transfer off the list and tells whether it had been cancelled. The caller holds mu.
func (l *lane) settle(t *transfer) (wasCancelled bool) {
	wasCancelled = t.ctx.Err() != nil
	t.cancel()
	delete(l.pending, t.id)
	l.held -= len(t.data)
	return wasCancelled
}

// takeIn reads from the phone as many packets as the guest has room for. A packet that does not fit is babble, as on a bus.
func (l *lane) takeIn(t *transfer) {
	l.mu.Lock()
	got, err := l.read(t)
	wasCancelled := l.settle(t)
	st := statusOf(err)
	switch {
	case wasCancelled && !errors.Is(err, usbhost.ErrStalled):
		l.host.Unread(got)
		st, got.Data = cancelled, nil
	case len(got.Data) > t.length:
		st, got.Data = babble, got.Data[:t.length]
	case err == nil:
		l.remember(answer{t.id, got})
	}
	l.mu.Unlock()
	close(t.over)
	l.answer(t, st, len(got.Data), got.Data)
}

// read does one transfer, anew where giveBack comes between. The caller holds mu, which is free while it waits.
func (l *lane) read(t *transfer) (vphone.Taken, error) {
	buf := make([]byte, (t.length+l.packet-1)/l.packet*l.packet)
	for {
		for l.giving {
			l.turn.Wait()
		}
		var ctx context.Context
		ctx, l.reading = context.WithCancel(t.ctx)
		stop := l.reading
		l.mu.Unlock()
		got, err := l.host.In(ctx, buf)
		stop()
		l.mu.Lock()
		l.reading = nil
		l.turn.Broadcast()
		if !l.giving || err != nil && !errors.Is(err, context.Canceled) {
			return got, err
		}
		l.host.Unread(vphone.Taken{Data: bytes.Clone(got.Data), Short: got.Short})
	}
}

// remember keeps an answer for a while. The caller holds mu.
func (l *lane) remember(a answer) {
	l.answered = append(l.answered, a)
	l.bytes += len(a.taken.Data)
	for len(l.answered) > maxAnswered || l.bytes > maxAnsweredBytes && len(l.answered) > 1 {
		l.bytes -= len(l.answered[0].taken.Data)
		l.answered = l.answered[1:]
	}
}

func (l *lane) sendOut(t *transfer) {
	n, err := l.host.Out(t.ctx, t.data)
	st := statusOf(err)
	l.mu.Lock()
	if l.settle(t) && n < len(t.data) {
		st = cancelled
	}
	l.mu.Unlock()
	close(t.over)
	l.answer(t, st, n, nil)
}
