package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// Store keeps what a Claim remembers.
type Store interface {
	// Load returns what was saved last; fs.ErrNotExist if nothing ever was.
	Load() ([]byte, error)
	// Save puts p in its place, whole and durable, or leaves what was there.
	Save(p []byte) error
}

// Claim knows the box's code and the devices that were let in with it. The code opens nothing by itself: a page wants a press of the
// button besides, and a console a cable in the box. Its methods may be called by any goroutine.
type Claim struct {
	store   Store
	clock   func() (now time.Time, trusted bool)
	claimed chan struct{} // closed when the code is not kept in clear any more

	mu sync.Mutex // guards r, and the order in which it is saved
	r  record
}

// record is what is saved.
type record struct {
	Code    string   `json:"code,omitempty"` // in clear until the first device came back that was let in with it
	Check   string   `json:"check"`          // SHA-256 of the code, in hex
	Devices []Device `json:"devices"`        // the one that was used last is the last
}

// Device is a browser that was let in.
type Device struct {
	ID    string    `json:"id"` // names it on the page
	Name  string    `json:"name"`
	Since time.Time `json:"since,omitzero"` // zero if the clock was not trusted then
	Seen  time.Time `json:"seen,omitzero"`  // to a day; zero while the clock was never trusted
	Token string    `json:"token"`          // SHA-256 of what its cookie holds, in hex
}

// Limits of devices.
const (
	MaxDevices    = 16                  // one more, and the one that was not used for longest must ask again
	UnusedFor     = 90 * 24 * time.Hour // and so must one that was not used for so long, if the clock is trusted
	seenEvery     = 24 * time.Hour      // cards wear
	maxDeviceName = 40                  // letters of a device's name
)

// Errors of a Claim.
var (
	ErrWrongCode = errors.New("that is not the box's code")
	ErrNoDevice  = errors.New("there is no such device")
)

// OpenClaim reads what store holds. A box without anything, or with what cannot be read, gets a new code, and whoever was let in must
// ask again. clock also tells whether it is right; nil: it never is.
func OpenClaim(store Store, clock func() (time.Time, bool)) (*Claim, error) {
	if clock == nil {
		clock = func() (time.Time, bool) { return time.Time{}, false }
	}
	c := &Claim{store: store, clock: clock, claimed: make(chan struct{})}
	b, err := store.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("web: claim: %w", err)
	}
	if r, perr := parseRecord(b); err == nil && perr == nil {
		c.r = r
	} else if err := c.change(func(r *record) { r.Code = newCode(); r.Check = digest(r.Code) }); err != nil {
		return nil, err
	}
	if c.r.Code == "" {
		close(c.claimed)
	}
	return c, nil
}

// parseRecord refuses what could not have been saved.
func parseRecord(b []byte) (r record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, err
	}
	bad := func(hash string) bool { p, err := hex.DecodeString(hash); return err != nil || len(p) != sha256.Size }
	if bad(r.Check) || r.Code != "" && digest(r.Code) != r.Check || len(r.Devices) > MaxDevices ||
		slices.ContainsFunc(r.Devices, func(d Device) bool { return d.ID == "" || bad(d.Token) }) {
		return record{}, errors.New("web: claim: not what was saved")
	}
	return r, nil
}

// change saves a changed record; one that cannot be saved changes nothing. The caller holds mu, or is the only one.
func (c *Claim) change(f func(*record)) error {
	next := c.r
	next.Devices = slices.Clone(c.r.Devices)
	f(&next)
	b, err := json.Marshal(next)
	if err == nil {
		err = c.store.Save(b)
	}
	if err != nil {
		return fmt.Errorf("web: claim: %w", err)
	}
	c.r = next
	return nil
}

// Code is the box's code while nobody was let in with it, to be told to whoever holds the card or the serial line; "" after that,
// when only its owner has it.
func (c *Claim) Code() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.r.Code == "" {
		return ""
	}
	return spaced(c.r.Code)
}

// Claimed is closed when Code has become "".
func (c *Claim) Claimed() <-chan struct{} { return c.claimed }

// Unlock reports with ErrWrongCode that code is not the box's, in a time that tells nothing of it. Upper and lower case, spaces and
// hyphens do not matter. It does not slow down who guesses: its callers do.
func (c *Claim) Unlock(_ context.Context, code string) error {
	c.mu.Lock()
	check := c.r.Check
	c.mu.Unlock()
	if subtle.ConstantTimeCompare([]byte(digest(plainCode(code))), []byte(check)) != 1 {
		return ErrWrongCode
	}
	return nil
}

