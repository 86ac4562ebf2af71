package firmware

import (
	"time"

	"phonebackupbox/usbhost"
)

// An Event is a fact that State.Next takes in. Only this package makes kinds of Events.
type Event interface{ event() }

// Events from ports, the button, the clock, people and the running Job. End events name the Job they end; one that is not
// the State's Job any more changes nothing but what it brings along.
type (
	// Booted tells what the box remembers. It is the first event.
	Booted struct {
		Enrolled []Enrolment
		Backups  []Backup // newest first
		Health   Health
		Policy   Policy
		Upkeep   *Upkeep // nil: this box does none
		Receipt  *Receipt
		Err      error // the vault could not be opened or read
	}

	// PhoneArrived: something was plugged in that has not said yet who it is. Port is never reused.
	PhoneArrived struct{ Port int }
	// PhoneIdentified: it said who it is, or says again (a locked phone is asked once a second).
	PhoneIdentified struct {
		Port int
		Info usbhost.Info
	}
	// PhoneLeft: it was unplugged.
	PhoneLeft struct{ Port int }
	// PhoneSilent: it did not say who it is.
	PhoneSilent struct {
		Port int
		Err  error
	}

	// Checked: the vault told its health.
	Checked struct {
		Job     uint64
		Health  Health
		Backups []Backup // newest first; nil unless the Job asked for the history
		Err     error
	}

	// EnrolEnded: the roster remembers the phone, or could not.
	EnrolEnded struct {
		Job       uint64
		Enrolment Enrolment
		Err       error
	}

	// ForgetEnded: the roster has forgotten the phone, or could not.
	ForgetEnded struct {
		Job   uint64
		Phone usbhost.ID
		Err   error
	}

	// Progressed: the running backup or restore moved on.
	Progressed struct {
		Job      uint64
		Progress usbhost.Progress
	}
	// BackupCommitted: the snapshot is durable; reading back begins.
	BackupCommitted struct {
		Job    uint64
		Backup Backup
	}
	// Verified: reading back moved on, in bytes.
	Verified struct {
		Job         uint64
		Done, Total int64
	}
	// BackupEnded ends a backup.
	BackupEnded struct {
		Job      uint64
		Phone    usbhost.ID
		Report   usbhost.Report
		Backup   *Backup // nil: no snapshot was made
		Verified bool    // what was stored was read back and is what came from the phone
		Err      error   // why it ended early or what failed afterwards
		Health   Health  // asked after the commit; Known is false if it could not be
	}

	// HealProgressed: healing moved on, in bytes.
	HealProgressed struct {
		Job         uint64
		Done, Total int64
	}
	// HealEnded ends a heal.
	HealEnded struct {
		Job    uint64
		Health Health
		Err    error
	}

	// DriveAdopted ends the adoption of a drive.
	DriveAdopted struct {
		Job    uint64
		Drive  string
		Health Health
		Err    error
	}

	// StickMade ends the making of a key stick.
	StickMade struct {
		Job    uint64
		Drive  string
		Health Health
		Err    error
	}

	// Probed: the phone on Port was looked into before a restore.
	Probed struct {
		Job   uint64
		Port  int
		Fresh bool
		Why   string // why it is not fresh, in a few words
		Err   error
	}
	// RestoreEnded ends a restore.
	RestoreEnded struct {
		Job     uint64
		Report  usbhost.Report
		Err     error
		Receipt *Receipt // nil: nothing was begun, or nobody writes any
	}

	// Ejected: the drives are flushed and let go, or could not be.
	Ejected struct {
		Job uint64
		Err error
	}

	// Pressed: the button did something.
	Pressed struct{ Gesture Gesture }

	// Asked: a person asked for something on the console or a page. State.Allows must have said yes.
	Asked struct{ Command Command }

	// Tick: time passed.
	Tick struct{ ClockTrusted bool } // the clock tells the right time: it comes from a network, a battery or a phone
)

