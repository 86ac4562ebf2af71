package redir

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// kind says what a packet is.
type kind uint32

const (
	kindHello kind = iota
	kindDeviceConnect
	kindDeviceDisconnect
	kindReset
	kindInterfaceInfo
	kindEndpointInfo
	kindSetConfiguration
	kindGetConfiguration
	kindConfigurationStatus
	kindSetAltSetting
	kindGetAltSetting
	kindAltSettingStatus
	kindStartIso
	kindStopIso
	kindIsoStatus
	kindStartInterrupt
	kindStopInterrupt
	kindInterruptStatus
	kindAllocStreams
	kindFreeStreams
	kindStreamsStatus
	kindCancel
	kindFilterReject
	kindFilter
	kindDisconnectAck

	kindControl   kind = 100
	kindBulk      kind = 101
	kindInterrupt kind = 103
)

// status says how a transfer ended.
type status uint8

const (
	success status = iota
	cancelled
	invalid
	ioError
	stalled
	_ // timeout
	babble
)

// The capabilities that both sides must have, as bits. They decide what packets look like; QEMU has had them since 1.4, and
// wants all of them on an xHCI.
const (
	capDeviceVersion = 1 << 1
	capMaxPacketSize = 1 << 4
	cap64BitIDs      = 1 << 5
	cap32BitLengths  = 1 << 6
	capabilities     = capDeviceVersion | capMaxPacketSize | cap64BitIDs | cap32BitLengths
)

const (
	helloSize   = 64       // bytes of the version string before the capabilities
	maxTransfer = 32 << 20 // bytes of one bulk transfer; Linux lets a program have 16 MiB under way
	maxWords    = 64       // of capabilities
	maxFilter   = 64 << 10 // bytes of a filter, which is passed over
)

// Heads of packets, packed and in little-endian order.
type (
	helloHead struct {
		Kind       kind
		Length, ID uint32
	}
	packetHead struct {
		Kind   kind
		Length uint32
		ID     uint64
	}
	controlHead struct {
		Endpoint, Request, RequestType uint8
		Status                         status
		Value, Index, Length           uint16
	}
	bulkHead struct {
		Endpoint   uint8
		Status     status
		Length     uint16
		Stream     uint32
		LengthHigh uint16
	}
	interruptHead struct {
		Endpoint uint8
		Status   status
		Length   uint16
	}
	connectHead struct {
		Speed, Class, SubClass, Protocol uint8
		Vendor, Product, Version         uint16
	}
	interfaceInfo struct {
		Count                             uint32
		Number, Class, SubClass, Protocol [32]uint8
	}
	// endpointInfo has the endpoints 0 to 15 OUT and then 0 to 15 IN.
	endpointInfo struct {
		Type, Interval, Interface [32]uint8
		MaxPacket                 [32]uint16
	}
)

// packet is one that the guest sent.
type packet struct {
	kind kind
	id   uint64
	body []byte
}

// decode takes the head off the front of a packet's body.
func decode[T any](p packet) (head T, rest []byte, err error) {
	n, err := binary.Decode(p.body, binary.LittleEndian, &head)
	if err != nil {
		return head, nil, fmt.Errorf("packet %d of %d bytes is too short", p.kind, len(p.body))
	}
	return head, p.body[n:], nil
}

// limits are the shortest and the longest body in bytes that a guest may send.
func (k kind) limits() (least, most uint32, known bool) {
	switch k {
	case kindReset, kindGetConfiguration, kindCancel, kindFilterReject, kindDisconnectAck:
		return 0, 0, true
	case kindSetConfiguration, kindGetAltSetting, kindStartInterrupt, kindStopInterrupt, kindStopIso:
		return 1, 1, true
	case kindSetAltSetting:
		return 2, 2, true
	case kindStartIso:
		return 3, 3, true
	case kindAllocStreams:
		return 8, 8, true
	case kindFreeStreams:
		return 4, 4, true
	case kindFilter:
		return 0, maxFilter, true
	case kindControl:
		return 10, 10 + 0xffff, true
	case kindBulk:
		return 10, 10 + maxTransfer, true
	case kindInterrupt:
		return 4, 4 + 0xffff, true
	}
	return 0, 0, false
}

// readHello reads the first packet of a connection, whose head is shorter than the others', and returns the capabilities.
func readHello(r io.Reader) (uint32, error) {
	var h helloHead
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil {
		return 0, err
	}
	if h.Kind != kindHello || h.Length < helloSize || h.Length > helloSize+4*maxWords || h.Length%4 != 0 {
		return 0, fmt.Errorf("it begins with packet %d of %d bytes instead of a hello", h.Kind, h.Length)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, err
	}
	if len(body) == helloSize {
		return 0, nil
	}
	return binary.LittleEndian.Uint32(body[helloSize:]), nil
}

// readPacket reads any later packet. io.EOF means that the guest has closed the connection.
func readPacket(r *bufio.Reader) (packet, error) {
	var h packetHead
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil {
		return packet{}, err
	}
	least, most, known := h.Kind.limits()
	if !known || h.Length < least || h.Length > most {
		return packet{}, fmt.Errorf("packet %d of %d bytes is none that a guest may send", h.Kind, h.Length)
	}
	p := packet{kind: h.Kind, id: h.ID}
	// Grown as the bytes come: a length alone takes no memory.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(h.Length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return packet{}, err
	}
	p.body = body.Bytes()
	return p, nil
}

// sender writes packets, several goroutines' ones one after the other.
type sender struct {
	mu sync.Mutex // held for one packet
	w  io.Writer
}

// hello says who we are.
func (s *sender) hello() error {
	b, err := binary.Append(nil, binary.LittleEndian, helloHead{kindHello, helloSize + 4, 0})
	if err != nil {
		return err
	}
	var name [helloSize]byte
	copy(name[:], "phonebackupbox simulated phone")
	_, err = s.w.Write(binary.LittleEndian.AppendUint32(append(b, name[:]...), capabilities))
	return err
}

// send writes a packet: its head, which may be nil, and data.
func (s *sender) send(k kind, id uint64, head any, data []byte) error {
	size := 0
	if head != nil {
		size = binary.Size(head)
	}
	b, err := binary.Append(nil, binary.LittleEndian, packetHead{k, uint32(size + len(data)), id})
	if err == nil && head != nil {
		b, err = binary.Append(b, binary.LittleEndian, head)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bufs := net.Buffers{b, data}
	_, err = bufs.WriteTo(s.w)
	return err
}
