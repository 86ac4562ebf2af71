//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// resetName stands in a state folder that is to be emptied. Writing it is the reset; the rest is done again until it is done.
const resetName = "reset-pending"

// afterReset are what a state folder keeps: they hold neither settings nor names.
var afterReset = []string{".lock", boxLog, boxLog + ".1", notKeptName}

// resetter erases the box's settings. It is the box's firmware.Resetter.
type resetter struct {
	state string
	bays  *bays
}

// Reset makes the box a blank one at its next start. It refuses where the box's key is, or may be, the only one: a vault whose key is
// lost is lost, and a reset must never lose a backup (docs/adr/049-what-a-reset-erases.md).
func (r resetter) Reset(ctx context.Context) error {
	_, err := os.Lstat(filepath.Join(r.state, cardKeyName))
	if err == nil {
		err = r.mayLoseKey(ctx)
	} else if errors.Is(err, fs.ErrNotExist) { // there is none to lose
		err = nil
	}
	if err != nil {
		return err
	}
	return putStateFile(r.state, resetName, nil)
}

// mayLoseKey reports why the key on the card must stay.
func (r resetter) mayLoseKey(ctx context.Context) error {
	open, err := r.bays.use(ctx)
	if err != nil {
		return fmt.Errorf("whether the 24 words are safe elsewhere is known only to the drives, and these cannot be opened now: %s", oneLine(err))
	}
	own, err := readKey(filepath.Join(r.state, cardKeyName))
	if err != nil {
		return errors.New("the key on the card cannot be read")
	}
	r.bays.mu.Lock()
	used := r.bays.password
	r.bays.mu.Unlock()
	if own != used {
		return errors.New("the key on the card is another one than opened these drives")
	}
	safe, err := open.wordsAreOut(ctx)
	if err != nil {
		return fmt.Errorf("whether the 24 words are safe elsewhere cannot be read: %s", oneLine(err))
	}
	if !safe {
		return errors.New("the 24 words have not left the box yet: without them the backups would be lost")
	}
	return nil
}

// finishReset empties a state folder that is to be, whatever a power cut left of it, and the owner's file on the card's FAT partition:
// what is left there would be taken over again. boot may be nil. outside are folders that must not lie in the state folder, since they
// are no settings.
func finishReset(state string, boot *bootPart, outside ...string) error {
	if _, err := os.Lstat(filepath.Join(state, resetName)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	at, err := filepath.Abs(state)
	if err != nil {
		return err
	}
	for _, dir := range outside {
		if dir == "" || dir == autoDrives {
			continue
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(at, dir); err != nil || !strings.HasPrefix(rel, "..") {
			return fmt.Errorf("the settings are not erased: %s is within %s", printable(dir), printable(state))
		}
	}
	if boot != nil {
		if err := boot.write(func(dir string) error { return eraseOwnerFiles(dir, state) }); err != nil {
			return err
		}
	}
	return emptyState(state, os.RemoveAll)
}

// emptyState removes all of a state folder but afterReset, and resetName last.
func emptyState(state string, remove func(path string) error) error {
	entries, err := os.ReadDir(state)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == resetName || slices.Contains(afterReset, e.Name()) {
			continue
		}
		if err := remove(filepath.Join(state, e.Name())); err != nil {
			return err
		}
	}
	if err := syncDir(state); err != nil {
		return err
	}
	if err := remove(filepath.Join(state, resetName)); err != nil {
		return err
	}
	return syncDir(state)
}

// erasedText is what the owner's file says after a reset.
const erasedText = "# The settings that stood here were erased by a reset of the box. What may stand here:\r\n# "

// eraseOwnerFiles erases what the owner wrote into dir, which may hold names, wishes and passwords, and what the box told there. How
// lights and button are wired stays: it is the box's own, and without it nobody could press the button any more.
func eraseOwnerFiles(dir, state string) error {
	wired, err := wiredAs(dir, state)
	if err != nil {
		return err
	}
	for _, name := range []string{configName, statusName} {
		path := filepath.Join(dir, name)
		text, err := readSmall(path, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			blank(text)
			err = writeInPlace(path, text) // what is only removed stays in free sectors
		}
		if err == nil || name == statusName {
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil {
			return fmt.Errorf("%s: not erased: %w", name, err)
		}
	}
	return putStateFile(dir, configName, []byte(erasedText+strings.ReplaceAll(whatMayBeSet, "; ", ";\r\n# ")+"\r\n"+wired))
}

// wiredAs is the part of the settings that tells the wiring, as text; "" for the usual one.
func wiredAs(dirs ...string) (string, error) {
	for _, dir := range dirs {
		text, err := readSmall(filepath.Join(dir, configName), maxConfig)
		if err != nil {
			continue
		}
		if o, err := parseOwnerFile(text); err == nil && !reflect.DeepEqual(o.Board, wiring{}) {
			b, err := toml.Marshal(struct {
				Board wiring `toml:"board"`
			}{o.Board})
			return strings.ReplaceAll(string(b), "\n", "\r\n"), err
		}
	}
	return "", nil
}
