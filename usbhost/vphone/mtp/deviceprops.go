package mtp

import "time"

// Device properties (MTP 1.1, appendix C).
const (
	propBattery      = 0x5001
	propImageSize    = 0x5003
	propDateTime     = 0x5011
	propSyncPartner  = 0xd401
	propFriendlyName = 0xd402
	propDeviceType   = 0xd407
)

func (p *Phone) deviceProps() []uint16 {
	props := []uint16{propSyncPartner, propFriendlyName, propImageSize, propBattery, propDeviceType}
	if p.cfg.Quirks.PTP {
		props = []uint16{propBattery}
	}
	if p.cfg.Quirks.Clock {
		props = append(props, propDateTime)
	}
	return props
}

// deviceType is what AOSP says unless a maker set it: 0, generic.
const deviceType = 0

// deviceProp puts a device property's value into d and tells its type; 0 if the phone has no such property.
func (p *Phone) deviceProp(code uint16, d *dataset) (dataType uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch code {
	case propDateTime:
		if !p.cfg.Quirks.Clock {
			return typeUndefined
		}
		d.str(time.Now().In(p.zone).Format(dateLayout + "-0700"))
		return typeString
	case propSyncPartner, propFriendlyName:
		d.str(p.props[code])
		return typeString
	case propImageSize:
		d.str("2424x2424")
		return typeString
	case propBattery:
		d.u8(p.battery)
		return typeUint8
	case propDeviceType:
		d.u32(deviceType)
		return typeUint32
	}
	return typeUndefined
}

func (s *server) getDevicePropValue(c command) (response, error) {
	d := newDataset(64)
	if s.phone.deviceProp(uint16(c.params[0]), &d) == typeUndefined {
		return respond(respDevicePropNotSupported)
	}
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

// getDevicePropDesc answers with a DevicePropDesc dataset (MTP 1.1, section 5.1.2.1).
func (s *server) getDevicePropDesc(c command) (response, error) {
	code := uint16(c.params[0])
	var value dataset
	dataType := s.phone.deviceProp(code, &value)
	if dataType == typeUndefined {
		return respond(respDevicePropNotSupported)
	}
	d := newDataset(64)
	d.u16(code)
	d.u16(dataType)
	if code == propSyncPartner || code == propFriendlyName {
		d.u8(1) // may be set
	} else {
		d.u8(0)
	}
	switch dataType { // the factory default
	case typeString:
		d.str("")
	case typeUint8:
		d.u8(0)
	case typeUint32:
		d.u32(0)
	}
	d = append(d, value...)
	if code == propBattery {
		d.u8(1) // range: from, to, step
		d.u8(0)
		d.u8(100)
		d.u8(1)
	} else {
		d.u8(0) // no form
	}
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

func (s *server) setDevicePropValue(c command) (response, error) {
	data, err := s.readData(c)
	if err != nil {
		return badData(err)
	}
	code := uint16(c.params[0])
	if code != propSyncPartner && code != propFriendlyName {
		return respond(respDevicePropNotSupported)
	}
	f := fields{b: data}
	text := f.str()
	if f.err != nil {
		return respond(respInvalidParameter)
	}
	s.phone.mu.Lock()
	s.phone.props[code] = text
	s.phone.mu.Unlock()
	return respond(respOK)
}
