package mtp

import (
	"sync"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// Config is what a phone is. The zero Config is a Pixel-like phone without any storage.
type Config struct {
	Vendor, Product      uint16 // default 18d1:4ee1
	Serial, Maker, Model string // default "VPHONE0001", "Google", "Pixel 9"
	Version              string // default "1.0"
	FriendlyName         string // what its owner calls it
	Storages             []*vphone.Storage
	Location             *time.Location // the phone's time zone; default UTC
	Locked               bool           // shows no storage until Unlock
	Quirks               Quirks
	Wire                 vphone.Wire
}

// Quirks are ways in which a phone differs from AOSP's responder of Android 14; the zero Quirks is AOSP, but for SameHandles.
type Quirks struct {
	NoPartial64        bool          // lacks 95C1 to 95C5
	NoPartial          bool          // lacks 101B too
	NoBulkList         bool          // lacks 9805
	PerFolderOnly      bool          // 9805 only at depth 0 and 1 of one object
	IgnoresDepth       bool          // 9805 tells of the one object asked for, at any depth, as umtp-responder does
	ListsRootsOnly     bool          // 9805 of all objects tells of those in the roots
	RootZeroInvalid    bool          // a listing of handle 0 is InvalidObjectHandle
	HangOnFullPacket   bool          // falls silent after a partial read whose last packet is full, until Reset or replug
	Wedge              bool          // falls silent when a transaction is cancelled in its data phase, until Reset or replug
	MuteControl        bool          // answers no class request, to cancel, to reset or for its status
	ResetKills         bool          // falls silent after Reset, until replug
	ResponseInsteadZLP bool          // sends the response where a zero-length packet was due
	HeaderAlone        bool          // sends each data container's header as a packet of its own
	NoStall            bool          // answers GeneralError in the middle of a file that fails, as Android 8 did, instead of stalling
	PTP                bool          // a camera, or an iPhone that is asked as one: PTP's operations only, dates with tenths
	StoragesTwice      bool          // tells each storage twice
	JunkHeaders        bool          // code and transaction ID in data containers' headers are rubbish
	Clock              bool          // has the device property DateTime, with the offset from UTC
	DropAfter          time.Duration // leaves the bus so long after it was plugged in, and shows no storage when it comes back
	Strict             bool          // wants a session for every operation and transaction IDs that count up (PTP, section 9.3)
	SameHandles        bool          // numbers its objects from 1 after each plugging in, as AOSP does; see handleStride
	InfoNeedsSession   bool          // answers GetDeviceInfo only in a session, as umtp-responder does
	Shuffles           bool          // lists each folder in another order after each plugging in
	NoReplace          bool          // refuses a file where there is one of that name, instead of writing over it
	NoEvents           bool          // tells of no change
	IgnoredOpens       int           // OpenSession requests left unanswered after each plugging in
	FirstByte          time.Duration // before every data phase
}

// Camera is what a camera, or an iPhone without a pairing, answers to: PTP 1.0 (ISO 15740) and nothing of MTP.
func Camera() Quirks { return Quirks{PTP: true, Strict: true} }

// Sony is an old Sony Ericsson or Walkman, which sends each header alone and rubbish in it.
func Sony() Quirks { return Quirks{JunkHeaders: true, HeaderAlone: true, NoPartial64: true} }

// Huawei is a phone that lets the first OpenSession run out.
func Huawei() Quirks { return Quirks{IgnoredOpens: 1} }

// Xiaomi is a phone that falls back to charging after a minute and a half.
func Xiaomi() Quirks { return Quirks{DropAfter: 90 * time.Second} }

// Samsung is an older Samsung phone's own MTP stack.
func Samsung() Quirks {
	return Quirks{NoPartial64: true, HangOnFullPacket: true, RootZeroInvalid: true}
}

// Phone is a simulated phone. Its methods are safe for concurrent use.
type Phone struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	zone    *time.Location
	drop    *time.Timer // of Quirks.DropAfter
	locked  bool
	charge  bool // see ChargeOnly
	runs    int  // how often it was plugged in
	server  *server
	att     *vphone.Attachment
	faults  map[string]*fault
	delays  map[uint16]time.Duration
	props   map[uint16]string
	battery uint8
	stats   Stats
	err     error
}

