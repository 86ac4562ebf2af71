package redir

import (
	"encoding/binary"
	"errors"
	"slices"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// Standard requests (USB 2.0, table 9-4; USB 3.2, table 9-5).
const (
	reqGetStatus       = 0
	reqClearFeature    = 1
	reqSetFeature      = 3
	reqGetDescriptor   = 6
	reqSetSEL          = 48
	reqSetIsochDelay   = 49
	featureHalt        = 0
	featureFirstDevice = 48 // U1_ENABLE; U2_ENABLE and LTM_ENABLE follow
	featureLastDevice  = 50
)

// bmRequestType (USB 2.0, table 9-2).
const (
	fromDevice  = 0x80
	typeMask    = 0x60
	standard    = 0x00
	vendor      = 0x40
	recipient   = 0x1f
	toDevice    = 0
	toInterface = 1
	toEndpoint  = 2
)

const theConfiguration = 1 // bConfigurationValue

func (s *stay) configuration() byte {
	if s.configured {
		return theConfiguration
	}
	return 0
}

// setConfiguration begins or ends the phone's only function, and answers what it has become.
func (s *stay) setConfiguration(p packet) error {
	want := p.body[0]
	if want > theConfiguration {
		return s.out.send(kindConfigurationStatus, p.id, [2]byte{byte(stalled), s.configuration()}, nil)
	}
	s.renew()
	s.configured = want == theConfiguration
	s.host.ClearHalt(true)
	s.host.ClearHalt(false)
	if err := s.describe(); err != nil {
		return err
	}
	return s.out.send(kindConfigurationStatus, p.id, [2]byte{byte(success), want}, nil)
}

// alt tells whether the interface has that alternate setting: there is one of each.
func (s *stay) alt(number, alt byte) status {
	if number != s.desc.of.Number || alt != 0 {
		return stalled
	}
	return success
}

func (s *stay) setAltSetting(p packet) error {
	number, alt := p.body[0], p.body[1]
	st := s.alt(number, alt)
	if st == success {
		s.host.ClearHalt(true)
		s.host.ClearHalt(false)
		if err := s.describe(); err != nil {
			return err
		}
	}
	return s.out.send(kindAltSettingStatus, p.id, [3]byte{byte(st), number, alt}, nil)
}

// refuseStreams answers a request for streams, which no phone of ours has.
func (s *stay) refuseStreams(p packet) error {
	var b [9]byte
	copy(b[:4], p.body)
	b[8] = byte(invalid)
	return s.out.send(kindStreamsStatus, p.id, b, nil)
}

// control does one control transfer.
func (s *stay) control(p packet) error {
	h, data, err := decode[controlHead](p)
	if err != nil {
		return err
	}
	in := h.RequestType&fromDevice != 0
	if in && len(data) > 0 || !in && len(data) != int(h.Length) {
		return errors.New("a control transfer's data are not as long as it says")
	}
	setup := usbhost.Setup{RequestType: h.RequestType, Request: h.Request, Value: h.Value, Index: h.Index}
	if in {
		data = make([]byte, h.Length)
	}
	n, st := 0, stalled
	switch {
	case h.RequestType&typeMask == standard:
		n, st = s.standard(setup, data)
	case h.RequestType == fromDevice|vendor && h.Request == vendorCode && h.Index == compatibleID && s.desc.isMTP():
		n, st = copy(data, s.desc.compatible()), success
	default:
		s.used = true
		n, err = s.host.Control(setup, data)
		if errors.Is(err, vphone.ErrNoAnswer) {
			s.mute = append(s.mute, unanswered{p.id, h}) // until the machine cancels it
			return nil
		}
		st = statusOf(err)
	}
	if n > len(data) || st != success {
		n = 0
	}
	h.Status, h.Length = st, uint16(n)
	if !in {
		return s.out.send(kindControl, p.id, h, nil)
	}
	return s.out.send(kindControl, p.id, h, data[:n])
}

// unanswered is a control transfer that the phone will never answer.
type unanswered struct {
	id   uint64
	head controlHead
}

// cancelControl ends the control transfer id, if it is one that waits.
func (s *stay) cancelControl(id uint64) error {
	i := slices.IndexFunc(s.mute, func(u unanswered) bool { return u.id == id })
	if i < 0 {
		return nil
	}
	h := s.mute[i].head
	s.mute = slices.Delete(s.mute, i, i+1)
	h.Status, h.Length = cancelled, 0
	return s.out.send(kindControl, id, h, nil)
}

// statusOf says in the protocol's words how a transfer ended.
func statusOf(err error) status {
	switch {
	case err == nil:
		return success
	case errors.Is(err, usbhost.ErrStalled):
		return stalled
	}
	return ioError
}

// standard answers what every device has to answer.
func (s *stay) standard(u usbhost.Setup, data []byte) (n int, st status) {
	in, to := u.RequestType&fromDevice != 0, u.RequestType&recipient
	switch {
	case in && u.Request == reqGetDescriptor && to == toDevice:
		if d := s.desc.get(u.Value); d != nil {
			return copy(data, d), success
		}
	case in && u.Request == reqGetStatus:
		return s.getStatus(to, u.Index, data)
	case !in && u.Request == reqClearFeature && to == toEndpoint && u.Value == featureHalt:
		return 0, s.clearHalt(byte(u.Index))
	case !in && (u.Request == reqSetFeature || u.Request == reqClearFeature) && to == toDevice &&
		u.Value >= featureFirstDevice && u.Value <= featureLastDevice,
		!in && (u.Request == reqSetSEL || u.Request == reqSetIsochDelay):
		if speed(s.desc.packet) == superSpeed {
			return len(data), success // of link power, which costs nothing here
		}
	}
	return 0, stalled
}

func (s *stay) getStatus(to byte, index uint16, data []byte) (int, status) {
	var word uint16
	switch {
	case to == toEndpoint && (index == addressIn || index == addressOut):
		if s.host.Halted(index == addressIn) {
			word = 1
		}
	case to == toEndpoint && index&0x7f != 0 && index != addressEvent, to > toEndpoint:
		return 0, stalled
	}
	return copy(data, binary.LittleEndian.AppendUint16(nil, word)), success
}

func (s *stay) clearHalt(address byte) status {
	switch address {
	case addressIn, addressOut:
		s.host.ClearHalt(address == addressIn)
	case addressEvent, 0, fromDevice: // never halted
	default:
		return stalled
	}
	return success
}
