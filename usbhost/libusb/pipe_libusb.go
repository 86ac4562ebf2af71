//go:build libusb

package libusb

// #cgo pkg-config: libusb-1.0
// #include <libusb.h>
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
	"unsafe"

	"github.com/google/gousb"

	"phonebackupbox/usbhost"
)

// Times of a Pipe.
const (
	// controlTime bounds a control transfer, which cannot be cancelled (USB 2.0, section 9.2.6.4, allows a device 5 s).
	controlTime = 5 * time.Second
	// departureTime is how long after a transfer that failed for no reason the device may still turn out to be gone: transfers
	// fail at once when a cable comes out, and the hub tells within some hundred milliseconds.
	departureTime = time.Second
	departurePoll = 10 * time.Millisecond
)

// pipe is a claimed interface. libusb keeps a large transfer's packets coming without a gap: the kernel's driver gets it
// whole, or in as many pieces as it wants, all of them queued, and a short packet ends it and them.
type pipe struct {
	device Device
	left   *departure

	usb       *gousb.Context // of its own, so that phones do not wait for each other
	usbDevice *gousb.Device
	config    *gousb.Config
	itf       *gousb.Interface
	in, event *gousb.InEndpoint // event is nil if the interface has none
	out       *gousb.OutEndpoint
	handle    unsafe.Pointer // *C.libusb_device_handle

	control sync.Mutex      // one control transfer at a time
	closing context.Context // ends with Close, and with it every transfer
	stop    context.CancelFunc
	users   sync.RWMutex // held for reading by every call, by Close for writing
	closed  bool         // guarded by users
}

var _ usbhost.Pipe = (*pipe)(nil)

// begin lets a call use the device until end. Its context ends with Close, too.
func (p *pipe) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	p.users.RLock()
	select {
	case <-p.left.gone:
		err = usbhost.ErrUnplugged
	default:
		err = ctx.Err()
	}
	if p.closed {
		err = fmt.Errorf("libusb: pipe: %w", fs.ErrClosed)
	}
	if err != nil {
		p.users.RUnlock()
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.closing, func() { cancel(fmt.Errorf("libusb: pipe: %w", fs.ErrClosed)) })
	return ctx, func() {
		stop()
		cancel(nil)
		p.users.RUnlock()
	}, nil
}

// Read does one bulk-IN transfer.
func (p *pipe) Read(ctx context.Context, b []byte) (int, error) {
	if len(b) == 0 || len(b)%p.device.Interface.MaxPacket != 0 {
		return 0, errors.New("libusb: read buffer is not a positive multiple of the packet size")
	}
	ctx, end, err := p.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	n, err := p.in.ReadContext(ctx, b)
	return p.ended(ctx, n, err, p.device.chosen.in, p.device.chosen.out)
}

// Write does one bulk-OUT transfer; of an empty b, one zero-length packet.
func (p *pipe) Write(ctx context.Context, b []byte) (int, error) {
	ctx, end, err := p.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	n, err := p.out.WriteContext(ctx, b)
	return p.ended(ctx, n, err, p.device.chosen.in, p.device.chosen.out)
}

// Event does one interrupt-IN transfer.
func (p *pipe) Event(ctx context.Context, b []byte) (int, error) {
	ctx, end, err := p.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if p.event == nil {
		return 0, fmt.Errorf("libusb: events: %w", usbhost.ErrUnsupported)
	}
	n, err := p.event.ReadContext(ctx, b)
	return p.ended(ctx, n, err, p.device.chosen.event)
}

// ended puts the end of a transfer into usbhost's words and clears the halts of what halted together.
func (p *pipe) ended(ctx context.Context, n int, err error, halted ...endpoint) (int, error) {
	n = max(n, 0)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, gousb.TransferCancelled) && ctx.Err() != nil:
		return n, context.Cause(ctx)
	case errors.Is(err, gousb.TransferStall):
		for _, e := range halted {
			if err := p.clear(e.address); err != nil {
				return n, fmt.Errorf("libusb: clear a halt: %w", err)
			}
		}
		return n, usbhost.ErrStalled
	}
	return n, p.failed(err)
}

// failed tells what became of a device when a transfer failed.
func (p *pipe) failed(err error) error {
	gone := errors.Is(err, gousb.TransferNoDevice) || errors.Is(err, gousb.ErrorNoDevice)
	for from := time.Now(); !gone && time.Since(from) < departureTime; {
		select {
		case <-p.left.gone:
		case <-time.After(departurePoll):
		}
		gone = !p.device.here()
	}
	if gone {
		p.left.leave()
		return usbhost.ErrUnplugged
	}
	return fmt.Errorf("libusb: %w", err)
}

// clear ends an endpoint's halt, on the device and on the host side (the kernel's usb_clear_halt does both).
func (p *pipe) clear(address byte) error {
	if code := C.libusb_clear_halt((*C.libusb_device_handle)(p.handle), C.uchar(address)); code != C.LIBUSB_SUCCESS {
		return p.failed(gousb.Error(code))
	}
	return nil
}

// The standard request that must go through the kernel, which keeps a toggle for each endpoint (USB 2.0, section 9.4.5).
const (
	toEndpoint   = 0x02
	clearFeature = 1
	endpointHalt = 0
)

// Control does one control transfer. It cannot be cancelled, only bounded: by ctx's deadline, or controlTime.
func (p *pipe) Control(ctx context.Context, s usbhost.Setup, b []byte) (int, error) {
	ctx, end, err := p.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	p.control.Lock()
	defer p.control.Unlock()
	if s.RequestType == toEndpoint && s.Request == clearFeature && s.Value == endpointHalt {
		return 0, p.clear(byte(s.Index))
	}
	limit := controlTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	p.usbDevice.ControlTimeout = max(limit, time.Millisecond) // 0 would be for ever
	n, err := p.usbDevice.Control(s.RequestType, s.Request, s.Value, s.Index, b)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, gousb.ErrorPipe):
		return 0, fmt.Errorf("libusb: control request %#02x: %w", s.Request, usbhost.ErrUnsupported)
	case errors.Is(err, gousb.ErrorTimeout):
		return 0, fmt.Errorf("libusb: control request %#02x: %w", s.Request, context.DeadlineExceeded)
	}
	return 0, p.failed(err)
}

// Close ends what is under way, gives the interface back to the driver of the kernel that had it, and closes the device.
func (p *pipe) Close() error {
	p.stop()
	p.users.Lock()
	defer p.users.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	if p.itf != nil {
		p.itf.Close()
	}
	var errs []error
	if p.config != nil {
		errs = append(errs, p.config.Close())
	}
	if p.usbDevice != nil {
		errs = append(errs, p.usbDevice.Close())
	}
	if p.usb != nil {
		errs = append(errs, p.usb.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("libusb: close: %w", err)
	}
	return nil
}
