package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
)

// configName is the owner's settings in the state folder.
const configName = "box.toml"

// maxConfig bounds box.toml, in bytes.
const maxConfig = 64 << 10

// config is box.toml. Every field has a default.
type config struct {
	firmware.Policy
	Survive    *int       `toml:"survive"` // drives that may die without loss; nil leaves the vault as it is
	Retention  retention  `toml:"retention"`
	PhoneClock phoneClock `toml:"phone_clock"`
	Quiet      quietHours `toml:"quiet"`
	Update     fetching   `toml:"update"`
	Board      wiring     `toml:"board"`
	Wifi       wireless   `toml:"wifi"`
}

// phoneClock says how the time zone of a phone is found out that does not tell it (docs/adr/033-what-is-unchanged.md).
type phoneClock string

// The ways.
const (
	clockAuto  phoneClock = "auto"  // the default: as clockProbe where the box's own zone is UTC, as on one that nobody told, else as clockBox
	clockProbe phoneClock = "probe" // a file of 37 bytes is put on the phone for a moment, and its time looked at
	clockBox   phoneClock = "box"   // the phone is taken to live in the box's zone; nothing is written to it
)

// probes reports whether phones may be probed by a box in this zone.
func (p phoneClock) probes(box *time.Location) bool {
	if p != clockAuto && p != "" {
		return p == clockProbe
	}
	return isUTC(box)
}

// isUTC reports whether a zone is UTC, as that of a box is which nobody told where it stands.
func isUTC(zone *time.Location) bool {
	for _, month := range []time.Month{time.January, time.July} {
		if _, offset := time.Date(2025, month, 10, 12, 0, 0, 0, time.UTC).In(zone).Zone(); offset != 0 {
			return false
		}
	}
	return true
}

// retention is how many snapshots of each phone stay; see vault.Policy.
type retention struct {
	Last    int `toml:"last"`
	Daily   int `toml:"daily"`
	Weekly  int `toml:"weekly"`
	Monthly int `toml:"monthly"`
	Yearly  int `toml:"yearly"`
}

// wiring is how the lights and the button of a real board are connected; see hal/rpi.Config. What is absent is as in docs/HARDWARE.md.
type wiring struct {
	Chip             string `toml:"chip"`
	Lights           []int  `toml:"lights"`
	LightsActiveLow  bool   `toml:"lights_active_low"`
	Button           *int   `toml:"button"`
	ButtonActiveHigh bool   `toml:"button_active_high"`
}

// defaults are the settings of an owner who chose nothing.
func defaults() config { return config{Retention: retention(vault.DefaultPolicy)} }

// check refuses what makes no sense, by its name.
func (c config) check() error {
	if c.Survive != nil && (*c.Survive < 0 || *c.Survive > array.MaxSurvive) {
		return fmt.Errorf("survive = %d: 0 to %d drives may die", *c.Survive, array.MaxSurvive)
	}
	switch c.PhoneClock {
	case "", clockAuto, clockProbe, clockBox:
	default:
		return fmt.Errorf(`phone_clock: %.40q is none of "auto", "probe" and "box"`, string(c.PhoneClock))
	}
	if _, _, err := c.Quiet.hours(); err != nil {
		return err
	}
	if n := len(c.Board.Lights); n != 0 && n != hal.Lights {
		return fmt.Errorf("board: lights has %d lines: give %d, the amber light's last", n, hal.Lights)
	}
	if err := c.Update.check(); err != nil {
		return err
	}
	if err := c.Wifi.check(); err != nil {
		return err
	}
	r := c.Retention
	for _, rule := range []struct {
		name     string
		n, least int
	}{{"last", r.Last, 1}, {"daily", r.Daily, 0}, {"weekly", r.Weekly, 0}, {"monthly", r.Monthly, 0}, {"yearly", r.Yearly, 0}} {
		if rule.n < rule.least {
			return fmt.Errorf("retention: %s = %d: %d or more, please", rule.name, rule.n, rule.least)
		}
	}
	return c.Policy.Check()
}

// readConfig reads the settings in a state folder; a folder without any has the defaults.
func readConfig(dir string) (config, error) {
	path := filepath.Join(dir, configName)
	b, err := readSmall(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return defaults(), nil
	}
	if err != nil {
		return config{}, fmt.Errorf("%s: %w", path, err)
	}
	return parseConfig(path, b)
}

// parseConfig decodes box.toml. What is unknown or wrong is refused with its line, so that a typing error never quietly
// means the default.
func parseConfig(path string, b []byte) (config, error) {
	c := defaults()
	if err := decodeSettings(path, b, &c); err != nil {
		return config{}, err
	}
	err := c.check()
	if err == nil && c.Wifi.secret() != "" {
		err = errors.New("wifi: a passphrase is only for the card's own " + configName + ", where the box erases it")
	}
	if err != nil {
		return config{}, settingsError(fmt.Errorf("%s: %w", path, err))
	}
	return c, nil
}

// decodeSettings decodes TOML with the settings that into has.
func decodeSettings(path string, b []byte, into any) error {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return settingsError(fmt.Errorf("%s: it is saved as Unicode of two bytes; save it as UTF-8", path))
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // Windows' Notepad begins files with it
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(into)
	var (
		unknown *toml.StrictMissingError
		wrong   *toml.DecodeError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown) && len(unknown.Errors) > 0:
		wrong = &unknown.Errors[0]
		line, _ := wrong.Position()
		err = fmt.Errorf("%s, line %d: %q is no setting", path, line, printable(strings.Join(wrong.Key(), ".")))
	case errors.As(err, &wrong):
		line, _ := wrong.Position()
		err = fmt.Errorf("%s, line %d: %s", path, line, strings.TrimPrefix(wrong.Error(), "toml: "))
	default:
		err = fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "toml: "))
	}
	return settingsError(err)
}

// whatMayBeSet tells the settings.
const whatMayBeSet = `the settings are unlock = "card" or "keystick", restore_by_button = "yes", "keystick" or "no", survive = how many drives may die without loss, phone_clock = "auto", "probe" or "box", quiet = "21:00-07:00" or "never": when the lights are to be dark, and below [retention] last, daily, weekly, monthly and yearly = how many backups of each phone stay; below [update] allow = true and url = "https://...", where the box looks for new software; below [board], if it is wired in another way than docs/HARDWARE.md tells, chip = "auto" or its label, lights = six lines, button = a line, lights_active_low and button_active_high = true or false; below [wifi] ssid, passphrase and country = "..."`

func settingsError(err error) error {
	return hintError{err, "config", whatMayBeSet}
}
