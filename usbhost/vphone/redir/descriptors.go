package redir

import (
	"encoding/binary"
	"unicode/utf16"

	"phonebackupbox/usbhost"
)

// The endpoints that AOSP's MTP function has, in its order.
const (
	addressIn    = 0x81
	addressOut   = 0x01
	addressEvent = 0x82

	eventSize     = 28 // bytes: wMaxPacketSize of the interrupt endpoint
	eventInterval = 6  // 2^(6-1) microframes: 4 ms
)

const (
	typeBulk      = 2
	typeInterrupt = 3
	typeNone      = 255
)

// Descriptor types (USB 2.0, table 9-5; USB 3.2, table 9-6).
const (
	descDevice    = 1
	descConfig    = 2
	descString    = 3
	descInterface = 4
	descEndpoint  = 5
	descQualifier = 6
	descBOS       = 15
	descCompanion = 48
)

// Indices of strings.
const (
	stringMaker = iota + 1
	stringModel
	stringSerial
	stringMTP
	stringMicrosoft = 0xee // Microsoft OS 1.0 Descriptors Specification
)

// vendorCode is the vendor request by which Windows and libmtp ask whether this is an MTP device.
const vendorCode = 0x01

const compatibleID = 4 // wIndex of that request

// How fast a port is, in the protocol's numbers.
const (
	fullSpeed  = 1
	highSpeed  = 2
	superSpeed = 3
)

// speed follows from the bulk endpoints' packet size.
func speed(packet int) uint8 {
	switch {
	case packet >= 1024:
		return superSpeed
	case packet >= 512:
		return highSpeed
	}
	return fullSpeed
}

// descriptors are what the device tells of itself.
type descriptors struct {
	of     usbhost.Interface
	packet int // bytes: the bulk endpoints' wMaxPacketSize
}

// isMTP tells whether Microsoft's descriptors and the interface's name say MTP: of still image class (PTP and MTP are one
// there), and of Android's own kind.
func (d descriptors) isMTP() bool {
	return d.of.Class == 6 && d.of.SubClass == 1 || d.of.Class == 0xff && d.of.SubClass == 0xff && d.of.Protocol == 0
}

// get returns the descriptor that a GetDescriptor's wValue asks for, nil if there is none.
func (d descriptors) get(value uint16) []byte {
	kind, index := byte(value>>8), byte(value)
	switch {
	case kind == descString:
		return d.text(index)
	case index != 0:
		return nil
	case kind == descDevice:
		return d.device()
	case kind == descConfig:
		return d.configuration()
	case kind == descQualifier && speed(d.packet) == highSpeed:
		return []byte{10, descQualifier, 0x00, 0x02, 0, 0, 0, 64, 1, 0}
	case kind == descBOS && speed(d.packet) == superSpeed:
		return bos()
	}
	return nil
}

const deviceVersion = 0x0414 // what a phone with Linux 4.14 says

func (d descriptors) device() []byte {
	version, control := uint16(0x0200), byte(64)
	if speed(d.packet) == superSpeed {
		version, control = 0x0300, 9 // 2^9 bytes
	}
	b := []byte{18, descDevice}
	b = binary.LittleEndian.AppendUint16(b, version)
	b = append(b, 0, 0, 0, control) // the class is the interface's
	for _, n := range []uint16{d.of.Vendor, d.of.Product, deviceVersion} {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	for _, index := range []byte{stringMaker, stringModel, stringSerial} {
		if len(d.text(index)) <= 2 {
			index = 0 // it has none
		}
		b = append(b, index)
	}
	return append(b, 1)
}

func (d descriptors) configuration() []byte {
	name := byte(0)
	if d.isMTP() {
		name = stringMTP
	}
	power := byte(500 / 2) // mA
	if speed(d.packet) == superSpeed {
		power = 896 / 8
	}
	b := []byte{9, descConfig, 0, 0, 1, 1, 0, 0x80, power,
		9, descInterface, d.of.Number, 0, 3, d.of.Class, d.of.SubClass, d.of.Protocol, name}
	b = d.endpoint(b, addressIn, typeBulk, d.packet, 0)
	b = d.endpoint(b, addressOut, typeBulk, d.packet, 0)
	b = d.endpoint(b, addressEvent, typeInterrupt, eventSize, eventInterval)
	binary.LittleEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func (d descriptors) endpoint(b []byte, address, kind byte, packet int, interval byte) []byte {
	b = append(b, 7, descEndpoint, address, kind, byte(packet), byte(packet>>8), interval)
	if speed(d.packet) != superSpeed {
		return b
	}
	perInterval := 0
	if kind == typeInterrupt {
		perInterval = packet
	}
	return append(b, 6, descCompanion, 0, 0, byte(perInterval), byte(perInterval>>8))
}

// bos says what a SuperSpeed device must: that it can do high speed with link power management, and SuperSpeed from full
// speed on (USB 3.2, section 9.6.2).
func bos() []byte {
	const capability, usb2Extension, superSpeedUSB = 16, 2, 3
	return []byte{5, descBOS, 22, 0, 2,
		7, capability, usb2Extension, 0x02, 0, 0, 0,
		10, capability, superSpeedUSB, 0, 0x0e, 0, 1, 10, 0xff, 0x07}
}

// maxText is how many UTF-16 units a string descriptor holds: its length is one byte.
const maxText = (255 - 2) / 2

func (d descriptors) text(index byte) []byte {
	if index == 0 {
		return []byte{4, descString, 0x09, 0x04} // US English is all there is
	}
	var s string
	switch index {
	case stringMaker:
		s = d.of.Maker
	case stringModel:
		s = d.of.Model
	case stringSerial:
		s = d.of.Serial
	case stringMTP:
		s = "MTP"
	case stringMicrosoft:
		if !d.isMTP() {
			return nil
		}
		s = "MSFT100"
	default:
		return nil
	}
	units := utf16.Encode([]rune(s))
	units = units[:min(len(units), maxText)]
	b := []byte{byte(2 + 2*len(units)), descString}
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	if index == stringMicrosoft {
		b = append(b, vendorCode, 0)
		b[0] += 2
	}
	return b
}

// compatible is Microsoft's extended compat ID descriptor: the interface is an MTP device.
func (d descriptors) compatible() []byte {
	const size = 40
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint32(b, size)
	b = append(b, 0x00, 0x01, compatibleID, 0, 1, 0, 0, 0, 0, 0, 0, 0) // version 1.0, one function
	b = append(b, d.of.Number, 1)
	b = append(b, "MTP\x00\x00\x00\x00\x00"...)
	return b[:size]
}
