// Package usbhost names what the box sees of phones: a Bus they arrive on, a Phone that can be backed up and restored,
// the Pipe that its bytes come through, and the Tree that its files go into. It holds no driver: those are the packages
// below (mtp, folder, ...), and vphone simulates phones byte by byte.
package usbhost

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode"
)

// Errors that drivers wrap, told apart with errors.Is.
var (
	// ErrUnplugged: the phone is gone; nothing more can be asked of it.
	ErrUnplugged = errors.New("phone unplugged")
	// ErrLocked: the phone shows no files until its owner unlocks it or allows file transfer. Ask again.
	ErrLocked = errors.New("phone locked")
	// ErrChanged: a file changed while it was read, so what was read is not a version that ever existed.
	ErrChanged = errors.New("file changed while it was read")
	// ErrNoSpace: the phone has no room for what would be restored.
	ErrNoSpace = errors.New("phone full")
	// ErrStalled: the device halted an endpoint to end the transaction under way; the Pipe has cleared the halt already.
	ErrStalled = errors.New("endpoint stalled")
	// ErrUnsupported: this phone or this driver cannot do that.
	ErrUnsupported = errors.New("not supported by this phone")
)

// A Bus is where phones arrive.
type Bus interface {
	// Accept waits for the next phone. A phone already attached when the Bus was opened counts as arriving. An error
	// other than ctx's means that the bus is dead.
	Accept(ctx context.Context) (Phone, error)
}

// A Phone is one attached device. Its methods are called by one goroutine at a time, except Gone and Close.
type Phone interface {
	// Info describes the phone; it works on a locked phone too.
	Info(ctx context.Context) (Info, error)

	// Backup makes into hold what the phone holds now. into starts as the phone's last snapshot; files that did not
	// change are kept, the others read, files that the phone no longer lists removed. A folder that could not be listed
	// is reported and nothing in it is removed. The report accounts for every file listed; it is meaningful even beside
	// an error, which means that the run ended early (ErrUnplugged, ErrLocked, ctx's).
	Backup(ctx context.Context, into Tree, watch Watch) (Report, error)

	// Restore adds what from holds to the phone. It never overwrites: a file that is there with the same size and time
	// is kept, one that differs is left alone and ours is put beside it under another name, told in the report. What was sent
	// is checked. from's names may hold any bytes but '/' and NUL.
	Restore(ctx context.Context, from fs.FS, watch Watch) (Report, error)

	// Gone is closed when the phone is unplugged or closed.
	Gone() <-chan struct{}

	Close() error
}

// A Waker is a Phone that says when it is worth asking again for its Info: it may have been unlocked, or a card put in. It is
// optional, and not all phones tell, so whoever waits asks now and then all the same.
type Waker interface {
	Woken() <-chan struct{} // of capacity 1
}

// A Tree is the snapshot being written. Names are slash-separated; an element may be any bytes but '/' and NUL (phones'
// names are kept exactly; "." is the root). Nothing of a Tree is visible to readers until its owner commits it; a Tree
// that dies leaves the phone's last snapshot untouched. The vault's Tree satisfies this without importing usbhost, hence
// standard types only. Methods are safe for concurrent use on different names.
type Tree interface {
	// Open reads back what the tree holds now; directories are fs.ReadDirFile. fs.Stat and fs.ReadDir work on a Tree.
	fs.FS

	// Create stores size bytes of r as the file name, with the modification time mtime (the zero Time: unknown). size
	// < 0 means until io.EOF. Missing parents are made. If r fails or ends early, Create returns that error (or
	// io.ErrUnexpectedEOF; more bytes than size is an error too) and the file's former version stays.
	Create(name string, size int64, mtime time.Time, r io.Reader) error

	// Keep takes over the unchanged file name without reading it. It returns fs.ErrNotExist where the tree has no file
	// of that size and mtime, mtime is unknown, or the content cannot be had now from the attached drives; the driver then reads it anew.
	Keep(name string, size int64, mtime time.Time) error

	// Mkdir makes a directory and its missing parents, or sets an existing directory's time; the zero Time leaves it.
	Mkdir(name string, mtime time.Time) error

	// Rename moves a file or a directory with all that it holds; an existing target file is replaced.
	Rename(oldname, newname string) error

	// Remove removes a file, or a directory with all that it holds. Removing what does not exist is fs.ErrNotExist.
	Remove(name string) error
}

