package mtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"phonebackupbox/usbhost"
)

// Timeouts bound one transfer each; a zero field means the default.
type Timeouts struct {
	// Open bounds the first answers of a phone that was just plugged in. Some phones let the first OpenSession run out
	// and answer the second. Default 5 s.
	Open time.Duration
	// Answer bounds a simple operation, and each transfer of a data phase under way. Default 15 s.
	Answer time.Duration
	// Listing bounds the first byte of a listing: the phone builds all of it in memory before. Default 180 s.
	Listing time.Duration
	// Stored bounds the phone's answer after the last byte of a file was sent: it writes and scans first. Default 60 s.
	Stored time.Duration
	// Quiet is the silence after which a phone that was told to cancel has nothing left to send. Default 300 ms.
	Quiet time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&t.Open, 5*time.Second)
	or(&t.Answer, 15*time.Second)
	or(&t.Listing, 180*time.Second)
	or(&t.Stored, 60*time.Second)
	or(&t.Quiet, 300*time.Millisecond)
	return t
}

// errWedged: the phone answers nothing any more, not even after a reset of the interface.
var errWedged = errors.New("phone does not answer; unplug it and plug it in again")

// A session carries operations; it opens itself again where the phone lost it.
type session struct {
	link *link
	info deviceInfo
	t    Timeouts
	log  *slog.Logger

	open        bool
	transaction uint32 // of the last operation
	aborted     int    // transactions in a row that were given up

	atOnce  bool // the whole phone was listed at once
	sayNone bool // and it takes handle 0 for all objects, not FFFFFFFF
}

// A request is one operation with what goes in and out.
type request struct {
	op     Operation
	params []uint32
	first  time.Duration // until the first byte of the answer; 0: t.Answer

	size int64                                  // bytes of send
	send io.Reader                              // data to the phone; nil: none
	read func(context.Context, *exchange) error // takes the data phase; nil: data are drained
}

// do runs one operation to its end, whatever happens: the phone is left ready for the next one, or known not to be. A
// response other than OK is an error that wraps Code.
func (s *session) do(ctx context.Context, r request) (answer, error) {
	const tries = 3
	for try := 1; ; try++ {
		if !s.open && r.op != opGetDeviceInfo && r.op != opOpenSession && r.op != opCloseSession {
			if err := s.reopen(ctx); err != nil {
				return answer{}, err
			}
		}
		a, got, strange, err := s.once(ctx, r)
		if strange && Code(a.code) == OK && !s.link.lax && r.read != nil {
			// An old Sony: the data came, but under a header of rubbish. Nothing is lost, since it answered.
			s.log.Info("mtp: the phone's data headers are not to be trusted")
			s.link.lax = true
			continue
		}
		if err == nil && Code(a.code) != OK {
			err = fmt.Errorf("operation %#04x: %w", uint16(r.op), Code(a.code))
		}
		if err == nil || got > 0 || r.send != nil || try == tries {
			return a, err
		}
		switch Code(a.code) {
		case SessionNotOpen:
			s.open = false
			if r.op == opGetDeviceInfo { // umtp-responder wants a session for it, though the specification does not
				if err := s.reopen(ctx); err != nil {
					return answer{}, err
				}
			}
		case DeviceBusy:
			if err := pause(ctx, time.Duration(try)*500*time.Millisecond); err != nil {
				return answer{}, err
			}
		default:
			return a, err
		}
	}
}

// once runs one transaction. got is how many bytes of data came; strange tells that data of other transactions came in
// their place.
func (s *session) once(ctx context.Context, r request) (a answer, got int64, strange bool, err error) {
	if err := ctx.Err(); err != nil {
		return answer{}, 0, false, err
	}
	x := exchange{op: r.op, first: r.first, idle: s.t.Answer}
	if x.first == 0 {
		x.first = s.t.Answer
	}
	if r.op != opOpenSession && (s.open || r.op != opGetDeviceInfo) { // without a session it is transaction 0
		if s.transaction++; s.transaction == sizeUnknown {
			s.transaction = 1
		}
		x.transaction = s.transaction
	}
	e, err := s.link.begin(ctx, x, r.params)
	if err == nil && r.send != nil {
		err = e.send(ctx, r.size, r.send, s.link.scratch)
	}
	if err != nil {
		return answer{}, 0, false, s.abort(ctx, e, err)
	}
	var bad error // what was wrong with the data; the transaction goes on
	if r.read != nil {
		if bad = r.read(ctx, e); errors.Is(bad, io.EOF) {
			bad = nil
		}
	}
	if a, err = e.finish(ctx); err != nil {
		return answer{}, e.got, false, s.abort(ctx, e, err)
	}
	s.aborted = 0
	if Code(a.code) == OK {
		return a, e.got, e.strange && !e.began, bad
	}
	return a, e.got, false, nil
}

