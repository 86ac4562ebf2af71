package update

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// board is a Raspberry Pi with its card: two slots, the two command lines and the record, and a power supply that ends after
// so many bytes written; a record counts as one.
type board struct {
	slots map[Slot][]byte
	lines map[string][]byte // "line" and "trial"
	rec   Record
	left  int
	tries bool // the bootloader's flag
}

// part is a Medium of a board.
type part struct {
	b     *board
	bytes []byte
}

func (p part) ReadAt(q []byte, at int64) (int, error) { return bytes.NewReader(p.bytes).ReadAt(q, at) }
func (p part) Sync() error                            { return nil }
func (p part) WriteAt(q []byte, at int64) (int, error) {
	n := min(len(q), p.b.left)
	copy(p.bytes[at:], q[:n])
	if p.b.left -= n; n < len(q) {
		return n, errCut
	}
	return n, nil
}

func (b *board) Read() (Record, error) { return clone(b.rec), nil }
func (b *board) Write(r Record) error {
	if b.left == 0 {
		return errCut
	}
	b.left--
	b.rec = clone(r)
	return nil
}

func clone(r Record) Record {
	if r.Trial != nil {
		r.Trial = new(*r.Trial)
	}
	r.Failed = slices.Clone(r.Failed)
	return r
}

const plenty = 1 << 30 // of power

// next is the cut after one: each, but of those in the middle of the root only some, which are all alike.
func next(cut int) int {
	if cut > 20 && cut < len(newRoot())-200 {
		return cut + 97
	}
	return cut + 1
}

func oldRoot() []byte { return bytes.Repeat([]byte("old"), 1100) }

func newBoard(left int) *board {
	line := []byte("root=PARTUUID=b0c5b0c5-02 ro")
	return &board{left: left, slots: map[Slot][]byte{SlotA: oldRoot(), SlotB: make([]byte, 4096)},
		lines: map[string][]byte{"line": bytes.Clone(line), "trial": bytes.Clone(line)}, rec: Record{Floor: 3}}
}

// start is what the bootloader does.
func (b *board) start(t *testing.T) Card {
	t.Helper()
	name := "line"
	if b.tries {
		name, b.tries = "trial", false
	}
	_, slot, err := Root(b.lines[name])
	if err != nil {
		t.Fatal(err)
	}
	c := Card{Running: slot, Spare: part{b, b.slots[slot.Other()]}, Room: 4096, Line: part{b, b.lines["line"]}, Trial: part{b, b.lines["trial"]}, Memory: b, Built: 3}
	switch root := b.slots[slot]; {
	case bytes.HasPrefix(root, oldRoot()):
	case bytes.HasPrefix(root, newRoot()):
		c.Built = 7
	default:
		t.Fatalf("it starts from slot %d, which is not whole", slot)
	}
	return c
}

func newRoot() []byte { return bytes.Repeat([]byte("root image "), 300) }

// life starts a board and does what boxd does, until it would be started anew: it settles, keeps itself if it is on trial
// and well, and installs file if there is nothing else to do.
func (b *board) life(t *testing.T, file []byte, keys Keys, well bool) (Card, Stand, error) {
	t.Helper()
	c := b.start(t)
	stand, _, err := c.Boot()
	if err != nil {
		return c, stand, err
	}
	switch {
	case stand == TryAgain:
		b.tries = true
	case stand == OnTrial && well:
		return c, stand, c.Keep()
	case stand == OnTrial:
	default:
		if _, err := c.Install(t.Context(), bytes.NewReader(file), keys, nil); err != nil {
			return c, stand, err
		}
		b.tries = true
	}
	return c, stand, nil
}

// The power is cut after every byte that an update writes, from its first to the last step of keeping it. Whatever is left
// starts a whole system, which goes on from there and ends with the update.
func TestPowerCutAtAnyWrite(t *testing.T) {
	file, keys, _ := made(t)
	for cut := 0; ; cut = next(cut) {
		b := newBoard(cut)
		var err error
		for range 2 { // install, keep
			if _, _, err = b.life(t, file, keys, true); err != nil {
				break
			}
		}
		if err != nil && !errors.Is(err, errCut) {
			t.Fatalf("cut %d: %v", cut, err)
		}
		ended := err == nil
		b.left, b.tries = plenty, false
		for lives := 0; ; lives++ {
			c, _, err := b.life(t, file, keys, true)
			if errors.Is(err, ErrOld) && c.Built == 7 {
				break
			}
			if err != nil || lives == 4 {
				t.Fatalf("cut %d, life %d: %v; %+v", cut, lives, err, b.rec)
			}
		}
		if b.rec.Trial != nil || b.rec.Floor != 7 || len(b.rec.Failed) > 0 {
			t.Fatalf("cut %d: %+v", cut, b.rec)
		}
		if ended {
			if cut < len(newRoot())+4 {
				t.Fatalf("only %d bytes were written", cut)
			}
			return
		}
	}
}

// An update that never proves healthy is tried twice, and never again; the old system is back whatever happens to the power.
func TestABadUpdateIsGivenUp(t *testing.T) {
	file, keys, _ := made(t)
	for cut := 0; ; cut = next(cut) {
		b := newBoard(cut)
		var err error
		trials := 0
		for lives := 0; lives < 12; lives++ {
			var c Card
			var stand Stand
			c, stand, err = b.life(t, file, keys, false)
			if errors.Is(err, errCut) {
				b.left, b.tries = plenty, false
				continue
			}
			if stand == OnTrial {
				trials++
			}
			if err != nil && (c.Running != SlotA || c.Built != 3 || fmt.Sprint(b.rec.Failed) != "[7]" || b.rec.Trial != nil) {
				t.Fatalf("cut %d: %v; %+v", cut, err, b.rec)
			}
			if err != nil {
				break
			}
		}
		if err == nil || trials > MaxTries {
			t.Fatalf("cut %d: tried %d times, and %v", cut, trials, err)
		}
		if b.left < plenty/2 && cut > 0 && b.left > 0 { // the cut came after all was over
			return
		}
	}
}

// What is on trial must not overwrite the only good slot; what is too old or too large is not begun with.
func TestLook(t *testing.T) {
	file, keys, _ := made(t)
	b := newBoard(plenty)
	if _, _, err := b.life(t, file, keys, true); err != nil {
		t.Fatal(err)
	}
	c := b.start(t)
	if _, err := c.Install(t.Context(), bytes.NewReader(file), keys, nil); !errors.Is(err, ErrOnTrial) {
		t.Error(err)
	}
	if err := c.Keep(); err != nil {
		t.Fatal(err)
	}
	if h, err := c.Look(bytes.NewReader(file), keys); !errors.Is(err, ErrOld) || h.Version != "1.2" {
		t.Error(h, err)
	}
	b = newBoard(plenty)
	c = b.start(t)
	c.Room = 100
	if _, err := c.Look(bytes.NewReader(file), keys); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	c.Memory = damaged{}
	if _, err := c.Look(bytes.NewReader(file), nil); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	if stand, _, err := c.Boot(); stand != Settled || err == nil {
		t.Error(stand, err)
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)).Public().(ed25519.PublicKey)
	if _, err := c.Look(bytes.NewReader(file), Keys{other}); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

type damaged struct{}

func (damaged) Read() (Record, error) { return Record{}, errors.New("damaged") }
func (damaged) Write(Record) error    { return nil }
