package mtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"phonebackupbox/usbhost"
)

// Limits of what is read and thrown away before a phone counts as wedged.
const (
	maxStale = 64       // containers of other transactions
	maxDrain = 64 << 20 // bytes of data beyond what was asked for
)

// A phone that sends a packet now and then keeps every deadline of a transfer and never ends. A data phase may take as long
// as its bytes do at the slowest speed, in bytes per second, and a few pauses; USB 1.1 has 800,000.
const (
	slowest = 16 << 10
	trickle = 4 // pauses as long as the deadline of a transfer
)

// scratchSize is the buffer for commands, answers and datasets, in bytes; a multiple of every packet size.
const scratchSize = 64 << 10

// errProtocol: the phone sent something that fits nowhere in a transaction.
var errProtocol = errors.New("protocol broken")

// A link carries transactions, one at a time, over a Pipe.
type link struct {
	pipe    usbhost.Pipe
	packet  int    // bytes
	number  uint16 // of the interface, for class requests
	scratch []byte
	moved   int64 // bytes read and written
	lax     bool  // the phone's data headers are rubbish: whatever data come are those that were asked for
}

// An exchange is one transaction from its command to its response (MTP 1.1, section 4.7).
type exchange struct {
	l           *link
	op          Operation
	transaction uint32
	first       time.Duration // until the first byte comes back
	idle        time.Duration // between transfers after that

	began    bool          // the data container's header has come
	left     int64         // bytes of data still to come; -1: until a short packet
	got      int64         // bytes of data received
	ended    bool          // all data have come
	stale    int           // containers of other transactions that came first
	strange  bool          // data were among them
	zeros    int           // zero-length packets in a row
	raw      int           // bytes of the last transfer
	waited   time.Duration // for transfers of the data phase
	answered bool
	answer   answer
	err      error // sticky: the transaction is over without a response
}

// begin sends the command.
func (l *link) begin(ctx context.Context, x exchange, params []uint32) (*exchange, error) {
	x.l, x.left = l, -1
	cmd := appendCommand(l.scratch[:0], x.op, x.transaction, params)
	if err := l.write(ctx, x.idle, cmd); err != nil {
		x.err = err
		return &x, err
	}
	return &x, nil
}

// write does one bulk-OUT transfer within d.
func (l *link) write(ctx context.Context, d time.Duration, p []byte) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	n, err := l.pipe.Write(ctx, p)
	l.moved += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// read does one bulk-IN transfer within d.
func (l *link) read(ctx context.Context, d time.Duration, p []byte) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	n, err := l.pipe.Read(ctx, p)
	l.moved += int64(n)
	return n, err
}

// whole rounds up to whole packets.
func (l *link) whole(n int64) int64 {
	p := int64(l.packet)
	return (n + p - 1) / p * p
}

// expect tells how much data is due, so that no transfer asks for more: a phone that leaves out the zero-length packet
// would send its response into the same transfer. It matters where the container's length does not tell (4 GiB and more).
func (x *exchange) expect(n int64) { x.left = n }

// next reads one transfer of the data phase into buf, whose length is a multiple of the packet size, and returns the data
// in it, which alias buf. io.EOF tells that all data have come, or that the phone answered without or in the midst of
// them; then finish. Whatever container comes is told by its type and not by the order they should have.
func (x *exchange) next(ctx context.Context, buf []byte) ([]byte, error) {
	for {
		if x.err != nil {
			return nil, x.err
		}
		if x.ended || x.answered {
			return nil, io.EOF
		}
		data, err := x.transfer(ctx, buf)
		if err != nil {
			x.err = fmt.Errorf("operation %#04x: %w", uint16(x.op), err)
			return nil, x.err
		}
		if len(data) > 0 {
			x.got += int64(len(data))
			return data, nil
		}
	}
}

