//go:build libusb

package libusb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/google/gousb"

	"phonebackupbox/usbhost"
)

// Built tells whether this program can claim devices.
const Built = true

// Claim makes the device's interface ours, with a Pipe to it. A driver of the kernel that has it is detached until the Pipe is
// closed. fs.ErrPermission tells that we may not open the device, *BusyError that another program has claimed the interface,
// usbhost.ErrUnplugged that it is gone, usbhost.ErrUnsupported that it has no interface for us.
func (d Device) Claim(ctx context.Context) (usbhost.Interface, error) {
	if err := ctx.Err(); err != nil {
		return usbhost.Interface{}, err
	}
	return claim(d, newDeparture())
}

func claim(d Device, left *departure) (usbhost.Interface, error) {
	i := d.Interface
	if d.chosen.in.address == 0 {
		return i, fmt.Errorf("libusb: %s shows no interface for files: %w", d.Name(), usbhost.ErrUnsupported)
	}
	p := &pipe{device: d, left: left}
	p.closing, p.stop = context.WithCancel(context.Background())
	if err := p.open(); err != nil {
		err = d.explain(err)
		return i, errors.Join(fmt.Errorf("libusb: open %s: %w", d.Name(), err), p.Close())
	}
	i.Pipe, i.Gone = p, left.gone
	if i.Link.Slow() || i.Link.Speed == 0 || i.Link.Speed >= usb3 {
		return i, nil
	}
	if _, err := os.Stat(filepath.Join(d.dir, "bos_descriptors")); err != nil {
		i.Link.Best = max(i.Link.Best, p.askBest()) // an older kernel, which does not keep it
	}
	return i, nil
}

const usb3 = 5000 // Mbit/s

// explain says why a device could not be opened.
func (d Device) explain(err error) error {
	switch {
	case !d.here(), errors.Is(err, gousb.ErrorNoDevice), errors.Is(err, gousb.ErrorNotFound):
		return usbhost.ErrUnplugged
	case errors.Is(err, gousb.ErrorAccess):
		return fmt.Errorf("%s: %w", d.Node(), fs.ErrPermission)
	case d.taken():
		return &BusyError{d.Name(), holders("/proc", d.Node())}
	}
	return err
}

// taken tells whether another program has claimed the interface: gousb does not pass on why it could not.
func (d Device) taken() bool {
	i := filepath.Base(d.dir) + ":" + strconv.Itoa(int(d.config)) + "." + strconv.Itoa(int(d.chosen.number))
	driver, err := os.Readlink(filepath.Join(d.dir, i, "driver"))
	return err == nil && filepath.Base(driver) == "usbfs"
}

// here tells whether the device is still plugged in, by what sysfs says.
func (d Device) here() bool {
	a := attributes{dir: d.dir}
	return a.number("devnum") == d.address && a.number("busnum") == d.bus && a.err == nil
}

// open opens the device and claims its interface. What it had opened when it failed, Close closes.
func (p *pipe) open() (err error) {
	defer func() {
		if r := recover(); r != nil { // gousb panics where libusb finds no USB at all
			err = fmt.Errorf("%v", r)
		}
	}()
	d := p.device
	p.usb = gousb.NewContext()
	opened, err := p.usb.OpenDevices(func(desc *gousb.DeviceDesc) bool { return desc.Bus == d.bus && desc.Address == d.address })
	if len(opened) == 0 {
		if err == nil {
			err = gousb.ErrorNoDevice
		}
		return err
	}
	p.usbDevice = opened[0] // errors of other devices do not matter
	if p.config, err = p.usbDevice.Config(int(d.config)); err != nil {
		return err
	}
	// Only now: asked before, gousb would detach the drivers of all the phone's interfaces, and its tethering would end.
	if err = p.usbDevice.SetAutoDetach(true); err != nil {
		return err
	}
	if p.itf, err = p.config.Interface(int(d.chosen.number), int(d.chosen.alternate)); err != nil {
		return err
	}
	if p.in, err = p.itf.InEndpoint(int(d.chosen.in.address &^ directionIn)); err != nil {
		return err
	}
	if p.out, err = p.itf.OutEndpoint(int(d.chosen.out.address)); err != nil {
		return err
	}
	if d.chosen.event.address != 0 {
		if p.event, err = p.itf.InEndpoint(int(d.chosen.event.address &^ directionIn)); err != nil {
			return err
		}
	}
	p.handle, err = handleOf(p.usbDevice)
	return err
}

// handleOf is libusb's own handle of an open device, for the one thing that gousb lacks: to clear a halt.
func handleOf(d *gousb.Device) (unsafe.Pointer, error) {
	f := reflect.ValueOf(d).Elem().FieldByName("handle")
	if f.Kind() != reflect.Pointer || f.IsNil() {
		return nil, errors.New("this gousb keeps its handle elsewhere; 1.1.3 does not")
	}
	return f.UnsafePointer(), nil
}

// askBest asks the device how fast it can be, in Mbit/s; 0 if it does not tell.
func (p *pipe) askBest() int {
	const getDescriptor, most = 6, 1024
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b := make([]byte, most)
	n, err := p.Control(ctx, usbhost.Setup{RequestType: directionIn, Request: getDescriptor, Value: typeBOS << 8}, b)
	if err != nil {
		return 0 // a device of USB 2.0 has none, and stalls
	}
	best, err := parseBOS(b[:n])
	if err != nil {
		return 0
	}
	return best
}
