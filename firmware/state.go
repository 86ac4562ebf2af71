package firmware

import (
	"time"

	"phonebackupbox/usbhost"
)

// Phase is what the box as a whole is doing, and so what its lights show.
type Phase string

// The phases. Working phases (Copying, Verifying, Restoring) last as long as their Job; the others follow from the facts.
const (
	Starting    Phase = "starting"     // waiting for the drives, and reading what they hold
	VaultLocked Phase = "locked"       // no key that fits is here: nothing can be backed up or restored
	Idle        Phase = "idle"         // nothing to do; an attached phone that is not enrolled is only charged
	Asking      Phase = "asking"       // an unknown phone: a tap until State.Until enrols it
	AskingDrive Phase = "asking-drive" // an unknown drive: a tap until State.Until adopts it
	AskingPage  Phase = "asking-page"  // a page wants a tap until State.Until: State.Consent says for what
	Waiting     Phase = "waiting"      // an enrolled phone must be unlocked by its owner
	Copying     Phase = "copying"      // files move from the phone into the vault
	Verifying   Phase = "verifying"    // what was stored in this run is read back
	Done        Phase = "done"         // every file accounted for, flushed, read back, protected as wanted: unplug
	Problem     Phase = "problem"      // something keeps the box from saying done; State.Faults says what
	Arming      Phase = "arming"       // the button is held for a restore
	Confirming  Phase = "confirming"   // armed: a double tap until State.Until starts the restore
	Restoring   Phase = "restoring"    // files move from the vault to a new phone
	Restored    Phase = "restored"     // the new phone has everything, checked: unplug
	Updating    Phase = "updating"     // new software is written to the card, and then started
	Resetting   Phase = "reset"        // the button was held when the power came: letting go of it now erases the settings
	Stopping    Phase = "stopping"     // drives are being flushed and let go
	Off         Phase = "off"          // pull the power
)

// Periods that a person must know; they are printed in docs/LIGHTS.md.
const (
	AskFor     = 120 * time.Second // how long the lights ask whether a tap is to take in an unknown phone or drive
	ConfirmFor = 60 * time.Second  // how long an armed restore waits for its double tap
	FullFor    = 60 * time.Second  // how long "done" shows a full bar before it becomes a dot
	ShowFor    = 10 * time.Second  // how long a tap shows the status at night
	GatherFor  = 30 * time.Second  // how long after its start the box waits for drives before it says that they are not here
	ResetAfter = 2 * time.Second   // how long the button is held at power-on before letting go of it erases the settings
	ResetUntil = 20 * time.Second  // holding it for so long calls that off
	LockedPoll = time.Second       // phones do not tell when they are unlocked, so they are asked this often
)

// MaxLines and MaxBackups bound State.Lines and State.Backups.
const (
	MaxLines   = 50
	MaxBackups = 100
)

// State is everything that a person may see. It is a value: Next returns a new one and shares nothing that it changes
// with the old one, so a State may be kept and read by any goroutine. Its JSON is what the web page's script gets.
type State struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"`          // when Phase (for Current) began
	Until time.Time `json:"until,omitzero"` // when Phase ends by itself; zero if it does not

	Current  usbhost.ID `json:"current,omitempty"` // the phone that Phase is about
	Phones   []Phone    `json:"phones"`            // the enrolled in order of enrolment, then strangers that are attached
	Ports    []Port     `json:"ports"`             // what is plugged in, in order of arrival
	Progress *Progress  `json:"progress,omitempty"`
	Restore  *Restore   `json:"restore,omitempty"` // while Arming, Confirming, Restoring or Restored

	Receipt *Receipt `json:"receipt,omitempty"` // of the last restore

	Health  Health    `json:"health"`            // drives, protection, vault
	Heal    *Heal     `json:"heal,omitempty"`    // drives are being made whole in the background
	Backups []Backup  `json:"backups"`           // newest first, at most MaxBackups
	Faults  []Fault   `json:"faults"`            // gravest first; empty when all is well
	Lines   []Line    `json:"lines"`             // what happened, newest last, at most MaxLines
	Awake   time.Time `json:"awake,omitzero"`    // until then the lights show the status at night too
	Held    time.Time `json:"held,omitzero"`     // since when the button is down; zero when it is up
	Job     Job       `json:"job"`               // what the Box is to run now
	Upkeep  Upkeep    `json:"upkeep"`            // the periodic work, and what it found
	Consent *Consent  `json:"consent,omitempty"` // what a page waits for
	Adopt   string    `json:"adopt,omitempty"`   // the unknown drive that AskingDrive is about
	Update  string    `json:"update,omitempty"`  // the version that is to be installed, or was and waits to be started
	Restart Restart   `json:"restart,omitempty"` // why the box is to be started anew, once LetGo
	LetGo   bool      `json:"let_go,omitempty"`  // the drives are flushed and let go; nothing is done any more

	memory memory // what Next remembers and nobody is shown
}

