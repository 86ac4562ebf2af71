package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"phonebackupbox/firmware"
)

// configName is the owner's settings in the state folder.
const configName = "box.toml"

// maxConfig bounds box.toml, in bytes.
const maxConfig = 64 << 10

// config is box.toml. Every field has a default, which the zero value is.
type config struct {
	firmware.Policy
}

// readConfig reads the settings in a state folder; a folder without any has the defaults.
func readConfig(dir string) (config, error) {
	path := filepath.Join(dir, configName)
	b, err := readSmall(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return config{}, fmt.Errorf("%s: %w", path, err)
	}
	return parseConfig(path, b)
}

// parseConfig decodes box.toml. What is unknown or wrong is refused with its line, so that a typing error never quietly
// means the default.
func parseConfig(path string, b []byte) (config, error) {
	var c config
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&c)
	var (
		unknown *toml.StrictMissingError
		wrong   *toml.DecodeError
	)
	switch {
	case err == nil:
		if err = c.Check(); err == nil {
			return c, nil
		}
		err = fmt.Errorf("%s: %w", path, err)
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
	return config{}, hintError{err, "config", `the settings are unlock = "card" or "keystick", and restore_by_button = "yes", "keystick" or "no"`}
}
