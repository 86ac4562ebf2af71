package firmware_test

import (
	"testing"

	"phonebackupbox/firmware"
)

func TestWhoMayOpen(t *testing.T) {
	for _, tt := range []struct {
		name        string
		unlock      firmware.Unlock
		card, stick bool
		open        bool
	}{
		{"by default the key on the card opens", "", true, false, true},
		{"the key on the card opens", firmware.UnlockCard, true, false, true},
		{"a stick opens a blank card", firmware.UnlockCard, false, true, true},
		{"no key opens nothing", firmware.UnlockCard, false, false, false},
		{"a key left on the card does not count", firmware.UnlockKeyStick, true, false, false},
		{"the stick opens", firmware.UnlockKeyStick, false, true, true},
		{"the stick opens, whatever is on the card", firmware.UnlockKeyStick, true, true, true},
		{"an unknown way needs the stick", "fingerprint", true, false, false},
	} {
		if got := (firmware.Policy{Unlock: tt.unlock}).MayOpen(tt.card, tt.stick); got != tt.open {
			t.Errorf("%s: %v", tt.name, got)
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
