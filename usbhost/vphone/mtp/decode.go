package mtp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"phonebackupbox/usbhost/vphone"
)

var errShort = errors.New("mtp: dataset ends early")

// command is a command container (MTP 1.1, appendix H.1).
type command struct {
	code        uint16
	transaction uint32
	params      []uint32 // at most 5
}

// maxParams is how many parameters a command can have.
const maxParams = 5

// parseCommand reads a command container; anything else is an error, and the phone passes over it in silence.
func parseCommand(b []byte) (command, error) {
	if len(b) < headerSize {
		return command{}, errShort
	}
	length := binary.LittleEndian.Uint32(b)
	if kind := binary.LittleEndian.Uint16(b[4:]); kind != typeCommand {
		return command{}, fmt.Errorf("mtp: container of type %d where a command was due", kind)
	}
	if length < headerSize || uint64(length) > uint64(len(b)) || length > headerSize+4*maxParams {
		return command{}, fmt.Errorf("mtp: command of %d bytes in a transfer of %d", length, len(b))
	}
	c := command{code: binary.LittleEndian.Uint16(b[6:]), transaction: binary.LittleEndian.Uint32(b[8:])}
	for p := b[headerSize:length]; len(p) >= 4; p = p[4:] {
		c.params = append(c.params, binary.LittleEndian.Uint32(p))
	}
	return c, nil
}

// fields reads a dataset; the first read past its end makes it fail for good.
type fields struct {
	b   []byte
	err error
}

func (f *fields) next(n int) []byte {
	if len(f.b) < n {
		f.b, f.err = nil, errShort
		return make([]byte, n)
	}
	p := f.b[:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u8() uint8   { return f.next(1)[0] }
func (f *fields) u16() uint16 { return binary.LittleEndian.Uint16(f.next(2)) }
func (f *fields) u32() uint32 { return binary.LittleEndian.Uint32(f.next(4)) }

// str reads a string up to its first NUL.
func (f *fields) str() string {
	n := int(f.u8())
	p := f.next(2 * n)
	var units []uint16
	for ; len(p) >= 2; p = p[2:] {
		u := binary.LittleEndian.Uint16(p)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return vphone.Name(units)
}

// objectInfo is what the phone looks at in an ObjectInfo dataset that it is sent (MTP 1.1, section 5.3.1).
type objectInfo struct {
	format         uint16
	size           uint32
	name, modified string
}

func parseObjectInfo(b []byte) (objectInfo, error) {
	f := fields{b: b}
	var o objectInfo
	f.u32() // storage
	o.format = f.u16()
	f.u16() // protection
	o.size = f.u32()
	f.u16()         // thumbnail format
	f.next(4 * 7)   // thumbnail size, width, height; image width, height, depth; parent
	f.next(2 + 4*2) // association type, description; sequence number
	o.name = f.str()
	f.str() // created
	o.modified = f.str()
	return o, f.err
}

// What an initiator may get wrong about a data container. badData turns both into a response.
var (
	errBadData = errors.New("mtp: bad data container")
	errTooLong = errors.New("mtp: dataset too long")
)

// parseData checks a data container's header against its command and returns the payload.
func parseData(b []byte, c command) ([]byte, error) {
	if len(b) < headerSize {
		return nil, errShort
	}
	if kind := binary.LittleEndian.Uint16(b[4:]); kind != typeData {
		return nil, fmt.Errorf("container of type %d where data were due", kind)
	}
	code, transaction := binary.LittleEndian.Uint16(b[6:]), binary.LittleEndian.Uint32(b[8:])
	if code != c.code || transaction != c.transaction {
		return nil, fmt.Errorf("data of operation %#x, transaction %d", code, transaction)
	}
	return b[headerSize:], nil
}

// badData answers what readData returned: the initiator's mistake with GeneralError, the cable's with its error.
func badData(err error) (response, error) {
	if errors.Is(err, errBadData) {
		return respond(respGeneralError)
	}
	return response{}, err
}
