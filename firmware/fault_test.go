package firmware

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

func TestEveryErrorHasItsWords(t *testing.T) {
	for _, tt := range []struct {
		err  error
		kind JobKind
		want Code
	}{
		{usbhost.ErrUnplugged, JobBackup, PhoneUnplugged},
		{usbhost.ErrUnplugged, JobRestore, TargetUnplugged},
		{usbhost.ErrUnplugged, JobProbe, TargetUnplugged},
		{usbhost.ErrLocked, JobBackup, PhoneLocked},
		{usbhost.ErrNoSpace, JobRestore, TargetFull},
		{usbhost.ErrUnsupported, JobBackup, PhoneUnsupported},
		{usbhost.ErrChanged, JobBackup, FilesLeftOut},
		{ErrIncomplete, JobBackup, FilesLeftOut},
		{ErrIncomplete, JobRestore, RestoreIncomplete},
		{ErrWrongKey, JobCheck, KeyWrong},
		{ErrVaultLocked, JobCheck, KeyMissing},
		{ErrOtherBox, JobCheck, KeyOfAnother},
		{ErrCardLost, JobCheck, CardLost},
		{ErrStickAlone, JobCheck, StickAlone},
		{ErrDrivesAway, JobCheck, DrivesAway},
		{ErrNoVault, JobBackup, NoDriveYet},
		{ErrNotEmpty, JobStick, StickNotEmpty},
		{storage.ErrFull, JobBackup, DrivesFull},
		{storage.ErrReadOnly, JobBackup, DriveReadOnlyCode},
		{storage.ErrCorrupt, JobBackup, DataLost},
		{storage.ErrUnavailable, JobRestore, DrivesNeeded},
		{errNotFresh, JobRestore, RestoreRefused},
		{context.Canceled, JobBackup, Interrupted},
		{context.DeadlineExceeded, JobBackup, PhoneSilentFault},
		{storage.ErrNotExist, JobRestore, Internal},
		{errors.New("never heard of"), JobBackup, Internal},
	} {
		if got := codeOf(fmt.Errorf("pkg: what name: %w", tt.err), tt.kind); got != tt.want {
			t.Errorf("%v in a %s is %s, want %s", tt.err, tt.kind, got, tt.want)
		}
	}
}

// Words on a page must be plain: a sentence, an advice, nothing that only an engineer knows.
func TestFaultsAreFitForPeople(t *testing.T) {
	seen := map[Code]bool{}
	for _, f := range Faults() {
		if seen[f.Code] {
			t.Errorf("%s twice", f.Code)
		}
		seen[f.Code] = true
		for _, words := range []string{f.Sentence, f.Advice} {
			if !strings.HasSuffix(words, ".") || len(words) > 120 || strings.ToUpper(words[:1]) != words[:1] {
				t.Errorf("%s: %q is no short sentence", f.Code, words)
			}
			for _, jargon := range []string{"error", "nil", "MTP", "mount", "blob", "parity", "I/O"} {
				if f.Code != Internal && strings.Contains(words, jargon) {
					t.Errorf("%s: %q says %q", f.Code, words, jargon)
				}
			}
		}
		if f.Light < 0 || f.Light > 5 || f.Severity == News && f.Light != 0 {
			t.Errorf("%s: light %d, severity %d", f.Code, f.Light, f.Severity)
		}
	}
	for _, c := range []Code{PhoneLocked, PhoneUnplugged, FilesLeftOut, PhoneSilentFault, PhoneUnsupported, DriveMissing, DrivesFull, TooFewDrives,
		DriveFailingFault, DriveReadOnlyCode, DrivesNeeded, DataLost, DriveUnreadable, NoDriveYet, DriveOfAnother, KeyMissing, KeyWrong,
		KeyOfAnother, CardLost, StickAlone, WordsInBox, StickNotEmpty, DrivesAway, RestoreRefused, TargetFull, RestoreIncomplete, TargetUnplugged, RestoreWantsStick,
		RestoreNotByButton, PowerLow, TooHot, UpdateRefusedFault, UpdateFailedFault, ResetRefused, Interrupted, Internal} {
		if !seen[c] {
			t.Errorf("%s has no words", c)
		}
	}
}
