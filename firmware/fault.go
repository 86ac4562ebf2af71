package firmware

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// Code names a fault for people: it is printed on the label, shown on pages and stays what it is for ever.
type Code string

// The codes. B-0x is about the phone, B-1x about drives, B-2x about opening the vault, B-3x about restoring, B-9x about the box.
const (
	PhoneLocked        Code = "B-01"
	PhoneUnplugged     Code = "B-02"
	FilesLeftOut       Code = "B-03"
	PhoneSilentFault   Code = "B-04"
	PhoneUnsupported   Code = "B-05"
	PhonesAlike        Code = "B-06"
	DriveMissing       Code = "B-10"
	DrivesFull         Code = "B-11"
	TooFewDrives       Code = "B-12"
	DriveFailingFault  Code = "B-13"
	DriveReadOnlyCode  Code = "B-14"
	DrivesNeeded       Code = "B-15"
	DataLost           Code = "B-16"
	DriveUnreadable    Code = "B-17"
	NoDriveYet         Code = "B-18"
	DriveOfAnother     Code = "B-19"
	KeyMissing         Code = "B-20"
	KeyWrong           Code = "B-21"
	KeyOfAnother       Code = "B-22"
	CardLost           Code = "B-23"
	StickAlone         Code = "B-24"
	WordsInBox         Code = "B-25"
	StickNotEmpty      Code = "B-26"
	DrivesAway         Code = "B-27"
	RestoreRefused     Code = "B-30"
	TargetFull         Code = "B-31"
	RestoreIncomplete  Code = "B-32"
	TargetUnplugged    Code = "B-33"
	RestoreWantsStick  Code = "B-34"
	RestoreNotByButton Code = "B-35"
	PowerLow           Code = "B-90"
	TooHot             Code = "B-91"
	UpdateRefusedFault Code = "B-95"
	UpdateFailedFault  Code = "B-96"
	ResetRefused       Code = "B-97"
	Interrupted        Code = "B-98"
	Internal           Code = "B-99"
)

// Severity orders faults; it decides the rhythm of the amber light.
type Severity int

// Severities.
const (
	News      Severity = iota // amber stays dark
	Attention                 // needs a person: amber slow
	AtRisk                    // data is at risk: amber fast
)

// MarshalText makes a Severity a word in JSON.
func (s Severity) MarshalText() ([]byte, error) {
	switch s {
	case News:
		return []byte("news"), nil
	case Attention:
		return []byte("attention"), nil
	}
	return []byte("at-risk"), nil
}

// UnmarshalText reads what MarshalText wrote; it takes what it does not know for the gravest.
func (s *Severity) UnmarshalText(b []byte) error {
	switch string(b) {
	case "news":
		*s = News
	case "attention":
		*s = Attention
	default:
		*s = AtRisk
	}
	return nil
}

// Fault is trouble in words for people. The log has the chain of errors; a Fault never shows it.
type Fault struct {
	Code     Code       `json:"code"`
	Severity Severity   `json:"severity"`
	Light    int        `json:"light"`            // 1 to 5: the one steady light; 0 none
	Blinks   int        `json:"blinks,omitempty"` // light 1 blinks this often instead of being steady (1 unlock)
	Sentence string     `json:"sentence"`         // what is the matter
	Advice   string     `json:"advice"`           // what to do about it
	Detail   string     `json:"detail,omitempty"` // which phone, drive or reason
	Phone    usbhost.ID `json:"phone,omitempty"`
}

