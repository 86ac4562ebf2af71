package firmware

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"phonebackupbox/usbhost"
)

// Errors of the vault that the box tells people about in their own words. The wiring wraps them around whatever the
// vault returns.
var (
	// ErrVaultLocked: the vault's key is not here.
	ErrVaultLocked = errors.New("vault locked")
	// ErrWrongKey: the key that is here does not open this vault.
	ErrWrongKey = errors.New("wrong key")
	// ErrOtherBox: a box without a key has drives of a vault before it.
	ErrOtherBox = errors.New("drives of another box")
	// ErrNotEmpty: what is to be a key stick has files on it.
	ErrNotEmpty = errors.New("the stick is not empty")
	// ErrDrivesAway: the key is here, and no drive of the vault is.
	ErrDrivesAway = errors.New("no drive of the vault is attached")
	// ErrStickAlone: a key stick is here, and no drive that it could open.
	ErrStickAlone = errors.New("key stick without drives")
	// ErrCardLost: what the box would write down now is gone when it is switched off, so it makes no key.
	ErrCardLost = errors.New("nothing can be kept on the card")
	// ErrNoVault: the box is new, and has no drive yet.
	ErrNoVault = errors.New("no vault yet")
	// ErrIncomplete: the run ended, but not every file is in the snapshot.
	ErrIncomplete = errors.New("files left out")
)

// Vault is where snapshots go. One goroutine of the Box writes to it at a time.
type Vault interface {
	// Begin opens the snapshot to be written for a phone. It starts as the phone's last one.
	Begin(ctx context.Context, phone usbhost.Info) (Draft, error)

	// Latest opens the newest snapshot of a phone that is complete, or the newest of all if none is; fs.ErrNotExist if
	// it has none. The fs.FS is bound to ctx.
	Latest(ctx context.Context, phone usbhost.ID) (fs.FS, Backup, error)

	// History tells the snapshots of all phones, newest first.
	History(ctx context.Context) ([]Backup, error)

	// Health tells how the drives are and how well they protect what is stored, without reading the data. It also sees
	// drives that came or went since the last call.
	Health(ctx context.Context) (Health, error)

	// Heal makes the drives whole: damaged, missing and too few pieces are made anew on the attached drives. It stops
	// soon after ctx ends, loses nothing by that, and goes on from there the next time.
	Heal(ctx context.Context, watch func(done, total int64)) (Health, error)
}

// Draft is a snapshot being written.
type Draft interface {
	usbhost.Tree

	// Commit makes the snapshot visible and durable. complete is false where files were left out or the run ended early.
	Commit(ctx context.Context, report usbhost.Report, complete bool) (Backup, error)

	// Verify reads back, after Commit, what this draft stored, and compares it with the hashes taken when it came from
	// the phone. A nil error is the box's ground for "done".
	Verify(ctx context.Context, watch func(done, total int64)) error

	// Close lets go of the draft. Without Commit nothing of it is visible, but what it stored need not be copied again.
	Close() error
}

// Roster remembers which phones the owner enrolled.
type Roster interface {
	// Enrolled tells the enrolled phones in order of enrolment.
	Enrolled(ctx context.Context) ([]Enrolment, error)
	// Enrol remembers one more, durably.
	Enrol(ctx context.Context, e Enrolment) error
	// Forget forgets a phone, durably; one that is not there is no error.
	Forget(ctx context.Context, id usbhost.ID) error
}

// Enrolment is one phone that the owner told the box to back up.
type Enrolment struct {
	ID    usbhost.ID `json:"id"`
	Name  string     `json:"name"`
	Order int        `json:"order"` // 1 for the first
}

// Drives takes drives in and lets them go. A vault without it (nil in Config) offers neither.
type Drives interface {
	// Adopt makes an unknown drive part of the vault, or, where Health said NoVault, makes a vault on it. It makes a folder
	// on the drive and harms nothing that is there.
	Adopt(ctx context.Context, id string) error
	// KeyStick puts the vault's key onto an unknown drive that is empty, so that the box is not the only one to have it.
	KeyStick(ctx context.Context, id string) error
	// WordsOnPaper notes, durably, that the owner has the key's words on paper.
	WordsOnPaper(ctx context.Context) error
	// Eject flushes every drive and lets go of it, so that the power may be pulled.
	Eject(ctx context.Context) error
}

// Keeper does the vault's periodic work in idle hours. Each method stops soon after ctx ends, loses nothing by that and goes
// on from there the next time.
type Keeper interface {
	// Scrub reads on a drive for about so long, as part of a pass that began then; a pass that it does not know begins
	// at the start of the drive. Its error, ctx's too, comes with how far the pass is.
	Scrub(ctx context.Context, drive string, began Stamp, span time.Duration) (Scrubbed, error)
	// Drill reads and decrypts what the vault holds, as a restore would, for about so long, as part of a pass that began
	// then; one that it does not know begins at the start. The last part, which takes as long as it takes, looks into every
	// snapshot. Its error, ctx's too, comes with how far the pass is.
	Drill(ctx context.Context, began Stamp, span time.Duration) (Drilled, error)
	// Prune removes old snapshots and all that only they needed. accepted lists phones that may hold fewer files.
	Prune(ctx context.Context, accepted []usbhost.ID) (Pruned, error)
	// Refresh brings up to date what drives carry besides the vault: the ordinary files on plain drives, and what people
	// need to read a drive without the box. It returns what could not be done, a sentence for each drive.
	Refresh(ctx context.Context) ([]string, error)
}

// Scrubbed is how far a pass over a drive is; see Check.
type Scrubbed struct {
	Fraction  float64
	Done      bool
	Bad, Lost int
}

// Drilled is how far a drill is.
type Drilled struct {
	Fraction float64 // of what is to be decrypted
	Done     bool    // every snapshot was looked into, too
	Bad      int     // files of the vault that were read and cannot be decrypted
	Hit      int     // files of phones that a snapshot cannot give whole; known once Done
}

// Pruned is what a prune did; see PruneEnded.
type Pruned struct {
	Removed int
	Freed   int64
	Shrunk  []usbhost.ID
}

// Diary remembers the Upkeep. What it has lost costs doing the work again.
type Diary interface {
	// Remembered is what was written last; the zero Upkeep if nothing can be had.
	Remembered(ctx context.Context) (Upkeep, error)
	// Write puts u in the place of what was written before, durably.
	Write(ctx context.Context, u Upkeep) error
}

// Prober looks into a phone to see whether it is new. Drivers that know better than a listing implement it.
type Prober interface {
	// Fresh reports whether the phone holds no files of a person yet; if not, why in a few words.
	Fresh(ctx context.Context) (fresh bool, why string, err error)
}