// Port is one attachment: a phone that is plugged in now.
type Port struct {
	N     int        `json:"n"`               // the Box's number for this attachment; never reused while the box runs
	Phone usbhost.ID `json:"phone,omitempty"` // "" until the phone has said who it is
	Since time.Time  `json:"since"`

	waits *usbhost.Info // says that it is a phone that is attached at another port; see identified
	asked time.Time     // since when the lights ask whether a stranger on it is to be enrolled; zero: not yet
	mute  bool          // its phone was forgotten while it was plugged in: nobody who wished that is asked about it
}

// Phone is one phone as the owner knows it.
type Phone struct {
	ID       usbhost.ID `json:"id"`
	Name     string     `json:"name"`
	Maker    string     `json:"maker,omitempty"`
	Model    string     `json:"model,omitempty"`
	Enrolled bool       `json:"enrolled"`
	Order    int        `json:"order,omitempty"` // 1 for the first phone enrolled, as written on the label; 0 for strangers
	Port     int        `json:"port,omitempty"`  // 0 while it is not plugged in
	Locked   bool       `json:"locked,omitempty"`
	Next     bool       `json:"next,omitempty"` // it is backed up when the box is done with what it does now
	Free     int64      `json:"free"`           // bytes; -1 unknown
	Total    int64      `json:"total"`          // bytes; -1 unknown

	Outcome      Outcome `json:"outcome,omitempty"`       // of the last run since it was plugged in
	Fault        *Fault  `json:"fault,omitempty"`         // why the last run did not end well
	LastComplete *Backup `json:"last_complete,omitempty"` // the newest snapshot that holds everything
	LastPartial  *Backup `json:"last_partial,omitempty"`  // the newest one that does not, if newer than LastComplete
	Need         string  `json:"need,omitempty"`          // what a person should do next, one sentence; "" if nothing
	Apps         []App   `json:"apps,omitempty"`          // chat and social apps in the newest snapshot

	due     bool      // to be backed up as soon as it can be
	retryAt time.Time // due again then; zero for never
	tries   int       // runs that did not end well since it was plugged in
	shy     bool      // it said that it was locked only when asked for files, and gave none since
	made    bool      // a snapshot of it was made since the box started

	passes int       // runs that ended well since it was plugged in
	began  time.Time // when the last of them began
	ended  time.Time // and ended
	again  bool      // due only because it is night; see night.go
	notYet time.Time // no such run before
}

// App is a chat or social app, and how the backup is that it writes into the phone's own storage.
type App struct {
	Name   string    `json:"name"`
	Backup time.Time `json:"backup,omitzero"` // when its newest usable backup was written; zero: there is none
	Media  int64     `json:"media"`           // bytes of its other files
	Chats  string    `json:"chats,omitempty"` // where its chats are, for an app that writes no backup
	Hint   string    `json:"hint,omitempty"`  // what the owner should do about its backup; "" if nothing
}

// Attached reports whether the phone is plugged in.
func (p Phone) Attached() bool { return p.Port != 0 }

// Outcome is how the last run for a phone ended.
type Outcome string

// Outcomes. Only Stored lets the box say done.
const (
	NotRun  Outcome = ""
	Stored  Outcome = "stored"  // complete, flushed, read back
	Partial Outcome = "partial" // a snapshot was made, with files left out
	Failed  Outcome = "failed"  // no snapshot was made
)

// Progress is how far the running backup, read-back or restore has come.
type Progress struct {
	Doing      string        `json:"doing"` // "listing", "copying", "checking"
	Files      int           `json:"files"`
	FilesTotal int           `json:"files_total"` // 0 while unknown
	Bytes      int64         `json:"bytes"`
	BytesTotal int64         `json:"bytes_total"` // 0 while unknown
	Moved      int64         `json:"moved"`       // bytes that crossed the cable in this run
	Rate       float64       `json:"rate"`        // bytes per second, smoothed over some seconds; 0 while unknown
	Left       time.Duration `json:"left"`        // nanoseconds in JSON; 0 while unknown
	Name       string        `json:"name,omitempty"`
	Began      time.Time     `json:"began"`

	mark      time.Time // the last sample of Rate
	markBytes int64
}

// Fraction is how much is done, from 0 to 1: by bytes, by files where bytes are unknown.
func (p *Progress) Fraction() float64 {
	if p == nil {
		return 0
	}
	f := 0.0
	if p.BytesTotal > 0 {
		f = float64(p.Bytes) / float64(p.BytesTotal)
	} else if p.FilesTotal > 0 {
		f = float64(p.Files) / float64(p.FilesTotal)
	}
	return min(max(f, 0), 1)
}

