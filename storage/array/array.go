// Package array makes one storage.Store of several: each blob becomes k data and m parity shards on different drives
// (Reed-Solomon), or, where it is small or the drives are few, whole copies. Any m drives may die. A drive alone keeps
// whole blobs with parity against bad sectors.
//
// What is where, and every checksum, stands in the ledger, an append-only log that each drive carries whole; the blobs
// themselves hold nothing of ours. FORMAT.md has the bytes. A blob exists once its ledger record is durable: files
// without one are left-overs of a crash.
package array

import (
	"errors"
	"log/slog"

	"phonebackupbox/storage"
)

// DefaultSurvive is how many drives may die without loss unless the owner chooses otherwise; MaxSurvive is the most
// that can be chosen.
const (
	DefaultSurvive = 1
	MaxSurvive     = 3
)

// Errors of arrays beside those of package storage.
var (
	// ErrNoLedger: none of the members belongs to an array. Create makes one.
	ErrNoLedger = errors.New("no ledger")
	// ErrForeign: a member belongs to another array, or to one already.
	ErrForeign = errors.New("belongs to another array")
)

// Member is one drive to keep blobs on. The ID is its UUID and never changes; the Label is for people. A Store that is
// a storage.Spacer is filled by its free room.
type Member struct {
	ID, Label string
	Store     storage.Store
}

// Options for Create and Open.
type Options struct {
	// Survive is how many drives may die without loss, 0 to 3. Create records it in the ledger; Open ignores it.
	Survive int
	// Writer names who writes, in the ledger, for people: a box's name.
	Writer string
	// Log gets an entry for each drive that fails and each blob that needs its parity. It may be nil.
	Log *slog.Logger
}

// State is how a drive stands to the array.
type State string

// The states of a drive.
const (
	Attached State = "attached" // present and in use
	Failing  State = "failing"  // present, but a write to it failed: only read until the array is opened anew
	Away     State = "away"     // known, not present
	Removed  State = "removed"  // given up for lost; what it holds does not count, even if it is present
	Blank    State = "blank"    // present, not added
	Twin     State = "twin"     // present twice under one UUID, a clone: both refused
)

// Health is what the ledger and the drives present say; no data is read for it.
type Health struct {
	Survive int           `json:"survive"` // drives that may die, as chosen
	Drives  []DriveHealth `json:"drives"`
	Blobs   int           `json:"blobs"`
	Bytes   int64         `json:"bytes"` // of all blobs, counted once
	// Spare[i] counts the blobs that stay readable if any i more drives die, and not if i+1 do; drives away count as
	// alive. The last element stands for Survive and more.
	Spare []int `json:"spare"`
	// Here is Spare with drives that are away counted as dead.
	Here []int `json:"here"`
	// Unreadable counts blobs that need a drive that is away.
	Unreadable int `json:"unreadable"`
	// Lost names the blobs that no known drives can bring back, in name order.
	Lost []string `json:"lost"`
	// Damaged counts shards and copies found damaged or missing since Open and not yet repaired.
	Damaged int `json:"damaged"`
	// Uneven is about how many bytes Repair would write to even out drives where room for protected blobs is short; 0 where
	// it would write none.
	Uneven int64 `json:"uneven"`
	// LedgerIncomplete is set when part of the ledger cannot be read on any drive present. Names may be missing then:
	// an unknown one gives ErrUnavailable, and nothing can be written.
	LedgerIncomplete bool `json:"ledger_incomplete"`
}

// DriveHealth is one drive's part in Health. Sizes are in bytes.
type DriveHealth struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	State State  `json:"state"`
	Used  int64  `json:"used"` // by blobs of this array, parity included
	Free  int64  `json:"free"` // 0 when not known
	Total int64  `json:"total"`
	// Complete drives hold every blob whole: their vault/ folder is a plain restic repository.
	Complete bool `json:"complete"`
	// Travels: the drive goes away and comes back. It gets whole copies, and no protection counts on it.
	Travels bool `json:"travels"`
	// Lacks counts the blobs that should be on the drive whole and are not: small ones on any drive, all on one that
	// travels. LacksBytes is their size.
	Lacks      int   `json:"lacks"`
	LacksBytes int64 `json:"lacks_bytes"`
	// Needed: the drive travels and is present, and once it leaves, some blob is less protected than asked for.
	Needed bool `json:"needed"`
}

// Healthy reports whether every blob has the full protection on the drives that are present, and only drives that
// travel are away.
func (h Health) Healthy() bool {
	for _, d := range h.Drives {
		if d.State == Away && !d.Travels || d.State == Failing || d.State == Twin {
			return false
		}
	}
	for _, n := range h.Here[:h.Survive] {
		if n > 0 {
			return false
		}
	}
	return h.Protected() && h.Damaged == 0 && h.Unreadable == 0
}

// Protected reports whether every blob stays readable if any Survive drives die, counting drives away as alive.
func (h Health) Protected() bool {
	for _, n := range h.Spare[:h.Survive] {
		if n > 0 {
			return false
		}
	}
	return len(h.Lost) == 0 && !h.LedgerIncomplete
}

// Progress is how far a scrub or repair has come, in bytes to read or write.
type Progress struct {
	Done, Total int64
}

// Watch is told how far a long operation has come; it may be nil. Calls do not overlap.
type Watch func(Progress)

// ScrubReport is what a scrub found.
type ScrubReport struct {
	Drives []DriveScrub `json:"drives"`
	// Damaged lists what is wrong, at most 1,000 entries in name order for each drive; the counts are exact.
	Damaged []Damage `json:"damaged"`
	// Unreadable names blobs that cannot be read with the drives present, damage counted in.
	Unreadable []string `json:"unreadable"`
	// Passes say, by the drives' IDs, where a later scrub goes on.
	Passes map[string]Pass `json:"-"`
}

// DriveScrub counts what a scrub found on one drive, in all its parts.
type DriveScrub struct {
	ID      string `json:"id"`
	Label   string `json:"label"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
	Missing int    `json:"missing"` // files
	Bad     int    `json:"bad"`     // files with a block that is damaged or cannot be read
	Blocks  int    `json:"blocks"`  // damaged blocks of 64 KiB
	Err     string `json:"err"`     // why the drive could not be read to the end, or ""
}

// Damage is one file on one drive that is not what the ledger says.
type Damage struct {
	Drive string `json:"drive"`
	Blob  string `json:"blob"`
	File  string `json:"file"`
	What  string `json:"what"`
	// Missing: there is no such file. Otherwise Blocks of it are damaged, or its length is wrong, or its checksums are lost.
	Missing bool `json:"missing,omitempty"`
	Blocks  int  `json:"blocks,omitempty"`
}

// RepairReport is what a repair did.
type RepairReport struct {
	Mended  int `json:"mended"`  // files rewritten because blocks were damaged
	Rebuilt int `json:"rebuilt"` // files made anew because they were missing
	Spread  int `json:"spread"`  // blobs striped anew over other drives
	Moved   int `json:"moved"`   // shards and copies moved to emptier drives
	Orphans int `json:"orphans"` // left-overs of crashes removed
	// Lost names blobs that could not be repaired now.
	Lost []string `json:"lost"`
}