// abort ends a transaction that went wrong, so that the phone is ready for the next one: an abandoned transaction wedges
// it. It returns the error to tell.
func (s *session) abort(ctx context.Context, x *exchange, err error) error {
	if errors.Is(err, usbhost.ErrUnplugged) {
		s.open = false
		return err
	}
	if told := ctx.Err(); told != nil {
		err = told
	}
	if errors.Is(err, usbhost.ErrStalled) {
		return err // the phone ended the transaction itself
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer in time", errTimeout)
		if s.aborted > 0 { // cancelling the one before did not bring it back
			s.open = false
		}
	}
	s.aborted++
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.t.Answer)
	defer cancel()
	if x.began && 0 <= x.left && x.left <= drainable {
		// So little is left that taking it is quicker than cancelling, and no phone minds.
		x.err = nil
		if _, drained := x.finish(clean); drained == nil {
			return err
		}
	}
	if cancelled := s.cancel(clean, x.transaction); cancelled != nil {
		s.open = false
		s.log.Debug("mtp: cancel", "op", uint16(x.op), "err", cancelled)
		if errors.Is(cancelled, usbhost.ErrUnplugged) {
			return cancelled
		}
	}
	return err
}

// drainable is how many bytes of a data phase are read to its end rather than cancelled.
const drainable = 8 << 20

// errTimeout: one transfer took longer than its deadline.
var errTimeout = errors.New("timed out")

// cancel tells the phone to give a transaction up (Still Image Class 1.0, section 5.2.1) and takes what it still sends.
func (s *session) cancel(ctx context.Context, transaction uint32) error {
	const code = 0x4001
	p := binary.LittleEndian.AppendUint16(nil, code)
	p = binary.LittleEndian.AppendUint32(p, transaction)
	setup := usbhost.Setup{RequestType: 0x21, Request: requestCancel, Index: s.link.number}
	if _, err := s.control(ctx, setup, p); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	for drained := 0; drained < maxDrain; {
		n, err := s.link.read(ctx, s.t.Quiet, s.link.scratch)
		drained += n
		if errors.Is(err, usbhost.ErrUnplugged) {
			return err
		}
		if err != nil { // silence
			break
		}
	}
	for try := range 20 {
		status := make([]byte, 64)
		setup := usbhost.Setup{RequestType: 0xA1, Request: requestStatus, Index: s.link.number}
		n, err := s.control(ctx, setup, status)
		if err != nil {
			return fmt.Errorf("device status: %w", err)
		}
		if n >= 4 && Code(binary.LittleEndian.Uint16(status[2:])) == OK {
			return nil
		}
		if err := pause(ctx, time.Duration(try+1)*20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("device status: %w", DeviceBusy)
}

// control does a class request. It cannot be cancelled, so its time is bounded, whatever ctx says.
func (s *session) control(ctx context.Context, setup usbhost.Setup, p []byte) (int, error) {
	bounded, cancel := context.WithTimeout(ctx, s.t.Open)
	defer cancel()
	n, err := s.link.pipe.Control(bounded, setup, p)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("class request %#02x: %w", setup.Request, errTimeout)
	}
	return n, err
}

// reopen opens the session: again where the phone believes that one is open or lets the first attempt run out, and after
// a reset where nothing else helped. A reset has wedged healthy phones, hence last.
func (s *session) reopen(ctx context.Context) error {
	var err error
	const tries, reset = 5, 3
	for try := range tries {
		if try == reset {
			s.log.Info("mtp: resetting the phone's interface")
			setup := usbhost.Setup{RequestType: 0x21, Request: requestReset, Index: s.link.number}
			if _, err := s.control(ctx, setup, nil); err != nil {
				return fmt.Errorf("mtp: %w: reset: %w", errWedged, err)
			}
			if err := pause(ctx, 3*time.Second); err != nil {
				return err
			}
		}
		if _, err = s.do(ctx, request{op: opOpenSession, params: []uint32{1}, first: s.t.Open << min(try, 2)}); err == nil {
			s.open, s.transaction = true, 0
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, usbhost.ErrUnplugged) {
			return fmt.Errorf("mtp: open session: %w", err)
		}
		s.log.Debug("mtp: open session", "try", try, "err", err)
		_, closed := s.do(ctx, request{op: opCloseSession, first: s.t.Open})
		if errors.Is(closed, usbhost.ErrUnplugged) {
			return fmt.Errorf("mtp: close session: %w", closed)
		}
	}
	return fmt.Errorf("mtp: %w: %w", errWedged, err)
}

// dataset runs an operation that answers with a dataset of at most limit bytes.
func (s *session) dataset(ctx context.Context, r request, limit int) ([]byte, error) {
	var b bytes.Buffer
	r.read = func(ctx context.Context, x *exchange) error {
		b.Reset()
		n, err := io.Copy(&b, io.LimitReader(&dataReader{ctx: ctx, x: x}, int64(limit)+1))
		if err == nil && n > int64(limit) {
			err = fmt.Errorf("%w: more than %d bytes", errMalformed, limit)
		}
		return err
	}
	_, err := s.do(ctx, r)
	return b.Bytes(), err
}

// pause waits as long as d.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
