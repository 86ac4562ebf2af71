package mtp

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"phonebackupbox/usbhost/vphone"
)

// pending is an object that SendObjectInfo announced and SendObject has not brought yet.
type pending struct {
	object
	folder bool
	size   uint32 // all: 4 GiB - 1 or more
	mod    time.Time
}

// abandon forgets an announced file that never came.
func (s *server) abandon() {
	p := s.pending
	s.pending = nil
	if p == nil || p.folder {
		return
	}
	s.remove(p.object)
}

// remove takes back a file that the initiator began and did not finish.
func (s *server) remove(o object) {
	if err := o.store.Delete(o.node); !errors.Is(err, fs.ErrNotExist) {
		s.phone.fail(err) // a storage made read-only meanwhile keeps the stump
	}
}

func (s *server) sendObjectInfo(c command) (response, error) {
	data, err := s.readData(c)
	if err != nil {
		return badData(err)
	}
	st, parent, code := s.place(c.params[0], c.params[1])
	if code != respOK {
		return respond(code)
	}
	o, err := parseObjectInfo(data)
	if err != nil || o.name == "" {
		return respond(respInvalidParameter)
	}
	if st.removable {
		o.name = strings.TrimSpace(o.name)
	}
	if o.name == "." || o.name == ".." || strings.Contains(o.name, "/") {
		return respond(respInvalidParameter)
	}
	if int64(o.size) > st.Free() {
		return respond(respStoreFull)
	}
	mod, err := parseDate(o.modified, s.phone.location())
	if err != nil {
		mod = time.Now().Truncate(time.Second) // what the file system sets where the initiator sets nothing
	}
	if s.phone.cfg.Quirks.NoReplace && has(st, parent, o.name) {
		return respond(respGeneralError)
	}
	var n *vphone.Node
	if o.format == formatFolder {
		n, err = st.MakeFolder(parent, o.name, time.Now().Truncate(time.Second))
	} else {
		n, err = st.MakeFile(parent, o.name, mod)
	}
	if err != nil {
		return respond(refusal(err))
	}
	s.pending = &pending{object: object{st, n}, folder: o.format == formatFolder, size: o.size, mod: mod}
	told := c.params[1]
	if told == all {
		told = 0
	}
	return respond(respOK, c.params[0], told, s.handleOf(st, n))
}

func has(st *store, parent *vphone.Node, name string) bool {
	kids, err := st.Children(parent)
	return err == nil && slices.ContainsFunc(kids, func(i vphone.Info) bool { return i.Name == name })
}

// place finds where an object is to go: a root is FFFFFFFF here, and 0 is no object.
func (s *server) place(storage, parent uint32) (*store, *vphone.Node, uint16) {
	st := s.storeBy(storage)
	if st == nil {
		return nil, nil, respInvalidStorageID
	}
	if parent == all {
		return st, st.Root(), respOK
	}
	o, info, ok := s.lookup(parent)
	if !ok {
		return nil, nil, respInvalidObjectHandle
	}
	if !info.Folder {
		return nil, nil, respInvalidParentObject
	}
	return o.store, o.node, respOK
}

// refusal is the response that fits a storage's error.
func refusal(err error) uint16 {
	switch {
	case errors.Is(err, vphone.ErrFull):
		return respStoreFull
	case errors.Is(err, vphone.ErrReadOnly):
		return respStoreReadOnly
	}
	return respGeneralError
}

func (s *server) sendObject(c command) (response, error) {
	p := s.pending
	s.pending = nil
	if p == nil {
		return respond(respNoValidObjectInfo)
	}
	in := p.store.Receive()
	resp, err := s.receive(c, in, p.size, p.store.Free())
	if err == nil && resp.code == respOK && !p.folder {
		if kerr := keep(p, in); kerr != nil {
			s.phone.fail(kerr)
			resp = response{code: refusal(kerr)}
		}
	}
	if err == nil && resp.code == respOK {
		s.phone.countReceived(p.store.Path(p.node), in.Size())
		return resp, nil
	}
	s.phone.fail(in.Discard())
	if !p.folder {
		s.remove(p.object)
	}
	return resp, err
}

func keep(p *pending, in *vphone.Incoming) error {
	content, err := in.Content()
	if err != nil {
		return err
	}
	return p.store.Fill(p.node, content, p.mod)
}

// receive takes a data phase into in until its short packet, which AOSP waits for even where it knows the size. size is
// what was announced; more than room bytes end the transaction with a stall, as a full disk does.
func (s *server) receive(c command, in *vphone.Incoming, size uint32, room int64) (response, error) {
	s.inData.Store(true)
	if s.bufs[0] == nil {
		s.bufs = [2][]byte{make([]byte, chunkSize), make([]byte, chunkSize)}
	}
	buf := s.bufs[0]
	n, err := s.port.Read(buf)
	if err != nil {
		return response{}, err
	}
	payload, err := parseData(buf[:n], c)
	bad := err != nil
	ended := n < len(buf)
	if n == headerSize && size > 0 && !bad {
		// A header in a packet of its own: unless it announces nothing, the data come in the next transfer.
		ended = binary.LittleEndian.Uint32(buf) <= headerSize
	}
	for {
		if !bad {
			if in.Size()+int64(len(payload)) > room {
				return s.refuse()
			}
			if _, err := in.Write(payload); err != nil {
				s.phone.fail(err)
				return s.refuse()
			}
		}
		if ended {
			break
		}
		if n, err = s.port.Read(buf); err != nil {
			return response{}, err
		}
		payload, ended = buf[:n], n < len(buf)
	}
	if bad || size != all && in.Size() != int64(size) {
		return respond(respGeneralError)
	}
	return respond(respOK)
}

// refuse ends a transaction in its data phase, as AOSP does when it cannot write: both bulk endpoints stall.
func (s *server) refuse() (response, error) {
	s.gaveUp.Store(true)
	s.port.Stall()
	return response{}, errNoResponse
}