// faults is the one table that lights, pages, console and docs/LIGHTS.md take their words from.
var faults = []Fault{
	{PhoneLocked, Attention, 1, 1, "The phone is locked.", "Unlock it and allow file transfer. The backup then starts by itself.", "", ""},
	{PhoneUnplugged, Attention, 1, 0, "The phone came unplugged before its backup was done.", "Plug it in again. The box goes on where it stopped.", "", ""},
	{FilesLeftOut, Attention, 1, 0, "Some files could not be copied.", "Leave the phone unlocked and double-tap to try again.", "", ""},
	{PhoneSilentFault, Attention, 1, 0, "The phone does not answer.", "Unplug it, wait a moment and plug it in again. Try another cable if that does not help.", "", ""},
	{PhoneUnsupported, Attention, 1, 0, "The phone does not let the box copy its files.", "Choose file transfer in the phone's USB settings.", "", ""},
	{PhonesAlike, Attention, 1, 0, "Two phones say that they are the same one.", "Only the one plugged in first is backed up. Unplug the other: the box cannot tell them apart.", "", ""},
	{DriveMissing, Attention, 2, 0, "A drive is missing.", "Plug it back in. If it is gone for good, plug in another one.", "", ""},
	{DrivesFull, Attention, 3, 0, "The drives are full.", "Add a drive, or replace one by a larger one.", "", ""},
	{TooFewDrives, Attention, 4, 0, "Not everything is protected against the loss of a drive.", "Leave the box on until it has caught up. If this stays, add a drive.", "", ""},
	{DriveFailingFault, Attention, 4, 0, "A drive is failing.", "Replace it soon. Everything can still be read.", "", ""},
	{DriveReadOnlyCode, Attention, 4, 0, "A drive cannot be written.", "Check its write-protect switch. If it has none, replace the drive.", "", ""},
	{DrivesNeeded, AtRisk, 2, 0, "Too few drives are plugged in to read everything.", "Plug the missing drives back in. Nothing is deleted.", "", ""},
	{DataLost, AtRisk, 4, 0, "Part of the stored data is lost.", "Keep the phone as it is and plug it in: the box copies again what it still has. Keep every drive.", "", ""},
	{DriveUnreadable, Attention, 2, 0, "A drive was plugged in that the box cannot use.", "Format it as ext4 or exFAT on a computer, or use another one. The box never formats a drive by itself.", "", ""},
	{NoDriveYet, Attention, 2, 0, "The box has no drive yet.", "Plug in an empty USB drive, and tap the button while light 2 breathes.", "", ""},
	{DriveOfAnother, Attention, 2, 0, "A drive of another box is plugged in.", "Nothing on it is touched. Unplug it: this box does not use it.", "", ""},
	{KeyMissing, Attention, 0, 0, "The vault is locked: the key is not here.", "Plug in the key stick, or give the 24 words.", "", ""},
	{KeyWrong, Attention, 0, 0, "This key does not open the vault on these drives.", "Use the key stick or the 24 words that belong to these drives.", "", ""},
	{KeyOfAnother, Attention, 0, 0, "These drives belong to a box whose key is not here.", "Plug in its key stick. To begin anew, unplug these drives and plug in an empty one.", "", ""},
	{CardLost, Attention, 0, 0, "The box cannot use the memory of its SD card.", "Replace the card. The key stick and the drives make the new one the same box.", "", ""},
	{StickAlone, Attention, 2, 0, "A key stick is here, and the drives that it belongs to are not.", "Plug the drives in. To begin anew instead, unplug the stick.", "", ""},
	{WordsInBox, Attention, 0, 0, "The key is nowhere but in this box: if the box breaks, no drive can be read.", "Plug in an empty USB stick, and double-tap while light 2 breathes.", "", ""},
	{StickNotEmpty, Attention, 2, 0, "That stick is not empty, so it was not made the key stick.", "Use an empty one, for the key alone. A single tap takes a drive in for backups.", "", ""},
	{DrivesAway, Attention, 2, 0, "None of the box's drives is plugged in.", "Plug them in, and switch on the hub that they are plugged into. The box then goes on by itself.", "", ""},
	{RestoreRefused, Attention, 1, 0, "The restore was not begun.", "Attach exactly one phone, new and empty, and hold the button again.", "", ""},
	{TargetFull, Attention, 1, 0, "The new phone has too little room for everything.", "Use a phone with more storage.", "", ""},
	{RestoreIncomplete, Attention, 1, 0, "Some files could not be put onto the new phone.", "See the list of files. They are safe in the vault; restore again to try those left out.", "", ""},
	{TargetUnplugged, Attention, 1, 0, "The new phone came unplugged before everything was on it.", "Plug it in again and hold the button again. What is on it is not copied twice.", "", ""},
	{RestoreWantsStick, Attention, 1, 0, "A restore by the button needs the key stick.", "Plug the key stick in and hold the button again.", "", ""},
	{RestoreNotByButton, Attention, 1, 0, "Restoring by the button is switched off.", "Restore with a computer, or allow it: restore_by_button in box.toml.", "", ""},
	{PowerLow, Attention, 5, 0, "The box gets too little power.", "Use the power supply made for it, and a short cable. Plug the drives into a hub with a supply of its own.", "", ""},
	{TooHot, Attention, 5, 0, "The box is too hot.", "Give it air: nothing on it or close around it. It works more slowly until it has cooled down.", "", ""},
	{UpdateRefusedFault, Attention, 0, 0, "An update was found that the box does not take.", "Get the update for this box anew from its maker. The box goes on as it is.", "", ""},
	{UpdateFailedFault, Attention, 0, 0, "An update did not run well, and was taken back.", "Nothing is lost: the box runs what it ran before. Wait for the next update.", "", ""},
	{ResetRefused, Attention, 0, 0, "The settings were not erased.", "First put the 24 words onto a key stick or paper, with the drives plugged in. Then try again.", "", ""},
	{Interrupted, News, 0, 0, "The work was stopped before its end.", "Nothing is lost. Double-tap to go on.", "", ""},
	{Internal, Attention, 1, 0, "The box met an error of its own.", "Unplug the phone and plug it in again. If this stays, send a report.", "", ""},
}

