package mtp

import (
	"encoding/binary"
	"fmt"
)

// A container is what a bulk or interrupt transfer carries (MTP 1.1, appendix H.1.1: generic container dataset).
type containerType uint16

const (
	typeCommand  containerType = 1
	typeData     containerType = 2
	typeResponse containerType = 3
	typeEvent    containerType = 4
)

const (
	headerSize = 12 // length u32, type u16, code u16, transaction u32
	maxParams  = 5
	maxAnswer  = headerSize + 4*maxParams // longest command, response or event, in bytes
)

// header begins every container.
type header struct {
	length      uint32 // bytes, the header included; sizeUnknown for data of 4 GiB and more
	kind        containerType
	code        uint16
	transaction uint32
}

// parseHeader reads a container's first bytes; rest is what follows them in b.
func parseHeader(b []byte) (h header, rest []byte, err error) {
	if len(b) < headerSize {
		return header{}, nil, fmt.Errorf("%w: a container of %d bytes", errMalformed, len(b))
	}
	h = header{
		length:      binary.LittleEndian.Uint32(b),
		kind:        containerType(binary.LittleEndian.Uint16(b[4:])),
		code:        binary.LittleEndian.Uint16(b[6:]),
		transaction: binary.LittleEndian.Uint32(b[8:]),
	}
	if h.length < headerSize {
		return header{}, nil, fmt.Errorf("%w: a container that calls itself %d bytes long", errMalformed, h.length)
	}
	if h.kind < typeCommand || h.kind > typeEvent {
		return header{}, nil, fmt.Errorf("%w: a container of type %d", errMalformed, h.kind)
	}
	return h, b[headerSize:], nil
}

func (h header) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.length)
	b = binary.LittleEndian.AppendUint16(b, uint16(h.kind))
	b = binary.LittleEndian.AppendUint16(b, h.code)
	return binary.LittleEndian.AppendUint32(b, h.transaction)
}

// answer is a response or an event with its parameters; those that were not sent are 0.
type answer struct {
	code        uint16
	transaction uint32
	params      [maxParams]uint32
}

// parseAnswer reads a whole response or event container. Some phones call a container longer than what they send;
// parameters are counted by what came.
func parseAnswer(b []byte, kind containerType) (answer, error) {
	h, rest, err := parseHeader(b)
	if err != nil {
		return answer{}, err
	}
	if h.kind != kind {
		return answer{}, fmt.Errorf("%w: a container of type %d where %d was due", errMalformed, h.kind, kind)
	}
	if len(b) > maxAnswer || h.length > maxAnswer {
		return answer{}, fmt.Errorf("%w: an answer of %d bytes", errMalformed, max(len(b), int(h.length)))
	}
	a := answer{code: h.code, transaction: h.transaction}
	rest = rest[:min(len(rest), int(h.length)-headerSize)]
	for i := 0; len(rest) >= 4; i++ {
		a.params[i] = binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
	}
	return a, nil
}

// appendCommand encodes a command container.
func appendCommand(b []byte, op Operation, transaction uint32, params []uint32) []byte {
	h := header{uint32(headerSize + 4*len(params)), typeCommand, uint16(op), transaction}
	b = h.append(b)
	for _, p := range params {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	return b
}
