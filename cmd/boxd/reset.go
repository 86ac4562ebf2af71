//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// finishReset empties a state folder that is to be, whatever a power cut left of it. outside are folders that must not lie in it, since
// they are no settings.
func finishReset(state string, outside ...string) error {
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