// Restore is a restore being prepared or run.
type Restore struct {
	Target  usbhost.ID   `json:"target"`
	Port    int          `json:"port"`
	Sources []usbhost.ID `json:"sources"`          // phones that have a snapshot, in order of enrolment
	Source  usbhost.ID   `json:"source,omitempty"` // the chosen one; "" until chosen
	Order   int          `json:"order,omitempty"`  // its order of enrolment: the light that shows it
	Armed   bool         `json:"armed"`            // the button was held for ArmAfter with everything in order

	Ended bool `json:"ended,omitempty"` // everything is on the new phone, checked

	probed bool      // asked for a look into the phone
	fresh  bool      // the look found no files of a person
	resume bool      // the box began this restore before; what is on the phone came from it
	until  time.Time // the double tap must come before; zero until the button was let go
	begin  bool      // the double tap came: the guard was passed
}

// Line is something that happened, in words for the owner.
type Line struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// DriveState is how a drive is.
type DriveState string

// Drive states.
const (
	DriveOK       DriveState = "ok"
	DriveAway     DriveState = "away"      // known, not attached
	DriveFull     DriveState = "full"      // attached; nothing more fits
	DriveReadOnly DriveState = "read-only" // attached; cannot be written
	DriveFailing  DriveState = "failing"   // attached; gave errors or damaged data
	DriveUnknown  DriveState = "unknown"   // attached; does not belong to this vault, could be adopted
	DriveForeign  DriveState = "foreign"   // attached; in a format or of a vault that cannot be used
	DriveOther    DriveState = "other-box" // attached; of another box's vault, and left as it is
	DrivePlain    DriveState = "plain"     // attached; holds the newest state of each phone as ordinary files
)

// Drive is one drive as the owner knows it.
type Drive struct {
	ID    string     `json:"id"`
	Label string     `json:"label"`
	State DriveState `json:"state"`
	Free  int64      `json:"free"`  // bytes; -1 unknown
	Total int64      `json:"total"` // bytes; -1 unknown
	Note  string     `json:"note,omitempty"`
}

// Attached reports whether the drive is plugged in.
func (d Drive) Attached() bool { return d.State != DriveAway }

// Health is what the vault says of itself and its drives. It is gathered without reading the data.
type Health struct {
	Known     bool    `json:"known"` // false until the vault has been asked, and when asking failed
	Drives    []Drive `json:"drives"`
	Want      int     `json:"want"`      // drives that may die without loss: the owner's wish
	Now       int     `json:"now"`       // drives that may still die without loss; -1: something cannot be read now
	Unhealed  int64   `json:"unhealed"`  // bytes that are not as well protected as wanted
	Healable  bool    `json:"healable"`  // the attached drives are enough to protect them
	Uneven    int64   `json:"uneven"`    // bytes that a heal would move because room for protected data is short on some drives
	Hurt      bool    `json:"hurt"`      // some would lack protection even if all known drives were here: one was lost
	Snapshots int     `json:"snapshots"` // snapshots in the vault
	Bytes     int64   `json:"bytes"`     // stored in the vault, before parity
	Lost      int     `json:"lost"`      // blobs that no set of drives can give back
	KeyStick  bool    `json:"key_stick"` // a key stick of this vault is plugged in
	WordsIn   bool    `json:"words_in"`  // the key's 24 words are nowhere but in the box
	NoVault   bool    `json:"no_vault"`  // the box is new: the first drive that it takes in makes the vault, and the key
}

// Protected reports whether everything stored would survive the loss of as many drives as the owner wished.
func (h Health) Protected() bool { return h.Known && !h.NoVault && h.Now >= h.Want && h.Lost == 0 }

// Heal is how far making the drives whole has come, in bytes.
type Heal struct {
	Done  int64     `json:"done"`
	Total int64     `json:"total"` // 0 while unknown
	Began time.Time `json:"began"`
	Even  bool      `json:"even"` // nothing lacks protection: blobs are moved to where there is room
}

// Backup is one snapshot in the vault.
type Backup struct {
	ID         string     `json:"id"`
	Phone      usbhost.ID `json:"phone"`
	Name       string     `json:"name"`
	Generation uint64     `json:"generation"` // orders snapshots; Time does not
	Time       time.Time  `json:"time"`
	Files      int        `json:"files"`
	Bytes      int64      `json:"bytes"`
	Complete   bool       `json:"complete"`
	Problems   int        `json:"problems,omitempty"` // files left out or stale
	Apps       []App      `json:"-"`                  // what it holds of chat and social apps; only of a phone's newest, see Phone.Apps
}

// Phone returns the phone of that ID.
func (s State) Phone(id usbhost.ID) (Phone, bool) {
	for _, p := range s.Phones {
		if p.ID == id {
			return p, true
		}
	}
	return Phone{}, false
}

// CurrentPhone returns the phone that Phase is about.
func (s State) CurrentPhone() (Phone, bool) { return s.Phone(s.Current) }

// Fault returns the gravest fault, if there is any.
func (s State) Fault() (Fault, bool) {
	if len(s.Faults) == 0 {
		return Fault{}, false
	}
	return s.Faults[0], true
}
