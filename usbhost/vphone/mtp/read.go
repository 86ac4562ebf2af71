package mtp

import (
	"errors"
	"io"
	"time"

	"phonebackupbox/usbhost/vphone"
)

func (s *server) getObject(c command) (response, error) {
	o, info, ok := s.lookup(c.params[0])
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	if info.Folder {
		return respond(respGeneralError)
	}
	return s.sendFile(c, o, info, 0, info.Size())
}

func (s *server) getPartialObject(c command) (response, error) {
	o, info, ok := s.lookup(c.params[0])
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	off, length := int64(c.params[1]), int64(c.params[2])
	if c.code == OpGetPartialObject64 {
		off |= int64(c.params[2]) << 32
		length = int64(c.params[3])
	}
	if info.Folder || off < 0 || off > info.Size() {
		return respond(respGeneralError)
	}
	length = min(length, info.Size()-off)
	resp, err := s.sendFile(c, o, info, off, length)
	if err == nil && resp.code == respOK {
		resp.params = []uint32{uint32(length)}
	}
	if full := (headerSize+length)%int64(s.port.MaxPacket()) == 0; full && s.phone.cfg.Quirks.HangOnFullPacket {
		s.wedged.Store(true)
		return response{}, errNoResponse
	}
	return resp, err
}

// transfer is one file's bytes on their way to the host.
type transfer struct {
	command
	object
	path    string
	fault   fault
	content vphone.Content
	off     int64 // of the next byte to read
	left    int64 // bytes
	last    int   // length of the last transfer queued
}

// sendFile sends length bytes at off in a data phase of its own: the header with as many bytes as fit into its packet,
// then chunks of 2 MiB.
func (s *server) sendFile(c command, o object, info vphone.Info, off, length int64) (response, error) {
	t := &transfer{command: c, object: o, path: o.store.Path(o.node), content: info.Content, off: off, left: length}
	t.fault, _ = s.phone.look(t.path)
	if err := s.port.Flush(); err != nil { // the last response, so that only this file's bytes are counted
		return response{}, err
	}
	claimed := uint64(headerSize) + uint64(length)
	if at := t.fault.shortAt; at >= 0 {
		t.left = max(min(t.left, at-off), 0)
	}
	if at := t.fault.unplugAt; at >= off && at <= off+t.left {
		s.phone.spend(t.path, func(f *fault) { f.unplugAt = -1 })
		s.port.VanishAfter(headerSize + at - off)
	}
	before := s.port.Sent()
	resp, err := s.move(t, claimed)
	if sent := s.port.Sent() - before - headerSize; sent > 0 || length == 0 {
		s.phone.countSent(t.path, off, max(min(sent, length), 0))
	}
	return resp, err
}

func (s *server) move(t *transfer, claimed uint64) (response, error) {
	if s.bufs[0] == nil {
		s.bufs = [2][]byte{make([]byte, chunkSize), make([]byte, chunkSize)}
	}
	head := s.bufs[0][:headerSize+min(int64(s.port.MaxPacket()-headerSize), t.left)]
	if s.phone.cfg.Quirks.HeaderAlone && t.left > 0 {
		head = head[:headerSize]
	}
	c := s.dataHead(t.command)
	putHeader(head, claimed, typeData, c.code, c.transaction)
	if err := t.fill(head[headerSize:]); err != nil {
		return respond(respGeneralError)
	}
	if err := s.beginData(); err != nil {
		return response{}, err
	}
	if err := s.queue(t, head); err != nil {
		return response{}, err
	}
	s.grow(t)
	for i := 1; t.left > 0; i++ {
		buf := s.bufs[i%2][:min(t.left, chunkSize)]
		if err := t.fill(buf); err != nil {
			return s.giveUp()
		}
		if err := s.queue(t, buf); err != nil {
			return response{}, err
		}
	}
	if err := s.endData(t.last); err != nil {
		return response{}, err
	}
	if err := s.port.Flush(); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

func (s *server) queue(t *transfer, b []byte) error {
	t.last = len(b)
	return s.port.Queue(b)
}

// fill reads the next bytes of the file.
func (t *transfer) fill(b []byte) error {
	if at := t.fault.failAt; at >= 0 && at < t.off+int64(len(b)) {
		return errors.New("mtp: read fails as told")
	}
	n, err := t.content.ReadAt(b, t.off)
	if n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	t.off += int64(n)
	t.left -= int64(n)
	return nil
}

// giveUp ends a data phase that cannot go on: AOSP stalls both bulk endpoints and sends no response; Android 8 sent its
// response right behind the data, with no short packet between.
func (s *server) giveUp() (response, error) {
	if err := s.port.Flush(); err != nil {
		return response{}, err
	}
	if s.phone.cfg.Quirks.NoStall {
		return respond(respGeneralError)
	}
	s.gaveUp.Store(true)
	s.port.Stall()
	return response{}, errNoResponse
}

// grown is by how much GrowsWhileRead lengthens a file.
const grown = 1000 // bytes

// grow lets an app write to the file that is being sent.
func (s *server) grow(t *transfer) {
	if t.fault.grows == 0 {
		return
	}
	s.phone.spend(t.path, func(f *fault) {
		if f.grows > 0 {
			f.grows--
		}
	})
	info, err := t.store.Stat(t.node)
	if err != nil {
		return // removed meanwhile: nothing to grow
	}
	more := vphone.Generated(uint64(info.Size()), grown)
	// Put, not Fill: it is the phone's own app that writes, and the initiator is told.
	s.phone.fail(t.store.Put(t.path, info.ModTime.Add(2*time.Second), vphone.Grown(info.Content, more)))
}