// NewCode makes another code and returns it. Nobody can be let in with the old one; whoever was stays.
func (c *Claim) NewCode() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	code := newCode()
	if err := c.change(func(r *record) {
		r.Check = digest(code)
		if r.Code != "" {
			r.Code = code
		}
	}); err != nil {
		return "", err
	}
	return spaced(code), nil
}

// admit lets a device in and returns what its cookie is to hold: 256 random bits, which nothing but the browser keeps.
func (c *Claim) admit(name string) (token string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	token = random()
	d := Device{ID: random()[:16], Name: tidy(name), Token: digest(token)}
	if now, trusted := c.clock(); trusted {
		d.Since, d.Seen = now, now
	}
	err = c.change(func(r *record) {
		r.Devices = append(r.Devices, d)
		r.Devices = r.Devices[max(0, len(r.Devices)-MaxDevices):]
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// device is the one that a cookie's token was given to. Its first visit is the proof that it arrived: only then the code in clear
// goes, so that a power cut before leaves a box that can still be claimed.
func (c *Claim) device(token string) (Device, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, trusted := c.clock()
	sum := []byte(digest(token))
	at := slices.IndexFunc(c.r.Devices, func(d Device) bool { return subtle.ConstantTimeCompare([]byte(d.Token), sum) == 1 })
	if at < 0 || trusted && unused(c.r.Devices[at], now) {
		return Device{}, false
	}
	d := c.r.Devices[at]
	timeless := slices.ContainsFunc(c.r.Devices, func(o Device) bool { return o.Seen.IsZero() })
	if c.r.Code != "" || trusted && (timeless || now.Sub(d.Seen).Abs() >= seenEvery) {
		// What cannot be written down now is at the next visit.
		if c.change(func(r *record) { r.visited(at, now, trusted) }) == nil && !c.isClaimed() {
			close(c.claimed)
		}
	}
	return d, true
}

func (c *Claim) isClaimed() bool {
	select {
	case <-c.claimed:
		return true
	default:
		return false
	}
}

// unused reports whether a device was not used for too long.
func unused(d Device, now time.Time) bool { return !d.Seen.IsZero() && now.Sub(d.Seen) > UnusedFor }

// visited notes that the device at i came. Where no clock was trusted before, the time without use begins now, for all.
func (r *record) visited(i int, now time.Time, trusted bool) {
	r.Code = ""
	d := r.Devices[i]
	r.Devices = append(slices.Delete(r.Devices, i, i+1), d)
	if !trusted {
		return
	}
	r.Devices = slices.DeleteFunc(r.Devices, func(o Device) bool { return o.ID != d.ID && unused(o, now) })
	for i := range r.Devices {
		if o := &r.Devices[i]; o.ID == d.ID || o.Seen.IsZero() {
			o.Seen = now
		}
	}
}

// Devices are those that were let in, the one that was used last first.
func (c *Claim) Devices() []Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, trusted := c.clock()
	list := slices.DeleteFunc(slices.Clone(c.r.Devices), func(d Device) bool { return trusted && unused(d, now) })
	slices.Reverse(list)
	for i := range list {
		list[i].Token = ""
	}
	return list
}

// Remove turns a device away, durably.
func (c *Claim) Remove(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.r.Devices, func(d Device) bool { return d.ID == id }) {
		return ErrNoDevice
	}
	return c.change(func(r *record) { r.Devices = slices.DeleteFunc(r.Devices, func(d Device) bool { return d.ID == id }) })
}

// letters are those of a code: no I, L, O and U, which are read as 1, 1, 0 and V (Crockford's base 32).
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const codeLength = 10 // letters of 5 bits: 50 bits

func newCode() string {
	b := make([]byte, codeLength)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}

// spaced is a code as people read it: ABCDE-FGHJK.
func spaced(code string) string { return code[:codeLength/2] + "-" + code[codeLength/2:] }

// plainCode is a code as it was made, from what a person typed.
func plainCode(typed string) string {
	if len(typed) > 100 {
		return ""
	}
	alike := strings.NewReplacer("I", "1", "L", "1", "O", "0", "U", "V", " ", "", "-", "")
	return alike.Replace(strings.ToUpper(typed))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// random is 256 random bits in hex.
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// tidy makes what a person typed fit to be shown: one line of at most maxDeviceName letters.
func tidy(name string) string {
	name = strings.Join(strings.Fields(plain(name)), " ")
	if r := []rune(name); len(r) > maxDeviceName {
		name = strings.TrimSpace(string(r[:maxDeviceName]))
	}
	if name == "" {
		return "a device"
	}
	return name
}
