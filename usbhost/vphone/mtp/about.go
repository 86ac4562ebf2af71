package mtp

import "fmt"

// sendData sends a data container. d has room for the header at its front.
func (s *server) sendData(c command, d dataset) error {
	c = s.dataHead(c)
	d.header(typeData, c.code, c.transaction)
	if err := s.beginData(); err != nil {
		return err
	}
	body := []byte(d)
	if s.phone.cfg.Quirks.HeaderAlone && len(d) > headerSize {
		if err := s.port.Queue(d[:headerSize]); err != nil {
			return err
		}
		body = d[headerSize:]
	}
	if err := s.port.Queue(body); err != nil {
		return err
	}
	return s.endData(len(body))
}

// dataHead is what the header of a data container says of its command.
func (s *server) dataHead(c command) command {
	if s.phone.cfg.Quirks.JunkHeaders {
		c.code, c.transaction = 0xabcd, 0xdeadbeef
	}
	return c
}

func (s *server) beginData() error {
	s.inData.Store(true)
	if d := s.phone.cfg.Quirks.FirstByte; d > 0 {
		return s.port.Sleep(d)
	}
	return nil
}

// endData ends a data phase whose last transfer had n bytes: a full last packet is followed by an empty one.
func (s *server) endData(n int) error {
	if n%s.port.MaxPacket() != 0 || s.phone.cfg.Quirks.ResponseInsteadZLP {
		return nil
	}
	return s.port.Queue(nil)
}

// maxSent is the longest dataset in bytes that the phone takes; AOSP's buffer for them has 16 KiB.
const maxSent = 16 << 10

// readData takes the data container that goes with a command and returns its payload. A container of another transaction
// is an error of the initiator's; so is one that is too long, of which the rest is passed over.
func (s *server) readData(c command) ([]byte, error) {
	s.inData.Store(true)
	defer s.inData.Store(false)
	buf := make([]byte, maxSent+maxSent%s.port.MaxPacket())
	n, err := s.port.Read(buf)
	if err != nil {
		return nil, err
	}
	payload, err := parseData(buf[:n], c)
	for n == len(buf) {
		err = errTooLong
		var perr error
		if n, perr = s.port.Read(buf); perr != nil {
			return nil, perr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadData, err)
	}
	return payload, nil
}

func (s *server) getDeviceInfo(c command) (response, error) {
	d := newDataset(512)
	q := s.phone.cfg.Quirks
	d.u16(100) // standard version, in hundredths
	if q.PTP {
		d.u32(0) // no vendor extension
		d.u16(0)
		d.str("")
	} else {
		d.u32(6) // Microsoft's, which is MTP
		d.u16(100)
		d.str("microsoft.com: 1.0; android.com: 1.0;")
	}
	d.u16(0) // functional mode: standard
	var ops []uint16
	for _, op := range operations() {
		if s.phone.supports(op) {
			ops = append(ops, op)
		}
	}
	d.list16(ops)
	d.list16(events())
	d.list16(s.phone.deviceProps())
	d.list16(nil) // capture formats
	d.list16(playbackFormats())
	cfg := s.phone.cfg
	d.str(cfg.Maker)
	d.str(cfg.Model)
	d.str(cfg.Version)
	d.str(cfg.Serial)
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

func (s *server) openSession(c command) (response, error) {
	if s.ignored < s.phone.cfg.Quirks.IgnoredOpens {
		s.ignored++
		return response{}, errNoResponse
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session {
		return respond(respSessionAlreadyOpen, s.id)
	}
	if len(c.params) < 1 {
		return respond(respInvalidParameter)
	}
	s.session, s.id = true, c.params[0]
	return respond(respOK)
}

func (s *server) closeSession() (response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.session {
		return respond(respSessionNotOpen)
	}
	s.session, s.id = false, 0
	return respond(respOK)
}

func (s *server) getStorageIDs(c command) (response, error) {
	var ids []uint32
	for _, st := range s.shown() {
		ids = append(ids, st.id)
	}
	if s.phone.cfg.Quirks.StoragesTwice {
		ids = append(ids, ids...)
	}
	d := newDataset(4 + 4*len(ids))
	d.list32(ids)
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

// Storage types, file system and access (MTP 1.1, section 5.2.2 "StorageInfo dataset").
const (
	fixedRAM     = 3
	removableRAM = 4
	hierarchical = 2
	readWrite    = 0
	readOnly     = 1
)

func (s *server) getStorageInfo(c command) (response, error) {
	st := s.storeBy(c.params[0])
	if st == nil {
		return respond(respInvalidStorageID)
	}
	kind, access := uint16(fixedRAM), uint16(readWrite)
	if st.removable {
		kind = removableRAM
	}
	if st.ReadOnly() {
		access = readOnly
	}
	d := newDataset(128)
	d.u16(kind)
	d.u16(hierarchical)
	d.u16(access)
	d.u64(uint64(st.Capacity()))
	d.u64(uint64(st.Free()))
	d.u32(1 << 30) // free space in objects
	d.str(st.Name())
	d.str("") // volume identifier
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}
