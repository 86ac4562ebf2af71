package usbhost

import (
	"context"
	"fmt"
)

// A Pipe moves the bytes of one claimed USB interface: a bulk endpoint each way, an optional interrupt endpoint and
// the device's control endpoint. One goroutine reads, one writes and one waits for events at a time. Every method returns
// soon after ctx ends, having cancelled its transfer; ErrUnplugged tells that the device is gone, ErrStalled that it
// ended the transaction by halting its bulk endpoints (AOSP does when a file fails to read midway): the Pipe has then
// cleared both halts, on the device and on the host side, and the transaction gets no response.
type Pipe interface {
	// Read does one bulk-IN transfer into p, whose length is a positive multiple of the packet size. It returns when p is
	// full or a short packet has come (USB 2.0, 5.8.3). A zero-length packet is n == 0 with a nil error.
	Read(ctx context.Context, p []byte) (n int, err error)

	// Write does one bulk-OUT transfer of p and nothing more: a zero-length packet is sent only by Write of an empty p.
	Write(ctx context.Context, p []byte) (n int, err error)

	// Event waits for one interrupt-IN transfer, at most len(p) bytes.
	Event(ctx context.Context, p []byte) (n int, err error)

	// Control does one control transfer (USB 2.0, 9.3); the direction is bit 7 of s.RequestType.
	Control(ctx context.Context, s Setup, p []byte) (n int, err error)

	Close() error
}

// Setup is the head of a control transfer (USB 2.0, table 9-2); its wLength is the length of the data.
type Setup struct {
	RequestType, Request byte
	Value, Index         uint16
}

// Interface is one claimed USB interface with what its descriptors say. A Bus opens it and hands it to a driver.
type Interface struct {
	Vendor, Product           uint16 // idVendor, idProduct
	Serial                    string // iSerialNumber; "" if it has none of its own, see OwnSerial
	Maker, Model              string // iManufacturer, iProduct
	Class, SubClass, Protocol byte   // of the interface
	Number                    byte   // bInterfaceNumber, for class requests
	Port                      string // where it is plugged in, such as "1-1.4"; tells phones without a serial number apart
	Link                      Link
	MaxPacket                 int // bytes: wMaxPacketSize of the bulk endpoints (64, 512 or 1024)
	Pipe                      Pipe
	Gone                      <-chan struct{} // closed when the device is unplugged
}

// Place stands in for a serial number where a device has none: what it is, and where it is plugged in.
func (i Interface) Place() string { return fmt.Sprintf("%04x:%04x@%s", i.Vendor, i.Product, i.Port) }

// Link is how fast a device hangs on its port, in Mbit/s: 12 is full speed, 480 high speed, 5000 and more SuperSpeed. 0 is
// unknown.
type Link struct {
	Speed int // now
	Best  int // what the device says it can
}

// Slow reports whether the device would be faster with another cable or at another port.
func (l Link) Slow() bool { return l.Speed > 0 && l.Speed < l.Best }
