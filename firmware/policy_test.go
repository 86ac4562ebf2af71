package firmware_test

import (
	"testing"

	"phonebackupbox/firmware"
)

func TestWhereTheKeyMayStay(t *testing.T) {
	for unlock, want := range map[firmware.Unlock]bool{"": true, firmware.UnlockCard: true, firmware.UnlockKeyStick: false, "fingerprint": false} {
		if got := (firmware.Policy{Unlock: unlock}).KeyOnCard(); got != want {
			t.Errorf("unlock %q: %v", unlock, got)
		}
	}
}

func TestWhoMayRestore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer firmware.ButtonRestore
		stick  bool
		may    bool
	}{
		{"by default the button restores", "", false, true},
		{"yes", firmware.ButtonYes, false, true},
		{"without its stick the button does nothing", firmware.ButtonKeyStick, false, false},
		{"with its stick the button restores", firmware.ButtonKeyStick, true, true},
		{"no", firmware.ButtonNo, true, false},
		{"an unknown answer is no", "perhaps", true, false},
	} {
		if got := (firmware.Policy{RestoreByButton: tt.answer}).MayRestore(tt.stick); got != tt.may {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
