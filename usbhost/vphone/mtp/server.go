package mtp

import (
	"errors"
	"sync"
	"sync/atomic"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// chunkSize is how many bytes of a file AOSP moves at a time (128 buffers of 16 KiB).
const chunkSize = 2 << 20

// errNoResponse ends a transaction without a response container.
var errNoResponse = errors.New("mtp: no response")

// server is one run of the phone's MTP server, from Plug to Unplug.
type server struct {
	phone  *Phone
	charge bool // has no interface for files; see Phone.ChargeOnly
	run    int  // how often it was plugged in
	port   *vphone.Port
	bufs   [2][]byte // of chunkSize, made when first needed

	// Of the serving goroutine alone:
	pending *pending
	edits   map[uint32]*edit
	ignored int
	lastTID uint32

	wedged   atomic.Bool // silent until Reset
	dead     atomic.Bool // silent until replug
	inData   atomic.Bool // a data phase is under way
	gaveUp   atomic.Bool // a transaction was ended by a stall, and the host has not asked why
	transact atomic.Uint32

	mu        sync.Mutex // guards what follows
	session   bool
	id        uint32 // of the session
	stores    []*store
	nextID    uint32
	nextStore uint32
	handles   map[*vphone.Node]uint32
	objects   map[uint32]object
}

// store is a storage that the initiator can see.
type store struct {
	*vphone.Storage
	id        uint32
	removable bool
	stop      func() // watching it
}

// object is what a handle stands for.
type object struct {
	store *store
	node  *vphone.Node
}

// handleStride keeps the handles of one run from meaning anything in the next: they are counters on real phones too, but
// there an unchanged phone may give the same object the same number again, which would hide a driver that relies on it.
const handleStride = 1_000_003

func newServer(p *Phone, run int) *server {
	return &server{
		phone: p, run: run, edits: map[uint32]*edit{}, nextID: uint32(run-1)*handleStride + 1,
		handles: map[*vphone.Node]uint32{}, objects: map[uint32]object{},
	}
}

// show makes a storage visible or hides it.
func (s *server) show(st *vphone.Storage, on bool) {
	s.mu.Lock()
	at := -1
	for i, have := range s.stores {
		if have.Storage == st {
			at = i
		}
	}
	if (at >= 0) == on {
		s.mu.Unlock()
		return
	}
	var id uint32
	if on {
		s.nextStore++ // never used again in this run
		id = s.nextStore<<16 | 1
		have := &store{Storage: st, id: id, removable: s.phone.slot(st) > 0}
		have.stop = st.Watch(func(c vphone.Change) { s.changed(have, c) })
		s.stores = append(s.stores, have)
	} else {
		gone := s.stores[at]
		id = gone.id
		gone.stop()
		s.stores = append(s.stores[:at:at], s.stores[at+1:]...)
		s.forget(gone)
	}
	s.mu.Unlock()
	if on {
		s.event(eventStoreAdded, id)
	} else {
		s.event(eventStoreRemoved, id)
	}
}

// forget drops the handles of a store that went away. The caller holds mu.
func (s *server) forget(gone *store) {
	for h, o := range s.objects {
		if o.store == gone {
			delete(s.objects, h)
			delete(s.handles, o.node)
		}
	}
}

func (p *Phone) slot(st *vphone.Storage) int {
	for i, have := range p.cfg.Storages {
		if have == st {
			return i
		}
	}
	return 0
}

// changed tells the initiator what an app on the phone did.
func (s *server) changed(st *store, c vphone.Change) {
	handle := s.handleOf(st, c.Node)
	switch c.Kind {
	case vphone.Added:
		s.event(eventObjectAdded, handle)
	case vphone.Removed:
		s.event(eventObjectRemoved, handle)
	case vphone.Changed:
		s.event(eventObjectInfoChanged, handle)
	}
}

// event sends an event container on the interrupt endpoint, if a session is open.
func (s *server) event(code uint16, param uint32) {
	s.mu.Lock()
	port := s.port
	open := s.session && port != nil
	s.mu.Unlock()
	if !open || s.phone.cfg.Quirks.NoEvents {
		return
	}
	d := newDataset(4)
	d.u32(param)
	d.header(typeEvent, code, s.transact.Load())
	port.Interrupt(d)
}

// handleOf numbers a node when it is first met.
func (s *server) handleOf(st *store, n *vphone.Node) uint32 {
	if n == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.handles[n]
	if !ok {
		h = s.nextID
		s.nextID++
		s.handles[n] = h
		s.objects[h] = object{st, n}
	}
	return h
}

// lookup finds what a handle stands for now.
func (s *server) lookup(handle uint32) (object, vphone.Info, bool) {
	s.mu.Lock()
	o, ok := s.objects[handle]
	if ok {
		ok = s.visible(o.store)
	}
	s.mu.Unlock()
	if !ok {
		return object{}, vphone.Info{}, false
	}
	info, err := o.store.Stat(o.node)
	return o, info, err == nil
}

// visible reports whether a store is still shown. The caller holds mu.
func (s *server) visible(st *store) bool {
	for _, have := range s.stores {
		if have == st {
			return true
		}
	}
	return false
}

// shown returns the visible stores.
func (s *server) shown() []*store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*store(nil), s.stores...)
}

// storeBy finds a visible store; 0 is the first one.
func (s *server) storeBy(id uint32) *store {
	for _, st := range s.shown() {
		if st.id == id || id == 0 {
			return st
		}
	}
	return nil
}

// device is the server as the cable sees it.
type device struct{ s *server }

func (d device) Describe() usbhost.Interface {
	c := d.s.phone.cfg
	i := usbhost.Interface{
		Vendor: c.Vendor, Product: c.Product, Serial: c.Serial, Maker: c.Maker, Model: c.Model,
		Class: 6, SubClass: 1, Protocol: 1, // still image capture, PIMA 15740
	}
	if d.s.charge {
		i.Class, i.SubClass, i.Protocol = 0xff, 0, 0 // the maker's own business
	}
	return i
}

func (d device) Serve(port *vphone.Port) {
	d.s.mu.Lock()
	d.s.port = port
	d.s.mu.Unlock()
	d.s.serve()
	d.s.end()
}

func (d device) Control(port *vphone.Port, setup usbhost.Setup, p []byte) (int, error) {
	return d.s.control(port, setup, p)
}

// end closes what a run leaves open: a file announced or half received is not kept.
func (s *server) end() {
	s.abandon()
	for _, st := range s.shown() {
		st.stop()
	}
}
