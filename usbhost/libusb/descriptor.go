package libusb

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Descriptor types (USB 3.2, table 9-6).
const (
	typeDevice       = 1
	typeConfig       = 2
	typeInterface    = 4
	typeEndpoint     = 5
	typeBOS          = 15
	typeCapability   = 16
	capSuperSpeed    = 3  // USB 3.2, table 9-14
	capSuperSpeedGen = 10 // SuperSpeedPlus
)

// What an endpoint is, in its bEndpointAddress and bmAttributes (USB 2.0, table 9-13).
const (
	directionIn   = 0x80
	transferMask  = 0x03
	transferBulk  = 2
	transferEvent = 3 // interrupt
)

var errDescriptor = errors.New("broken USB descriptor")

// descriptors is what a device tells about itself.
type descriptors struct {
	usb             uint16 // bcdUSB
	class           byte   // bDeviceClass
	vendor, product uint16
	settings        []setting
	interfaces      map[byte]int // configuration value → how many interfaces it has
}

// setting is one alternate setting of one interface of one configuration.
type setting struct {
	config, number, alternate byte
	class, subClass, protocol byte
	in, out, event            endpoint // the first of each kind
}

// endpoint is one; the zero endpoint is none.
type endpoint struct {
	address   byte
	maxPacket int // bytes
}

// eachDescriptor calls do for every descriptor in b. Descriptors may be longer than what is known of them, never shorter than
// their own two bytes of head.
func eachDescriptor(b []byte, do func(kind byte, d []byte) error) error {
	for len(b) > 0 {
		if len(b) < 2 || b[0] < 2 || int(b[0]) > len(b) {
			return fmt.Errorf("%w: %d bytes are left", errDescriptor, len(b))
		}
		if err := do(b[1], b[:b[0]]); err != nil {
			return err
		}
		b = b[b[0]:]
	}
	return nil
}

// parseDescriptors reads what the kernel keeps in sysfs: the device descriptor and behind it every configuration with all
// that belongs to it (USB 2.0, section 9.6).
func parseDescriptors(b []byte) (descriptors, error) {
	all := descriptors{interfaces: make(map[byte]int)}
	var config byte
	var last *setting // that the endpoints which follow belong to
	first := true
	err := eachDescriptor(b, func(kind byte, d []byte) error {
		if first != (kind == typeDevice) {
			return fmt.Errorf("%w: type %d where the device's should be", errDescriptor, kind)
		}
		first = false
		switch kind {
		case typeDevice:
			if len(d) < 18 {
				return fmt.Errorf("%w: a device in %d bytes", errDescriptor, len(d))
			}
			all.usb, all.class = binary.LittleEndian.Uint16(d[2:]), d[4]
			all.vendor, all.product = binary.LittleEndian.Uint16(d[8:]), binary.LittleEndian.Uint16(d[10:])
		case typeConfig:
			if len(d) < 9 {
				return fmt.Errorf("%w: a configuration in %d bytes", errDescriptor, len(d))
			}
			config, last = d[5], nil
			all.interfaces[config] = int(d[4])
		case typeInterface:
			if len(d) < 9 {
				return fmt.Errorf("%w: an interface in %d bytes", errDescriptor, len(d))
			}
			all.settings = append(all.settings, setting{config: config, number: d[2], alternate: d[3], class: d[5], subClass: d[6], protocol: d[7]})
			last = &all.settings[len(all.settings)-1]
		case typeEndpoint:
			if len(d) < 7 {
				return fmt.Errorf("%w: an endpoint in %d bytes", errDescriptor, len(d))
			}
			if last != nil {
				last.add(d)
			}
		}
		return nil
	})
	if err == nil && first {
		err = fmt.Errorf("%w: none at all", errDescriptor)
	}
	return all, err
}

// add takes an endpoint's descriptor in.
func (s *setting) add(d []byte) {
	e := endpoint{d[2], int(binary.LittleEndian.Uint16(d[4:]) & 0x7ff)}
	var at *endpoint
	switch in := e.address&directionIn != 0; {
	case d[3]&transferMask == transferBulk && in:
		at = &s.in
	case d[3]&transferMask == transferBulk:
		at = &s.out
	case d[3]&transferMask == transferEvent && in:
		at = &s.event
	default:
		return
	}
	if at.address == 0 {
		*at = e
	}
}

// parseBOS reads from a device's BOS (USB 3.2, section 9.6.2) how fast it can be, in Mbit/s; 0 if it does not tell.
func parseBOS(b []byte) (best int, err error) {
	err = eachDescriptor(b, func(kind byte, d []byte) error {
		if kind != typeCapability || len(d) < 3 {
			return nil
		}
		switch {
		case d[2] == capSuperSpeedGen:
			best = max(best, 10000)
		case d[2] == capSuperSpeed && len(d) >= 6 && d[4]&(1<<3) != 0: // wSpeedsSupported
			best = max(best, 5000)
		}
		return nil
	})
	return best, err
}