// A Resumer is a Tree that remembers the beginnings of files whose Create failed because its reader did, so that the next run
// need not read them from the phone again. It is optional: a driver asks with a type assertion. The vault's Tree is one.
type Resumer interface {
	// Begun returns what an earlier Create of the file name, of just this size and mtime, had stored when its reader failed:
	// fewer than size bytes, which are no file of the tree. It is fs.ErrNotExist where there is nothing of that kind.
	Begun(name string, size int64, mtime time.Time) (*io.SectionReader, error)

	// Continue is Create for a file whose first from bytes are those of Begun; r begins behind them. It is for the driver to
	// make sure that they are still the file's: one must never be stitched together from two versions.
	Continue(name string, size int64, mtime time.Time, from int64, r io.Reader) error
}

// A Numbered is a Tree that knows how many snapshots of its phone came before it, so that what a driver does to a part of the
// files in each run goes round. It is optional; the vault's Tree is one.
type Numbered interface{ Run() uint64 }

// A Retimer is a Tree that gives a file another modification time and leaves its content alone. It is optional; the vault's
// Tree is one.
type Retimer interface {
	Retime(name string, mtime time.Time) error
}

// ID names a phone across ports and cables: KIND ":" SERIAL, as on the command line ("mtp:1A2B", "folder:/media/card").
type ID string

// NewID makes an ID of what a device says of itself: spaces and what cannot be typed become underscores.
func NewID(kind, serial string) ID {
	return ID(kind + ":" + strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && !unicode.IsSpace(r) && r != unicode.ReplacementChar {
			return r
		}
		return '_'
	}, strings.TrimSpace(serial)))
}

// Info describes a phone.
type Info struct {
	ID     ID
	Name   string // what the owner calls it, or maker and model
	Maker  string
	Model  string
	Locked bool  // shows no files yet
	Free   int64 // bytes that can still be stored on it; -1 unknown
	Total  int64 // bytes; -1 unknown
	Link   Link

	// ByPort: the phone tells no serial number of its own, so its ID is what kind it is and where it is plugged in. At another
	// port it is a stranger, and another phone of its kind at this port is taken for it.
	ByPort bool

	// ChargeOnly: plugged in as if only to be charged; Locked is true too. When its owner chooses file transfer on its screen,
	// the phone goes and comes back as another device with the same ID.
	ChargeOnly bool
}

// Progress is how far a backup or restore has come. Totals grow while a phone is being listed.
type Progress struct {
	Phase      Phase
	Files      int    // done: stored, kept or reported
	FilesTotal int    // 0 while unknown
	Bytes      int64  // done, kept ones included
	BytesTotal int64  // 0 while unknown
	Moved      int64  // bytes that really crossed the cable in this run
	Name       string // the file being worked on; shown to the owner only, never logged
}

// Phase is what a driver is doing.
type Phase int

const (
	Listing Phase = iota
	Copying
	Checking
)

// Watch receives progress. A driver calls it at most a few times a second and for the last file; it must return at once.
// A nil Watch is allowed.
type Watch func(Progress)

// Report accounts for every file that a run met. Listed == Stored + Kept + len of the Problems whose Listed is true.
type Report struct {
	Listed   int   // files that the phone (or the snapshot, on a restore) named
	Stored   int   // read from the phone and stored, or sent to it and checked
	Kept     int   // unchanged, not read again
	Removed  int   // gone from the phone, so removed from the tree (always 0 on a restore)
	Bytes    int64 // total size of the files stored and kept
	Moved    int64 // bytes that crossed the cable
	Problems []Problem
}

// Problem is one file or folder that a run could not do justice to.
type Problem struct {
	Name   string `json:"name"`            // path in the tree
	Reason string `json:"reason"`          // one line, for people
	Listed bool   `json:"listed"`          // a file counted in Report.Listed; false for a folder that could not be listed and for remarks
	Stale  bool   `json:"stale,omitempty"` // an older version of it stays in the snapshot
}

// Unaccounted is the number of listed files that ended as nothing at all: a bug in the driver if it is not 0 after
// a run that returned no error.
func (r Report) Unaccounted() int {
	n := r.Listed - r.Stored - r.Kept
	for _, p := range r.Problems {
		if p.Listed {
			n--
		}
	}
	return n
}

// Complete reports whether every file that the phone listed is in the snapshot as it is on the phone now.
func (r Report) Complete() bool { return len(r.Problems) == 0 && r.Unaccounted() == 0 }