// transfer reads one transfer; data are empty if it held none.
func (x *exchange) transfer(ctx context.Context, buf []byte) (data []byte, err error) {
	ask, wait := int64(len(buf)), x.idle
	switch {
	case !x.began && x.left >= 0:
		ask, wait = min(ask, x.l.whole(headerSize+x.left)), x.first
	case !x.began:
		wait = x.first
	case x.left >= 0:
		ask = min(ask, x.l.whole(x.left))
	}
	began := time.Now()
	n, err := x.l.read(ctx, wait, buf[:ask])
	if err != nil {
		return nil, err
	}
	if x.waited += time.Since(began); x.waited > x.first+trickle*x.idle+time.Duration(x.got/slowest)*time.Second {
		return nil, fmt.Errorf("%d bytes in %v: %w", x.got, x.waited.Round(time.Second), errTimeout)
	}
	if n == 0 {
		return nil, x.zero()
	}
	x.zeros, x.raw = 0, n
	b := buf[:n]
	full := int64(n) == ask
	if !x.began {
		return x.head(ctx, b, full)
	}
	if a, ok := x.isResponse(b); ok && (x.left < 0 || x.left > int64(n)) {
		x.answered, x.answer = true, a
		return nil, nil
	}
	return x.body(b, full)
}

// zero takes a zero-length packet: the end of data of unknown length, or of none where one stands between the phases.
func (x *exchange) zero() error {
	if x.zeros++; x.zeros > 8 {
		return fmt.Errorf("%w: nothing but zero-length packets", errProtocol)
	}
	if x.began && x.left < 0 {
		x.ended = true
	}
	return nil
}

// head takes the first transfer: the data container's header, with data or alone, or the response.
func (x *exchange) head(ctx context.Context, b []byte, full bool) ([]byte, error) {
	h, rest, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	mine := h.transaction == x.transaction
	switch {
	case h.kind == typeResponse && mine:
		x.answer, err = parseAnswer(b, typeResponse)
		x.answered = err == nil
		return nil, err
	case h.kind == typeData && (mine || x.l.lax):
		x.began = true
		switch {
		case h.length != sizeUnknown:
			x.left = int64(h.length) - headerSize
		case x.left >= 0 && x.left < sizeUnknown-headerSize:
			x.left = -1 // said to be too long for the field, yet what we know is not
		}
		if len(rest) == 0 { // the header came alone, as some phones send it
			x.ended = x.left == 0
			return nil, nil
		}
		return x.body(rest, full)
	}
	// Left over from a transaction that somebody before us gave up.
	x.strange = x.strange || h.kind == typeData
	if x.stale++; x.stale > maxStale {
		return nil, fmt.Errorf("%w: nothing but containers of other transactions", errProtocol)
	}
	return nil, x.skip(ctx, h, int64(len(b)), full)
}

// skip reads the rest of a container that is none of ours.
func (x *exchange) skip(ctx context.Context, h header, got int64, full bool) error {
	alone := got == headerSize && h.kind == typeData // the header came alone, as some phones send it
	for (full || alone) && got < int64(h.length) && got < maxDrain {
		alone = false
		n, err := x.l.read(ctx, x.idle, x.l.scratch)
		if err != nil {
			return err
		}
		got += int64(n)
		full = n == len(x.l.scratch)
	}
	return nil
}

// body takes data. full tells that the transfer filled its buffer, so no short packet ended it.
func (x *exchange) body(b []byte, full bool) ([]byte, error) {
	if !full && (x.left < 0 || x.left > int64(len(b))) {
		b = x.cutResponse(b)
	}
	if x.left < 0 {
		x.ended = !full
		return b, nil
	}
	if extra := int64(len(b)) - x.left; extra > 0 {
		// More than the header promised: the response, where a zero-length packet should have stood between.
		a, ok := x.isResponse(b[x.left:])
		if !ok {
			return nil, fmt.Errorf("%w: %d bytes more than the container's length", errProtocol, extra)
		}
		x.answered, x.answer = true, a
		b = b[:x.left]
	}
	x.left -= int64(len(b))
	x.ended = x.left == 0
	return b, nil
}

