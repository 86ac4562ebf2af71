package mtp

import (
	"encoding/binary"
	"errors"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// response is a response container's content.
type response struct {
	code   uint16
	params []uint32
}

func respond(code uint16, params ...uint32) (response, error) { return response{code, params}, nil }

// serve answers commands until the cable is pulled.
func (s *server) serve() {
	buf := make([]byte, max(s.port.MaxPacket(), 512))
	for {
		n, err := s.port.Read(buf)
		if errors.Is(err, vphone.ErrCancelled) {
			err = s.rest()
			n = 0
		}
		if err != nil {
			return
		}
		c, err := parseCommand(buf[:n])
		if err != nil {
			continue // AOSP passes over what is no command
		}
		if err := s.transaction(c); err != nil {
			return
		}
	}
}

// transaction answers one command. Its error means that the cable was pulled.
func (s *server) transaction(c command) error {
	s.phone.countCommand(c.code)
	s.transact.Store(c.transaction)
	resp, err := s.answer(c)
	s.inData.Store(false)
	if err == nil {
		s.phone.countResponse(resp.code)
		err = s.sendResponse(c, resp)
	}
	switch {
	case err == nil, errors.Is(err, errNoResponse):
		return s.rest()
	case errors.Is(err, vphone.ErrCancelled):
		return s.rest()
	}
	return err
}

// rest keeps the phone silent for as long as a fault says so.
func (s *server) rest() error {
	for s.wedged.Load() || s.dead.Load() {
		if err := s.port.Mute(); err != nil && !errors.Is(err, vphone.ErrCancelled) {
			return err
		}
	}
	return nil
}

func (s *server) sendResponse(c command, r response) error {
	d := newDataset(4 * len(r.params))
	for _, p := range r.params {
		d.u32(p)
	}
	d.header(typeResponse, r.code, c.transaction)
	return s.port.Queue(d)
}

// answer checks what holds for every operation and does this one.
func (s *server) answer(c command) (response, error) {
	if s.pending != nil && c.code != OpSendObject {
		s.abandon()
	}
	if d := s.phone.delay(c.code); d > 0 {
		if err := s.port.Sleep(d); err != nil {
			return response{}, err
		}
	}
	if s.phone.cfg.Quirks.Strict {
		if code := s.strict(c); code != respOK {
			return respond(code)
		}
	}
	if !s.phone.supports(c.code) {
		return respond(respOperationNotSupported)
	}
	if (needsSession(c.code) || c.code == OpGetDeviceInfo && s.phone.cfg.Quirks.InfoNeedsSession) && !s.open() {
		return respond(respSessionNotOpen)
	}
	if len(c.params) < needed(c.code) {
		return respond(respInvalidParameter)
	}
	if needsStorage(c.code) && len(s.shown()) == 0 {
		return respond(respInvalidObjectHandle)
	}
	return s.aboutDevice(c)
}

func (s *server) aboutDevice(c command) (response, error) {
	switch c.code {
	case OpGetDeviceInfo:
		return s.getDeviceInfo(c)
	case OpOpenSession:
		return s.openSession(c)
	case OpCloseSession, OpResetDevice:
		return s.closeSession()
	case OpGetStorageIDs:
		return s.getStorageIDs(c)
	case OpGetStorageInfo:
		return s.getStorageInfo(c)
	case OpGetDevicePropDesc:
		return s.getDevicePropDesc(c)
	case OpGetDevicePropValue:
		return s.getDevicePropValue(c)
	case OpSetDevicePropValue:
		return s.setDevicePropValue(c)
	case OpResetDevicePropValue:
		return respond(respGeneralError)
	}
	return s.aboutObjects(c)
}

func (s *server) aboutObjects(c command) (response, error) {
	switch c.code {
	case OpGetNumObjects:
		return s.getNumObjects(c)
	case OpGetObjectHandles:
		return s.getObjectHandles(c)
	case OpGetObjectInfo:
		return s.getObjectInfo(c)
	case OpGetObject:
		return s.getObject(c)
	case OpGetPartialObject, OpGetPartialObject64:
		return s.getPartialObject(c)
	case OpGetThumb:
		return respond(respGeneralError) // what AOSP says of a picture without a thumbnail
	case OpGetObjectPropsSupported:
		return s.getObjectPropsSupported(c)
	case OpGetObjectPropDesc:
		return s.getObjectPropDesc(c)
	case OpGetObjectPropValue:
		return s.getObjectPropValue(c)
	case OpGetObjectPropList:
		return s.getObjectPropList(c)
	}
	return s.changing(c)
}

func (s *server) changing(c command) (response, error) {
	switch c.code {
	case OpSendObjectInfo:
		return s.sendObjectInfo(c)
	case OpSendObject:
		return s.sendObject(c)
	case OpSetObjectPropValue:
		return s.setObjectPropValue(c)
	case OpDeleteObject:
		return s.deleteObject(c)
	case OpMoveObject:
		return s.moveObject(c)
	case OpCopyObject:
		return s.copyObject(c)
	case OpBeginEditObject:
		return s.beginEdit(c)
	case OpSendPartialObject:
		return s.sendPartialObject(c)
	case OpTruncateObject:
		return s.truncateObject(c)
	case OpEndEditObject:
		return s.endEdit(c)
	}
	return respond(respOperationNotSupported)
}

// supports reports whether the phone names op in its DeviceInfo.
func (p *Phone) supports(op uint16) bool {
	q := p.cfg.Quirks
	switch {
	case op >= OpGetPartialObject64 && op <= OpEndEditObject && q.NoPartial64,
		q.PTP && !ptp(op), op == OpGetPartialObject && q.NoPartial, op == OpGetObjectPropList && q.NoBulkList:
		return false
	}
	for _, have := range operations() {
		if have == op {
			return true
		}
	}
	return false
}

// ptp tells the operations of a camera that can be read and emptied, and of an iPhone.
func ptp(op uint16) bool {
	return op <= OpDeleteObject || op == OpGetDevicePropDesc || op == OpGetDevicePropValue || op == OpGetPartialObject
}

// needsSession tells which operations AOSP refuses without a session: not all of those that the specification says.
func needsSession(op uint16) bool {
	switch op {
	case OpGetStorageIDs, OpGetStorageInfo, OpGetObjectPropsSupported, OpGetObjectHandles, OpGetNumObjects:
		return true
	}
	return false
}

// needsStorage tells which operations AOSP answers with InvalidObjectHandle while the phone is locked.
func needsStorage(op uint16) bool {
	switch op {
	case OpGetObjectInfo, OpGetObject, OpGetPartialObject, OpGetPartialObject64, OpGetObjectPropValue,
		OpSetObjectPropValue, OpGetObjectPropList, OpDeleteObject, OpSendPartialObject, OpMoveObject, OpCopyObject:
		return true
	}
	return false
}

// needed is how many parameters an operation cannot do without.
func needed(op uint16) int {
	switch op {
	case OpGetObjectPropList:
		return 5
	case OpGetPartialObject64, OpSendPartialObject:
		return 4
	case OpGetNumObjects, OpGetObjectHandles, OpGetPartialObject, OpTruncateObject, OpMoveObject, OpCopyObject:
		return 3
	case OpGetObjectPropDesc, OpGetObjectPropValue, OpSetObjectPropValue, OpSendObjectInfo:
		return 2
	case OpGetDeviceInfo, OpOpenSession, OpCloseSession, OpResetDevice, OpGetStorageIDs, OpSendObject:
		return 0
	}
	return 1
}

// strict checks what the specification wants and AOSP does not (PTP, sections 9.3.1 and 9.3.2).
func (s *server) strict(c command) uint16 {
	switch {
	case c.code == OpGetDeviceInfo && !s.open():
		return respOK
	case c.code == OpOpenSession:
		s.lastTID = 0
		return respOK
	case !s.open():
		return respSessionNotOpen
	case c.transaction != s.lastTID+1:
		return respInvalidTransactionID
	}
	s.lastTID = c.transaction
	return respOK
}

func (s *server) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// control answers a class request (USB Still Image Capture Device Definition 1.0, section 5.2). Like AOSP it takes a
// Cancel or Reset for whatever runs, and answers only interface 0.
func (s *server) control(port *vphone.Port, setup usbhost.Setup, p []byte) (int, error) {
	if s.phone.cfg.Quirks.MuteControl {
		return 0, vphone.ErrNoAnswer
	}
	if s.dead.Load() {
		return 0, usbhost.ErrStalled
	}
	if setup.RequestType&0x60 != 0x20 || setup.Index != 0 || setup.Value != 0 {
		return 0, usbhost.ErrStalled
	}
	q := s.phone.cfg.Quirks
	switch setup.Request {
	case reqCancel:
		if q.Wedge && s.inData.Load() {
			s.wedged.Store(true)
		}
		port.Cancel()
		return len(p), nil
	case reqReset:
		s.wedged.Store(false)
		s.dead.Store(q.ResetKills)
		port.Cancel()
		return len(p), nil
	case reqStatus:
		return s.status(p)
	case reqExtendedEvent:
		return copy(p, make([]byte, 8)), nil // event 0, transaction 0, no parameters
	}
	return 0, usbhost.ErrStalled
}

// The bulk endpoints' addresses, told after a stall.
const (
	addressIn  = 0x81
	addressOut = 0x01
)

// status answers GetDeviceStatus with AOSP's lengths: 8 bytes where the specification says 4, and 12 with the stalled
// endpoints.
func (s *server) status(p []byte) (int, error) {
	if len(p) < 8 {
		return 0, usbhost.ErrStalled
	}
	b := make([]byte, 8, 12)
	binary.LittleEndian.PutUint16(b[2:], respOK)
	if s.gaveUp.Swap(false) {
		b = b[:12]
		binary.LittleEndian.PutUint16(b[2:], respTransactionCancelled)
		binary.LittleEndian.PutUint16(b[4:], addressIn)
		binary.LittleEndian.PutUint16(b[6:], addressOut)
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)))
	return copy(p, b), nil
}
