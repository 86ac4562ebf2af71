package update

import (
	"context"
	"errors"
	"io"
)

// Card is a box's SD card, as an update sees it. Its methods are the only order in which the parts of it are written: a power
// cut between or within any two writes leaves a card that starts a system which was whole (TestPowerCutAtAnyWrite).
type Card struct {
	Running Slot   // that the running system came from
	Spare   Medium // the other one
	Room    int64  // bytes in it
	Line    Medium // the command line of every start: cmdline.txt
	Trial   Medium // the command line of a start that the bootloader was told to try once: trial.txt
	Memory  Memory

	Built  uint64 // counter of the running system; 0 for one that no release was made of
	Kernel string // release of the running kernel
}

// Memory keeps a Record; a Folder does so.
type Memory interface {
	Read() (Record, error)
	// Write is durable when it returns nil; a power cut leaves the old record or the new one.
	Write(Record) error
}

// Folder is the folder of a Record.
type Folder string

// Read is ReadRecord.
func (f Folder) Read() (Record, error) { return ReadRecord(string(f)) }

// Write is Record.Write.
func (f Folder) Write(r Record) error { return r.Write(string(f)) }

// ErrOnTrial: the running system is an update that has not proved healthy yet, and the other slot the only good one.
var ErrOnTrial = errors.New("the last update is still being tried: wait a quarter of an hour")

// Boot takes in that the system was started: what was under way is settled and written down. After TryAgain the box is to be
// started anew at once, from the other slot. A Record that cannot be read is told, and taken for that of a new box: nothing
// older than the running system gets in by that.
func (c Card) Boot() (Stand, Trial, error) {
	kept, err := c.kept()
	if err != nil {
		return Settled, Trial{}, err
	}
	r, damage := c.Memory.Read()
	if damage != nil {
		r = Record{}
	}
	stand, trial := r.Booted(c.Running, kept)
	switch stand {
	case OnTrial:
		if r.Trial != nil {
			trial = *r.Trial
		}
		return stand, trial, damage
	case TryAgain:
		r.Trial.Tries++ // before it starts: it may not live to count
	case Settled:
		return stand, trial, damage
	}
	return stand, trial, errors.Join(damage, c.Memory.Write(r))
}

func (c Card) kept() (Slot, error) {
	line, err := readLine(c.Line)
	if err != nil {
		return 0, err
	}
	_, kept, err := Root(line)
	return kept, err
}

// OnTrial reports whether the running system is one that was not kept yet.
func (c Card) OnTrial() (bool, error) {
	kept, err := c.kept()
	return err == nil && kept != c.Running, err
}

// Look reads the beginning of an update and reports whether it may be installed now.
func (c Card) Look(r io.Reader, keys Keys) (Header, error) {
	h, err := ReadHeader(r, keys)
	if err != nil {
		return Header{}, err
	}
	if trial, err := c.OnTrial(); err != nil {
		return h, err
	} else if trial {
		return h, ErrOnTrial
	}
	rec, err := c.Memory.Read()
	if err != nil {
		rec = Record{}
	}
	if h.Size > c.Room {
		return h, ErrTooLarge
	}
	return h, rec.Accepts(h, c.Built, c.Kernel)
}

// Install writes the update in r to the other slot and makes it the one that is tried next. The box is then to be started anew
// with the bootloader's flag; a start without it counts as a try, too. An error means that nothing is tried.
func (c Card) Install(ctx context.Context, r io.Reader, keys Keys, watch func(done int64)) (Header, error) {
	h, err := c.Look(r, keys)
	if err != nil {
		return h, err
	}
	rec, err := c.Memory.Read()
	if err != nil {
		rec = Record{}
	}
	rec.Floor = max(rec.Floor, c.Built)
	if rec.Trial != nil { // what it would try is about to be overwritten
		rec.Trial = nil
		if err := c.Memory.Write(rec); err != nil {
			return h, err
		}
	}
	if err := Install(ctx, r, h, c.Spare, c.Room, watch); err != nil {
		return h, err
	}
	if err := Point(c.Trial, c.Running.Other()); err != nil {
		return h, err
	}
	rec.Trial = &Trial{Version: h.Version, Counter: h.Counter, Slot: c.Running.Other(), Tries: 1}
	return h, c.Memory.Write(rec)
}

// Keep makes the running system, which proved healthy, the one that every start is of.
func (c Card) Keep() error {
	if err := Point(c.Line, c.Running); err != nil {
		return err
	}
	rec, err := c.Memory.Read()
	if err != nil {
		rec = Record{}
	}
	rec.Keep()
	rec.Floor = max(rec.Floor, c.Built)
	return c.Memory.Write(rec)
}
