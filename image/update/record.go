package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// MaxTries is how often an update is started before it is given up: twice, since the first time may have ended because
// somebody pulled the plug.
const MaxTries = 2

// Record is what a box remembers about updates. It lies beside the owner's settings, not among them: a factory reset must not
// open the way back to an old version.
type Record struct {
	Floor  uint64   `json:"floor"`            // the highest counter that proved healthy here
	Trial  *Trial   `json:"trial,omitempty"`  // an update that has not proved healthy yet
	Failed []uint64 `json:"failed,omitempty"` // counters of updates that were given up
}

// Trial is an update that was written to a slot and started from there.
type Trial struct {
	Version string `json:"version"`
	Counter uint64 `json:"counter"`
	Slot    Slot   `json:"slot"`
	Tries   int    `json:"tries"` // counted before each start, by the system that stays: the new one may not live to count
}

// Stand is how things stand after a start.
type Stand int

// Stands.
const (
	Settled    Stand = iota // nothing is under way
	OnTrial                 // this is the new system: it must prove healthy, or the next start is the old one's
	Proven                  // the last update proved healthy
	TryAgain                // the new system came back without having proved healthy; it may try once more
	RolledBack              // it did so too often and is given up
)

// String is what a log calls it.
func (s Stand) String() string {
	return [...]string{"settled", "on trial", "proven", "to be tried again", "rolled back"}[s]
}

// Booted takes in which slot runs and which one the box starts by itself. That a system is on trial follows from these two
// alone, so it knows even where it cannot read its Record.
func (r *Record) Booted(running, kept Slot) (Stand, Trial) {
	if running != kept {
		return OnTrial, Trial{}
	}
	if r.Trial == nil {
		return Settled, Trial{}
	}
	t := *r.Trial
	switch {
	case t.Slot == running: // the power went between the last two steps of keeping it
		r.Keep()
		return Proven, t
	case t.Tries < MaxTries:
		return TryAgain, t
	}
	r.Trial = nil
	r.Failed = append(r.Failed, t.Counter)
	slices.Sort(r.Failed)
	r.Failed = slices.Compact(r.Failed)
	return RolledBack, t
}

// Keep ends the trial: the new system proved healthy.
func (r *Record) Keep() {
	if r.Trial == nil {
		return
	}
	r.Floor = max(r.Floor, r.Trial.Counter)
	r.Trial = nil
	r.Failed = slices.DeleteFunc(r.Failed, func(c uint64) bool { return c <= r.Floor })
}

// ErrOld: an update that this box has, or that is older.
var ErrOld = errors.New("the update is not newer than what this box runs: it never goes back")

// Accepts reports why an update must not be installed, in words for the owner; nil if it may. built is the counter of the system
// that runs, and kernel its release.
func (r Record) Accepts(h Header, built uint64, kernel string) error {
	switch {
	case h.Counter <= max(r.Floor, built):
		return ErrOld
	case slices.Contains(r.Failed, h.Counter):
		return fmt.Errorf("update %s did not start properly on this box before: wait for the next one", h.Version)
	case h.Kernel != "" && h.Kernel != kernel:
		return fmt.Errorf("update %s needs kernel %.64q, and this card has %q: write the new card image instead (make flash)", h.Version, h.Kernel, kernel)
	}
	return nil
}

const recordName = "record.json"

// maxRecord bounds the file, in bytes.
const maxRecord = 64 << 10

// ReadRecord reads what was written in dir; an absent one is that of a new box.
func ReadRecord(dir string) (Record, error) {
	path := filepath.Join(dir, recordName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("update: %w", err)
	}
	if info.Size() > maxRecord {
		return Record{}, fmt.Errorf("update: %s has %d bytes", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Record{}, fmt.Errorf("update: %w", err)
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("update: %s: %w", path, err)
	}
	return r, nil
}

// Write makes r what dir remembers, durably; a power cut leaves the old one or this.
func (r Record) Write(dir string) (err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("update: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, recordName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
