package redir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"phonebackupbox/usbhost/vphone"
)

// parting is how long the guest may take to close the connection once its device is gone.
const parting = 5 * time.Second

// Serve plugs a phone in at the other end of conn and returns when it is out again: because its cable was pulled (by
// Attachment.Unplug, a fault of the simulator or the end of ctx) or because the machine closed the connection, both nil; any
// other error is of the connection or of what came over it. conn is closed then.
//
// plug attaches the phone anew and returns the cable. It is called when the machine is there, and again when the guest resets
// or configures a phone that it has used, after the former cable was unplugged: a phone's server begins anew then.
func Serve(ctx context.Context, conn net.Conn, plug func() *vphone.Attachment) error {
	s := &stay{conn: conn, out: &sender{w: conn}, plug: plug, packets: make(chan packet)}
	defer conn.Close()
	if err := s.greet(ctx); err != nil {
		return ended(err)
	}
	// A machine that stands still takes nothing; it may not hold up the end.
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(parting)) })
	defer stop()
	s.attach()
	done := make(chan struct{})
	s.reader.Go(func() { s.read(done) })
	err := s.connect()
	if err == nil {
		err = s.run(ctx)
	}
	s.att.Unplug()
	s.detach()
	if errors.Is(err, errUnplugged) {
		err = s.part()
	}
	close(done)
	conn.Close() // whatever it says: all that mattered has been read or written
	s.reader.Wait()
	return ended(err)
}

// errUnplugged ends run when the cable was pulled.
var errUnplugged = errors.New("unplugged")

// A stay of a phone on a port. Its fields are the goroutine's of Serve, except where noted.
type stay struct {
	conn    net.Conn
	out     *sender // safe for concurrent use
	plug    func() *vphone.Attachment
	packets chan packet // from read; closed when the connection has ended
	readErr error       // why; to be looked at after that
	reader  sync.WaitGroup

	att        *vphone.Attachment
	host       vphone.Host
	desc       descriptors
	configured bool
	used       bool // something was asked of the phone since it was attached
	in, outs   *lane
	events     *eventLane // nil while the guest does not listen
	mute       []unanswered
}

// ended makes an error presentable: a machine that closed the connection, or was switched off, is none.
func ended(err error) error {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("redir: %w", err)
	}
	return nil
}

