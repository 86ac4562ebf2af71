package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/rpi"
	"phonebackupbox/storage/vault"
)

func TestConfig(t *testing.T) {
	for text, want := range map[string]firmware.Policy{
		"":                      {},
		"# nothing chosen\n":    {},
		"unlock = \"card\"\n":   {Unlock: firmware.UnlockCard},
		"unlock = 'keystick'\n": {Unlock: firmware.UnlockKeyStick},
		"restore_by_button = \"keystick\"\nunlock = \"keystick\"": {Unlock: firmware.UnlockKeyStick, RestoreByButton: firmware.ButtonKeyStick},
		"\ufeffunlock = \"card\"\r\n":                             {Unlock: firmware.UnlockCard},
		"restore_by_button = \"no\"\r\n":                          {RestoreByButton: firmware.ButtonNo},
	} {
		if c, err := parseConfig(configName, []byte(text)); err != nil || c.Policy != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	if c, err := parseConfig(configName, []byte("survive = 2\n[retention]\ndaily = 7\n")); err != nil || *c.Survive != 2 || c.Retention.Daily != 7 || c.Retention.Monthly != vault.DefaultPolicy.Monthly {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := parseConfig(configName, []byte("phone_clock = 'probe'\n")); err != nil || c.PhoneClock != clockProbe {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := readConfig(t.TempDir()); err != nil || !reflect.DeepEqual(c, defaults()) {
		t.Errorf("no box.toml: %+v, %v", c, err)
	}
}

// The card's box.toml changes nothing as it is, and says truly what the box does: with every # before a setting gone, it does the same.
func TestConfigOfTheCard(t *testing.T) {
	b, err := os.ReadFile("../../image/pack/box.toml")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := parseConfig(configName, b); err != nil || !reflect.DeepEqual(c, defaults()) {
		t.Errorf("as it is: %+v, %v", c, err)
	}
	b = regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAll(b, []byte("$1"))
	c, err := parseConfig(configName, b)
	if err != nil || c.Survive == nil || *c.Survive != 1 {
		t.Fatalf("%+v, %v\n%s", c, err, b)
	}
	want := defaults()
	want.Survive, want.Unlock, want.RestoreByButton, want.PhoneClock = c.Survive, firmware.UnlockCard, firmware.ButtonYes, clockAuto
	d := rpi.Default
	want.Board = wiring{Chip: d.Chip, Lights: d.Lights[:], Button: &d.Button, LightsActiveLow: d.LightsActiveLow, ButtonActiveHigh: d.ButtonActiveHigh}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, but the box does %+v", c, want)
	}
}

// A phone is written to only where its owner says so, or where the box has no idea of its zone.
func TestWhosePhoneIsProbed(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	london, lerr := time.LoadLocation("Europe/London") // UTC in winter
	if err != nil || lerr != nil {
		t.Fatal(err, lerr)
	}
	for _, c := range []struct {
		how  phoneClock
		zone *time.Location
		want bool
	}{
		{"", berlin, false}, {clockAuto, berlin, false}, {clockAuto, london, false}, {"", time.UTC, true}, {clockAuto, time.FixedZone("", 0), true},
		{clockProbe, berlin, true}, {clockBox, time.UTC, false}, {clockBox, berlin, false},
	} {
		if got := c.how.probes(c.zone); got != c.want {
			t.Errorf("phone_clock = %q in %v: %v", c.how, c.zone, got)
		}
	}
}

func TestConfigErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"unlock = \"card\"\n\nunlok = \"keystick\"\n":   `box.toml, line 3: "unlok" is no setting`,
		"[policy]\nunlock = \"card\"\n":                 `box.toml, line 1: "policy" is no setting`,
		"\nunlock = \"never\"\n":                        `box.toml: unlock: "never" is neither "card" nor "keystick"`,
		"unlock = \"card\"\nrestore_by_button = true\n": `box.toml, line 2: `,
		"restore_by_button = \"maybe\"\n":               `box.toml: restore_by_button: "maybe" is none of`,
		"unlock = \"card\"\nunlock = \"keystick\"\n":    `box.toml: key unlock is already defined`,
		"[retention]\nlast = 3\ndayly = 5\n":            `box.toml, line 3: "retention.dayly" is no setting`,
		"[retention]\nmonthly = -1\n":                   `box.toml: retention: monthly = -1`,
		"survive = 4\n":                                 `box.toml: survive = 4: 0 to 3 drives may die`,
		"phone_clock = \"utc\"\n":                       `box.toml: phone_clock: "utc" is none of "auto", "probe" and "box"`,
		"[retention]\nlast = 0\n":                       `box.toml: retention: last = 0`,
		"[board]\nlights = [1, 2, 3]\n":                 `box.toml: board: lights has 3 lines: give 6`,
		"[board]\nlamps = [1]\n":                        `box.toml, line 2: "board.lamps" is no setting`,
		"unlock = ":                                     `box.toml, line 1: `,
		"unlock \x1b[31m= 1":                            `box.toml, line 1: `,
	} {
		c, err := parseConfig(configName, []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || !reflect.DeepEqual(c, config{}) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("unlock = \"card\"\nrestore_by_button = \"no\"\n"))
	f.Add([]byte("[a.b]\nc = [1, {d = 2}]\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if c, err := parseConfig(configName, p); err != nil && !reflect.DeepEqual(c, config{}) {
			t.Errorf("%+v and %v", c, err)
		}
	})
}
