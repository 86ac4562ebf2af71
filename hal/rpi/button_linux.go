package rpi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"phonebackupbox/hal"
)

// queued is how many edges the kernel keeps while nobody reads them. If there are more, the oldest are lost: the newest tells how
// the contact is.
const queued = 64

// Button is a button on a line. Its Edge is for one goroutine.
type Button struct {
	f     *os.File
	first *hal.Edge // it was down when it was opened
}

var _ hal.Button = (*Button)(nil)

func newButton(f *os.File, down bool) *Button {
	b := &Button{f: f}
	if down {
		b.first = &hal.Edge{Down: true, At: time.Now()}
	}
	return b
}

// Edge waits for the next change, as the kernel saw it, and when: it notes the time in the interrupt. A button that was down when it
// was opened begins with that.
func (b *Button) Edge(ctx context.Context) (hal.Edge, error) {
	if e := b.first; e != nil {
		b.first = nil
		return *e, nil
	}
	if err := b.f.SetReadDeadline(time.Time{}); err != nil {
		return hal.Edge{}, fmt.Errorf("rpi: button: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = b.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var e lineEvent
	n, err := b.f.Read(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)))
	switch {
	case ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return hal.Edge{}, ctx.Err()
	case err != nil:
		return hal.Edge{}, fmt.Errorf("rpi: button: %w", err)
	case n != int(unsafe.Sizeof(e)):
		return hal.Edge{}, fmt.Errorf("rpi: button: an event of %d bytes", n)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return hal.Edge{}, fmt.Errorf("rpi: button: %w", err)
	}
	ago := time.Duration(now.Nano() - int64(e.timestamp))
	return hal.Edge{Down: e.id == unix.GPIO_V2_LINE_EVENT_RISING_EDGE, At: time.Now().Add(-ago)}, nil
}