// NewPhone makes a phone that is not plugged in yet.
func NewPhone(cfg Config) *Phone {
	cfg.Vendor = or(cfg.Vendor, 0x18d1)
	cfg.Product = or(cfg.Product, 0x4ee1)
	cfg.Serial = or(cfg.Serial, "VPHONE0001")
	cfg.Maker = or(cfg.Maker, "Google")
	cfg.Model = or(cfg.Model, "Pixel 9")
	cfg.Version = or(cfg.Version, "1.0")
	cfg.Location = or(cfg.Location, time.UTC)
	return &Phone{
		cfg: cfg, locked: cfg.Locked, zone: cfg.Location, battery: 80,
		faults: map[string]*fault{}, delays: map[uint16]time.Duration{},
		props: map[uint16]string{propSyncPartner: "", propFriendlyName: cfg.FriendlyName},
		stats: newStats(),
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Plug plugs the phone in and returns what a bus would hand to a driver; a phone that is plugged in is pulled out first.
// Object handles start anew.
func (p *Phone) Plug() usbhost.Interface {
	p.Unplug()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs++
	run := p.runs
	if p.cfg.Quirks.SameHandles {
		run = 1
	}
	s := newServer(p, run)
	for _, st := range p.cfg.Storages {
		s.show(st, !p.locked)
	}
	s.charge = p.charge
	p.server = s
	p.att = vphone.Plug(device{s}, p.cfg.Wire)
	if d := p.cfg.Quirks.DropAfter; d > 0 {
		att := p.att
		p.drop = time.AfterFunc(d, func() {
			p.Lock()
			att.Unplug()
		})
	}
	return p.att.Interface()
}

// Interface opens the plugged-in phone anew, as a driver does that closed its Pipe and tries again. It panics if the
// phone is not plugged in.
func (p *Phone) Interface() usbhost.Interface { return p.Attachment().Interface() }

// Attachment is the cable that the phone hangs on now; nil before the first Plug.
func (p *Phone) Attachment() *vphone.Attachment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.att
}

// Unplug pulls the phone and waits until it has stopped. A phone that is not plugged in stays so.
func (p *Phone) Unplug() {
	p.mu.Lock()
	if p.drop != nil {
		p.drop.Stop()
	}
	p.mu.Unlock()
	if a := p.Attachment(); a != nil {
		a.Unplug()
	}
}

// Travel sets the phone's clock to another time zone, so that all dates are told in it from now on.
func (p *Phone) Travel(zone *time.Location) {
	p.mu.Lock()
	p.zone = zone
	p.mu.Unlock()
}

func (p *Phone) location() *time.Location {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.zone
}

// UnplugAfter pulls the cable when n more bytes of bulk-IN data have reached the host.
func (p *Phone) UnplugAfter(n int64) {
	if a := p.Attachment(); a != nil {
		a.UnplugAfter(n)
	}
}

// Lock locks the screen: as on Android, a connection that was allowed goes on, but the next one shows no storage.
func (p *Phone) Lock() {
	p.mu.Lock()
	p.locked = true
	p.mu.Unlock()
}

// Unlock unlocks the screen: the storages appear, with an event each.
func (p *Phone) Unlock() { p.allow(true) }

// Revoke is the owner switching to "charge only" and back without the cable being pulled: storages go, with an event each.
func (p *Phone) Revoke() { p.allow(false) }

// Eject takes a storage out of the plugged-in phone, and Insert puts it in (again), with an event.
func (p *Phone) Eject(card *vphone.Storage) { p.insert(card, false) }

// Insert is the opposite of Eject.
func (p *Phone) Insert(card *vphone.Storage) { p.insert(card, true) }

func (p *Phone) insert(card *vphone.Storage, in bool) {
	p.mu.Lock()
	s := p.server
	p.mu.Unlock()
	if s != nil {
		s.show(card, in)
	}
}

func (p *Phone) allow(on bool) {
	p.mu.Lock()
	p.locked = !on
	s := p.server
	p.mu.Unlock()
	if s == nil {
		return
	}
	for _, st := range p.cfg.Storages {
		s.show(st, on)
	}
}

// ChargeOnly is the owner choosing "charge this phone", or file transfer again, in its USB settings: from when it is plugged in the
// next time, it has no interface that is good for files, or has one. A phone does that by itself: it leaves and comes back.
func (p *Phone) ChargeOnly(on bool) {
	p.mu.Lock()
	p.charge = on
	p.mu.Unlock()
}

// Storages are the phone's memories, as given in its Config.
func (p *Phone) Storages() []*vphone.Storage { return p.cfg.Storages }

// Delay makes the phone think for d before it answers the operation op.
func (p *Phone) Delay(op uint16, d time.Duration) {
	p.mu.Lock()
	p.delays[op] = d
	p.mu.Unlock()
}

func (p *Phone) delay(op uint16) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delays[op]
}

// SetBattery sets the charge in percent and sends the event that goes with it.
func (p *Phone) SetBattery(percent uint8) {
	p.mu.Lock()
	p.battery = percent
	s := p.server
	p.mu.Unlock()
	if s != nil {
		s.event(eventDevicePropChanged, propBattery)
	}
}

// Err is the first thing that went wrong with the simulator itself, such as a full disk below its spool; nil if nothing
// did. What a fault was told to do is no error.
func (p *Phone) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Phone) fail(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
}