// cutResponse takes the response off the end of data that stopped early: some phones let it follow in a packet of its own
// without ending the data's transfer first.
func (x *exchange) cutResponse(b []byte) []byte {
	last := x.raw % x.l.packet // bytes in the last packet
	if last == 0 || last >= len(b) {
		return b
	}
	a, ok := x.isResponse(b[len(b)-last:])
	if !ok {
		return b
	}
	x.answered, x.answer = true, a
	return b[:len(b)-last]
}

// isResponse reports whether b is, byte for byte, the response of this transaction.
func (x *exchange) isResponse(b []byte) (answer, bool) {
	if len(b) < headerSize || len(b) > maxAnswer {
		return answer{}, false
	}
	a, err := parseAnswer(b, typeResponse)
	if err != nil || a.transaction != x.transaction {
		return answer{}, false
	}
	h, _, err := parseHeader(b)
	return a, err == nil && int(h.length) == len(b)
}

// A dataReader makes the data phase an io.Reader for datasets and lists.
type dataReader struct {
	ctx  context.Context
	x    *exchange
	rest []byte // aliases the link's scratch
}

func (r *dataReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		var err error
		if r.rest, err = r.x.next(r.ctx, r.x.l.scratch); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// finish drains what data are left and returns the response. An abandoned transaction would wedge the phone.
func (x *exchange) finish(ctx context.Context) (answer, error) {
	for drained := 0; ; {
		data, err := x.next(ctx, x.l.scratch)
		if err == io.EOF {
			break
		}
		if err != nil {
			return answer{}, err
		}
		if drained += len(data); drained > maxDrain {
			x.err = fmt.Errorf("operation %#04x: %w: %d bytes more than were asked for", uint16(x.op), errProtocol, drained)
			return answer{}, x.err
		}
	}
	wait := x.idle
	if x.op == opSendObject || x.op == opSendObjectInfo {
		wait = x.first // the phone writes, and scans, before it answers
	}
	for range maxStale {
		if x.answered {
			return x.answer, nil
		}
		n, err := x.l.read(ctx, wait, x.l.scratch)
		if err == nil && n > 0 {
			var a answer
			if a, err = parseAnswer(x.l.scratch[:n], typeResponse); err == nil && a.transaction == x.transaction {
				x.answered, x.answer = true, a
			}
			if errors.Is(err, errMalformed) {
				continue // a stray container; the response follows
			}
		}
		if err != nil {
			x.err = fmt.Errorf("operation %#04x: %w", uint16(x.op), err)
			return answer{}, x.err
		}
	}
	x.err = fmt.Errorf("operation %#04x: %w: no response", uint16(x.op), errProtocol)
	return answer{}, x.err
}

// send does the data phase of an operation that takes data: size bytes of r, through buf, whose length is a multiple of the
// packet size. An error of r comes back as *sourceError and leaves the phone waiting: abort.
func (x *exchange) send(ctx context.Context, size int64, r io.Reader, buf []byte) error {
	h := header{uint32(min(headerSize+size, sizeUnknown)), typeData, uint16(x.op), x.transaction}
	fill := len(h.append(buf[:0]))
	for left := size; ; {
		n, err := io.ReadFull(r, buf[fill:fill+int(min(int64(len(buf)-fill), left))])
		if err != nil {
			return &sourceError{err}
		}
		left -= int64(n)
		if err := x.l.write(ctx, x.idle, buf[:fill+n]); err != nil {
			x.err = fmt.Errorf("operation %#04x: %w", uint16(x.op), err)
			return x.err
		}
		fill = 0
		if left == 0 {
			break
		}
	}
	if (headerSize+size)%int64(x.l.packet) != 0 {
		return nil
	}
	if err := x.l.write(ctx, x.idle, nil); err != nil { // a zero-length packet ends whole packets (USB 2.0, 5.8.3)
		x.err = fmt.Errorf("operation %#04x: %w", uint16(x.op), err)
	}
	return x.err
}

// sourceError is the fault of the file that was to be sent, not of the phone.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }
