package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Numbers of the NBD protocol, in the order in which they come by (doc/proto.md).
const (
	nbdMagic      = 0x4e42444d41474943 // "NBDMAGIC"
	optionMagic   = 0x49484156454f5054 // "IHAVEOPT"
	replyMagic    = 0x3e889045565a9
	requestMagic  = 0x25609513
	responseMagic = 0x67446698

	fixedNewstyle, noZeroes = 1, 2
	optExport, optAbort     = 1, 2
	optInfo, optGo          = 6, 7
	repAck, repInfo         = 1, 3
	repUnsupported          = 1<<31 + 1
	hasFlags, sendFlush     = 1, 4

	cmdRead, cmdWrite, cmdDisconnect, cmdFlush = 0, 1, 2, 3

	errIO, errInvalid = 5, 22

	maxOption  = 4096     // bytes
	maxRequest = 64 << 20 // bytes
)

// nbd is one conversation with QEMU.
type nbd struct {
	conn net.Conn
	d    *Disk
}

func (n *nbd) send(fields ...any) error {
	var p []byte
	for _, f := range fields {
		var err error
		if p, err = binary.Append(p, binary.BigEndian, f); err != nil {
			return err
		}
	}
	_, err := n.conn.Write(p)
	return err
}

func (n *nbd) receive(fields ...any) error {
	for _, f := range fields {
		if err := binary.Read(n.conn, binary.BigEndian, f); err != nil {
			return err
		}
	}
	return nil
}

// talk agrees on options and then answers requests, until the other side goes.
func (n *nbd) talk() error {
	var flags uint32
	if err := errors.Join(n.send(uint64(nbdMagic), uint64(optionMagic), uint16(fixedNewstyle|noZeroes)), n.receive(&flags)); err != nil {
		return err
	}
	for {
		done, err := n.option()
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	for {
		if err := n.request(); err != nil {
			return err
		}
	}
}

// option answers one option. It is done when the disk has been chosen: there is only one.
func (n *nbd) option() (done bool, err error) {
	var magic uint64
	var option, length uint32
	if err := n.receive(&magic, &option, &length); err != nil {
		return false, err
	}
	if magic != optionMagic || length > maxOption {
		return false, fmt.Errorf("vm: nbd: option %#x of %d bytes", magic, length)
	}
	if _, err := io.CopyN(io.Discard, n.conn, int64(length)); err != nil {
		return false, err
	}
	switch option {
	case optExport:
		return true, n.send(n.d.size, uint16(hasFlags|sendFlush))
	case optInfo, optGo:
		err := errors.Join(
			n.send(uint64(replyMagic), option, uint32(repInfo), uint32(12), uint16(0), n.d.size, uint16(hasFlags|sendFlush)),
			n.send(uint64(replyMagic), option, uint32(repAck), uint32(0)))
		return option == optGo, err
	case optAbort:
		return false, io.EOF
	}
	return false, n.send(uint64(replyMagic), option, uint32(repUnsupported), uint32(0))
}

func (n *nbd) request() error {
	var magic, length uint32
	var flags, command uint16
	var handle, offset uint64
	if err := n.receive(&magic, &flags, &command, &handle, &offset, &length); err != nil {
		return err
	}
	if magic != requestMagic || length > maxRequest {
		return fmt.Errorf("vm: nbd: request %#x of %d bytes", magic, length)
	}
	if (command == cmdWrite || command == cmdFlush) && !n.d.Fuse.holds() {
		return io.EOF
	}
	var p []byte
	var err error
	switch command {
	case cmdRead:
		p = make([]byte, length)
		err = n.d.readAt(p, int64(offset))
	case cmdWrite:
		in := make([]byte, length)
		if _, err := io.ReadFull(n.conn, in); err != nil {
			return err
		}
		err = n.d.writeAt(in, int64(offset))
	case cmdFlush:
		err = n.d.flush()
	case cmdDisconnect:
		return io.EOF
	default:
		return n.send(uint32(responseMagic), uint32(errInvalid), handle)
	}
	if err != nil {
		return n.send(uint32(responseMagic), uint32(errIO), handle)
	}
	return n.send(uint32(responseMagic), uint32(0), handle, p)
}