// greet exchanges the hellos.
func (s *stay) greet(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	// Both sides speak first: neither may wait for the other to listen.
	sent := make(chan error, 1)
	go func() { sent <- s.out.hello() }()
	caps, err := readHello(s.conn)
	if err != nil {
		s.conn.Close()
		<-sent
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	if missing := capabilities &^ caps; missing != 0 {
		return fmt.Errorf("the machine lacks the capabilities %#x of the protocol: QEMU 1.4 or newer has them", missing)
	}
	return nil
}

// read passes packets on until the connection ends.
func (s *stay) read(done <-chan struct{}) {
	defer close(s.packets)
	r := bufio.NewReaderSize(s.conn, 64<<10)
	for {
		p, err := readPacket(r)
		if err != nil {
			s.readErr = err
			return
		}
		select {
		case s.packets <- p:
		case <-done:
			return
		}
	}
}

// attach plugs the phone in.
func (s *stay) attach() {
	s.att = s.plug()
	s.host, s.used = s.att.Host(), false
	i := s.att.Interface()
	s.desc = descriptors{of: i, packet: i.MaxPacket}
	s.in, s.outs = s.newLane(addressIn), s.newLane(addressOut)
}

// detach waits until everything that was asked of the phone has been answered: it is unplugged, or all was cancelled.
func (s *stay) detach() {
	s.stopEvents()
	s.in.close()
	s.outs.close()
}

// renew is what a reset or a new configuration does to a phone that was used: its server ends and begins anew.
func (s *stay) renew() {
	if !s.used {
		return
	}
	listening := s.events != nil
	s.in.cancelAll()
	s.outs.cancelAll()
	s.detach()
	s.att.Unplug()
	s.attach()
	if listening {
		s.startEvents()
	}
}

// connect tells the machine what was plugged in, in the order that the protocol wants.
func (s *stay) connect() error {
	err := s.describe()
	if err == nil {
		err = s.out.send(kindDeviceConnect, 0, connectHead{
			Speed: speed(s.desc.packet), Vendor: s.desc.of.Vendor, Product: s.desc.of.Product, Version: deviceVersion,
		}, nil)
	}
	return err
}

// describe sends what endpoints and what interface there are.
func (s *stay) describe() error {
	var e endpointInfo
	for i := range e.Type {
		e.Type[i] = typeNone
	}
	const in = 16
	e.Type[0], e.MaxPacket[0] = 0, 64 // both directions of the control endpoint
	e.Type[in], e.MaxPacket[in] = 0, 64
	for _, at := range []int{addressOut, in + addressIn&0x0f} {
		e.Type[at], e.MaxPacket[at], e.Interface[at] = typeBulk, uint16(s.desc.packet), s.desc.of.Number
	}
	const event = in + addressEvent&0x0f
	e.Type[event], e.MaxPacket[event], e.Interval[event], e.Interface[event] = typeInterrupt, eventSize, eventInterval, s.desc.of.Number
	i := interfaceInfo{Count: 1}
	i.Number[0], i.Class[0], i.SubClass[0], i.Protocol[0] = s.desc.of.Number, s.desc.of.Class, s.desc.of.SubClass, s.desc.of.Protocol
	if err := s.out.send(kindEndpointInfo, 0, e, nil); err != nil {
		return err
	}
	return s.out.send(kindInterfaceInfo, 0, i, nil)
}

// run serves packets until the cable is pulled (errUnplugged) or the connection ends.
func (s *stay) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return errUnplugged
		case <-s.att.Gone():
			return errUnplugged
		case p, ok := <-s.packets:
			if !ok {
				return s.readErr
			}
			if err := s.packet(p); err != nil {
				return err
			}
		}
	}
}

// part tells the machine that the phone is gone and waits until it has closed the connection, so that nothing is lost that
// was sent before.
func (s *stay) part() error {
	if err := s.out.send(kindDeviceDisconnect, 0, nil, nil); err != nil {
		return nil // the machine was quicker
	}
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		if err := c.CloseWrite(); err != nil {
			return nil // likewise
		}
		if err := s.conn.SetReadDeadline(time.Now().Add(parting)); err != nil {
			return err
		}
		for range s.packets {
			continue // meant for the phone that is gone
		}
	}
	return nil
}

// packet does what one packet asks for.
func (s *stay) packet(p packet) error {
	switch p.kind {
	case kindReset:
		s.configured = false
		s.renew()
		return nil
	case kindSetConfiguration:
		return s.setConfiguration(p)
	case kindGetConfiguration:
		return s.out.send(kindConfigurationStatus, p.id, [2]byte{byte(success), s.configuration()}, nil)
	case kindSetAltSetting:
		return s.setAltSetting(p)
	case kindGetAltSetting:
		return s.out.send(kindAltSettingStatus, p.id, [3]byte{byte(s.alt(p.body[0], 0)), p.body[0], 0}, nil)
	case kindStartInterrupt, kindStopInterrupt:
		return s.interrupt(p)
	case kindStartIso, kindStopIso:
		return s.out.send(kindIsoStatus, p.id, [2]byte{byte(invalid), p.body[0]}, nil)
	case kindAllocStreams, kindFreeStreams:
		return s.refuseStreams(p)
	case kindControl:
		return s.control(p)
	case kindBulk:
		return s.bulk(p)
	case kindInterrupt:
		return s.interruptOut(p)
	case kindCancel:
		s.in.cancel(p.id)
		s.outs.cancel(p.id)
		return s.cancelControl(p.id)
	case kindFilterReject:
		return errors.New("the machine rejects the phone: is it attached to a bus of another speed?")
	}
	return nil // a filter or an acknowledgement: nothing follows from them
}
