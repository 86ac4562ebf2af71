//go:build !rescue

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/image/update"
	"phonebackupbox/image/wifi"
)

const passphrase, asKey = "correct=horse # battery", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"

// What opens the owner's wireless network is kept where only root may read it, and is erased on the card, however it was written.
func TestAWirelessNetworkIsTakenOver(t *testing.T) {
	words := someWords(t)
	for name, text := range map[string]string{
		"as on Linux":       "survive = 2\n[wifi]\nssid = \"home\"\npassphrase = \"" + passphrase + "\"\ncountry = \"DE\"\n",
		"as on Windows":     "\xef\xbb\xbfsurvive = 2\r\n[wifi]\r\ncountry='DE'\r\npassphrase='" + passphrase + "'\r\nssid='home'",
		"with words":        "words = \"\"\"\n" + strings.ReplaceAll(words, " ", "\n") + "\"\"\"\nsurvive = 2\n[wifi]\nssid = \"home\"\ncountry = \"DE\"\npassphrase = \"" + passphrase + "\"\n",
		"with dots":         "survive = 2\nwifi.ssid = \"home\"\n wifi . \"passphrase\" = \"" + passphrase + "\"\nwifi.country = \"DE\"\n",
		"on more than one":  "survive = 2\n[wifi]\nssid = \"home\"\npassphrase = '''\n" + passphrase + "'''\ncountry = \"DE\"\n",
		"written by escape": "survive = 2\n[wifi]\nssid = \"home\"\n\"passphrase\" = \"correct=horse \\u0023 battery\"\ncountry = \"DE\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			want, err := wifi.New("home", passphrase, "DE")
			if err != nil {
				t.Fatal(err)
			}
			state, fat, p := cardOf(t, text)
			if err := p.takeOver(state); err != nil {
				t.Fatal(err)
			}
			if got, err := wifi.Read(filepath.Join(state, wifi.File)); err != nil || got != want {
				t.Errorf("%v, %v", got, err)
			}
			if info, err := os.Stat(filepath.Join(state, wifi.File)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("who may read it: %v, %v", info.Mode(), err)
			}
			if c, err := readConfig(state); err != nil || c.Survive == nil || *c.Survive != 2 || c.Wifi != (wireless{SSID: "home", Country: "DE"}) {
				t.Errorf("settings: %+v, %v", c, err)
			}
			left := read(t, fat, configName)
			if len(left) != len(text) || strings.Count(left, "\n") != strings.Count(text, "\n") {
				t.Errorf("%d bytes became %d", len(text), len(left))
			}
			for _, where := range []string{left, read(t, state, configName), read(t, state, wifi.File)} {
				if strings.Contains(where, "horse") || strings.Contains(where, strings.Fields(words)[0]+" ") {
					t.Errorf("it is still there:\n%s", where)
				}
			}
		})
	}
}

// Later changes of the file need not repeat what the box knows; a network that is not named any more is forgotten.
func TestAWirelessNetworkStays(t *testing.T) {
	state, fat, p := cardOf(t, "[wifi]\nssid = \"IEEE\"\npsk = \""+asKey+"\"\ncountry = \"DE\"\n")
	write := func(text string) error {
		if err := os.WriteFile(filepath.Join(fat, configName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p.takeOver(state)
	}
	if err := p.takeOver(state); err != nil {
		t.Fatal(err)
	}
	want, err := wifi.New("IEEE", "password", "AT")
	if err != nil {
		t.Fatal(err)
	}
	if err := write("survive = 1\n" + strings.ReplaceAll(read(t, fat, configName), "DE", "AT")); err != nil {
		t.Fatal(err)
	}
	if got, err := wifi.Read(filepath.Join(state, wifi.File)); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	err = write("survive = 3\n[wifi]\nssid = \"other\"\ncountry = \"AT\"\n")
	if !errors.Is(err, errNoPassphrase) || !strings.Contains(read(t, state, configName), "survive = 3") || read(t, state, wifi.File) != "" {
		t.Errorf("a network that nobody can open: %v", err)
	}
	if err := write("[wifi]\nssid = \"other\"\ncountry = \"AT\"\npassphrase = \"" + passphrase + "\"\n"); err != nil {
		t.Fatal(err)
	}
	if err := write("survive = 3\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := wifi.Read(filepath.Join(state, wifi.File)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is not forgotten: %v", err)
	}
}

// What is no network is told with what is wrong, and never with what opens it.
func TestWirelessNetworksThatAreWrong(t *testing.T) {
	for text, say := range map[string]string{
		"[wifi]\nssid = \"home\"\npassphrase = \"" + passphrase + "\"\n":                                          "two capital letters",
		"[wifi]\npassphrase = \"" + passphrase + "\"\ncountry = \"DE\"\n":                                         "ssid has 0 bytes",
		"[wifi]\nssid = \"home\"\npsk = \"" + passphrase + "\"\ncountry = \"DE\"\n":                               "psk: a key has 64",
		"[wifi]\nssid = \"home\"\npsk = \"" + asKey + "\"\npassphrase = \"horses and carts\"\ncountry = \"DE\"\n": "give one of them",
		"[wifi]\nssid = \"home\"\npassphrase = \"horse\"\ncountry = \"DE\"\n":                                     "8 to 63",
		"[wifi]\nssid = \"home\"\npassword = \"" + passphrase + "\"\ncountry = \"DE\"\n":                          `line 3: "wifi.password" is no setting`,
		"wifi = { ssid = \"home\", passphrase = \"" + passphrase + "\", country = \"DE\" }\n":                     "lines of their own",
	} {
		state, fat, p := cardOf(t, text)
		err := p.takeOver(state)
		status := string(statusText(firmware.State{}, nil, err))
		if err == nil || !strings.Contains(status, say) || strings.Contains(status, "horse") || strings.Contains(status, asKey) {
			t.Errorf("%q: want %q:\n%s", text, say, status)
		}
		if read(t, state, wifi.File) != "" || read(t, fat, configName) != text {
			t.Errorf("%q: something was changed", text)
		}
	}
	if _, err := parseConfig("box.toml", []byte("[wifi]\nssid = \"home\"\npassphrase = \""+passphrase+"\"\ncountry = \"DE\"\n")); err == nil || strings.Contains(err.Error(), "horse") {
		t.Errorf("a passphrase in settings that are not the card's: %v", err)
	}
}

// The box starts anew for another network, or for none any more, but not where it is one program among others, nor on trial.
func TestAnotherNetworkIsForTheNextStart(t *testing.T) {
	state := t.TempDir()
	a := &appliance{}
	starts := func(boot string, before, now string, want bool) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(state, wifi.File), []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := a.startsAnew(boot, state, []byte(before)); got != want {
			t.Errorf("%s, %q after %q: %v", boot, now, before, got)
		}
	}
	starts(onCard, "", "a", true)
	starts(onCard, "a", "b", true)
	starts(onCard, "a", "", true)
	starts(onCard, "a", "a", false)
	starts(state, "", "a", false)
	a.updates = &updates{stand: update.OnTrial}
	starts(onCard, "", "a", false)
	if err := os.Remove(filepath.Join(state, wifi.File)); err != nil || network(state) != nil {
		t.Errorf("none: %v", err)
	}
}