// Faults is the table of faults, in order of codes.
func Faults() []Fault { return slices.Clone(faults) }

// newFault makes the fault of a code.
func newFault(c Code, phone usbhost.ID, detail string) Fault {
	for _, f := range faults {
		if f.Code == c {
			f.Phone, f.Detail = phone, detail
			return f
		}
	}
	return newFault(Internal, phone, string(c)) // a code without a row is a bug; a test looks for it
}

// codeOf is the only place that turns errors into words for people. kind is the job that met err.
func codeOf(err error, kind JobKind) Code {
	restoring := kind == JobRestore || kind == JobProbe
	switch {
	case errors.Is(err, usbhost.ErrUnplugged) && restoring:
		return TargetUnplugged
	case errors.Is(err, usbhost.ErrUnplugged):
		return PhoneUnplugged
	case errors.Is(err, errNotFresh):
		return RestoreRefused
	case errors.Is(err, usbhost.ErrLocked):
		return PhoneLocked
	case errors.Is(err, usbhost.ErrNoSpace):
		return TargetFull
	case errors.Is(err, usbhost.ErrUnsupported):
		return PhoneUnsupported
	case errors.Is(err, ErrOtherBox):
		return KeyOfAnother
	case errors.Is(err, ErrNotEmpty):
		return StickNotEmpty
	case errors.Is(err, ErrStickAlone):
		return StickAlone
	case errors.Is(err, ErrDrivesAway):
		return DrivesAway
	case errors.Is(err, ErrCardLost):
		return CardLost
	case errors.Is(err, ErrNoVault):
		return NoDriveYet
	case errors.Is(err, ErrWrongKey):
		return KeyWrong
	case errors.Is(err, ErrVaultLocked):
		return KeyMissing
	case errors.Is(err, storage.ErrFull):
		return DrivesFull
	case errors.Is(err, storage.ErrReadOnly):
		return DriveReadOnlyCode
	case errors.Is(err, storage.ErrCorrupt):
		return DataLost
	case errors.Is(err, storage.ErrUnavailable):
		return DrivesNeeded
	case errors.Is(err, ErrIncomplete) && restoring:
		return RestoreIncomplete
	case errors.Is(err, ErrIncomplete), errors.Is(err, usbhost.ErrChanged):
		return FilesLeftOut
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		return PhoneSilentFault
	}
	return Internal
}

// sortFaults puts the gravest first.
func sortFaults(fs []Fault) {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code))
	})
}
