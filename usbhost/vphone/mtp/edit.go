package mtp

import (
	"errors"
	"io"
	"time"

	"phonebackupbox/usbhost/vphone"
)

// edit is an object opened with BeginEditObject (Android's extension: operations 95C2 to 95C5).
type edit struct {
	object
	content vphone.Content
}

func (s *server) beginEdit(c command) (response, error) {
	handle := c.params[0]
	if s.edits[handle] != nil {
		return respond(respGeneralError)
	}
	o, info, ok := s.lookup(handle)
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	if info.Folder || o.store.ReadOnly() {
		return respond(respGeneralError)
	}
	s.edits[handle] = &edit{o, info.Content}
	return respond(respOK)
}

func (s *server) endEdit(c command) (response, error) {
	if s.edits[c.params[0]] == nil {
		return respond(respGeneralError)
	}
	delete(s.edits, c.params[0])
	return respond(respOK)
}

func (s *server) sendPartialObject(c command) (response, error) {
	e := s.edits[c.params[0]]
	off := int64(c.params[1]) | int64(c.params[2])<<32
	if e == nil || off < 0 || off > e.content.Size() {
		return respond(respGeneralError)
	}
	in := e.store.Receive()
	resp, err := s.receive(c, in, c.params[3], e.store.Free())
	if err == nil && resp.code == respOK {
		resp, err = s.overwrite(e, off, in)
	}
	if err != nil || resp.code != respOK {
		s.phone.fail(in.Discard())
		return resp, err
	}
	s.phone.countReceived(e.store.Path(e.node), in.Size())
	return respond(respOK, uint32(in.Size()))
}

func (s *server) overwrite(e *edit, off int64, in *vphone.Incoming) (response, error) {
	patch, err := in.Content()
	if err != nil {
		s.phone.fail(err)
		return respond(respGeneralError)
	}
	size := max(e.content.Size(), off+patch.Size())
	return s.replace(e, patched{base: e.content, patch: patch, off: off, size: size})
}

func (s *server) truncateObject(c command) (response, error) {
	e := s.edits[c.params[0]]
	size := int64(c.params[1]) | int64(c.params[2])<<32
	if e == nil || size < 0 {
		return respond(respGeneralError)
	}
	return s.replace(e, patched{base: e.content, patch: vphone.Bytes(nil), off: size, size: size})
}

func (s *server) replace(e *edit, c vphone.Content) (response, error) {
	if err := e.store.Fill(e.node, c, time.Now().Truncate(time.Second)); err != nil {
		return respond(respGeneralError)
	}
	e.content = c
	return respond(respOK)
}

// patched is base, cut or filled with zeros to size bytes, with patch written over it at off.
type patched struct {
	base, patch vphone.Content
	off, size   int64
}

func (p patched) Size() int64 { return p.size }

func (p patched) ReadAt(b []byte, off int64) (n int, err error) {
	if off >= p.size {
		return 0, io.EOF
	}
	short := int64(len(b)) > p.size-off
	b = b[:min(int64(len(b)), p.size-off)]
	clear(b)
	if have := p.base.Size() - off; have > 0 {
		if err := readFull(p.base, b[:min(int64(len(b)), have)], off); err != nil {
			return 0, err
		}
	}
	from, to := max(off, p.off), min(off+int64(len(b)), p.off+p.patch.Size())
	if from < to {
		if err := readFull(p.patch, b[from-off:to-off], from-p.off); err != nil {
			return 0, err
		}
	}
	if short {
		return len(b), io.EOF
	}
	return len(b), nil
}

func readFull(c vphone.Content, b []byte, off int64) error {
	if n, err := c.ReadAt(b, off); n < len(b) && err != nil {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	return nil
}