func (Booted) event()          {}
func (PhoneArrived) event()    {}
func (PhoneIdentified) event() {}
func (PhoneLeft) event()       {}
func (PhoneSilent) event()     {}
func (Checked) event()         {}
func (EnrolEnded) event()      {}
func (ForgetEnded) event()     {}
func (Progressed) event()      {}
func (BackupCommitted) event() {}
func (Verified) event()        {}
func (BackupEnded) event()     {}
func (HealProgressed) event()  {}
func (HealEnded) event()       {}
func (DriveAdopted) event()    {}
func (StickMade) event()       {}
func (Probed) event()          {}
func (RestoreEnded) event()    {}
func (Ejected) event()         {}
func (Pressed) event()         {}
func (Asked) event()           {}
func (Tick) event()            {}

// A Command is what a person may ask for without the button. Restoring is not among them: it takes a hand at the box.
type Command interface{ command() }

// Commands.
type (
	// BackUpNow backs a phone up again; an empty Phone means every attached enrolled one.
	BackUpNow struct{ Phone usbhost.ID }
	// EnrolPhone takes an attached phone in.
	EnrolPhone struct{ Phone usbhost.ID }
	// ForgetPhone has a phone only charged from now on. Its backups stay.
	ForgetPhone struct{ Phone usbhost.ID }
	// AdoptDrive takes an unknown drive in.
	AdoptDrive struct{ Drive string }
	// MakeStick makes an unknown, empty drive a key stick.
	MakeStick struct{ Drive string }
	// CheckDrives asks the vault for its health: drives may have come or gone.
	CheckDrives struct{}
	// Acknowledge puts away faults that were only news.
	Acknowledge struct{}
	// ShutDown flushes the drives and lets go of them.
	ShutDown struct{}
)

func (BackUpNow) command()   {}
func (EnrolPhone) command()  {}
func (ForgetPhone) command() {}
func (AdoptDrive) command()  {}
func (MakeStick) command()   {}
func (CheckDrives) command() {}
func (Acknowledge) command() {}
func (ShutDown) command()    {}

// JobKind is what the Box runs.
type JobKind string

// Jobs. At most one runs at a time, since all but Probe need the vault, and one phone at a time keeps the box's memory
// and its lights simple.
const (
	NoJob      JobKind = ""
	JobBackup  JobKind = "backup"
	JobRestore JobKind = "restore"
	JobProbe   JobKind = "probe" // look into a phone before a restore
	JobEnrol   JobKind = "enrol"
	JobForget  JobKind = "forget" // an enrolled phone
	JobCheck   JobKind = "check"
	JobHeal    JobKind = "heal"
	JobAdopt   JobKind = "adopt"
	JobStick   JobKind = "stick" // make a key stick; without a Drive: note that the words are on paper
	JobEject   JobKind = "eject"
	JobScrub   JobKind = "scrub"   // read on drive Drive for a while
	JobPrune   JobKind = "prune"   // remove old snapshots
	JobUpdate  JobKind = "update"  // write new software to the card
	JobReset   JobKind = "reset"   // erase the settings
	JobDrill   JobKind = "drill"   // read and decrypt what the vault holds, for a while
	JobRefresh JobKind = "refresh" // plain drives, and what else the drives carry for people
)

// Job is what the State asks the Box to run. A Box that runs another one ends that first.
type Job struct {
	N         uint64       `json:"n"` // numbers jobs from 1
	Kind      JobKind      `json:"kind"`
	Port      int          `json:"port,omitempty"`
	Phone     usbhost.ID   `json:"phone,omitempty"`
	Source    usbhost.ID   `json:"source,omitempty"` // of a restore
	Resume    bool         `json:"-"`                // a restore goes on that this box began on this phone
	First     bool         `json:"-"`                // no snapshot of this phone was made since the box started
	Again     bool         `json:"-"`                // a backup at night of a phone that was backed up before; see night.go
	Drive     string       `json:"drive,omitempty"`  // to adopt or to scrub
	Pass      Stamp        `json:"-"`                // the pass that a scrub or a drill goes on with; one that is not known is new
	Enrolment Enrolment    `json:"-"`
	Accepted  []usbhost.ID `json:"-"`                // see Keeper.Prune
	History   bool         `json:"-"`                // a check is to ask for the snapshots too
	Cancel    bool         `json:"cancel,omitempty"` // it is to end now; its end event is awaited
	Began     time.Time    `json:"began,omitzero"`
}
