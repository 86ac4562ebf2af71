package apps

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"
)

// copies are an app's own backups as far as they were seen.
type copies struct {
	full       map[string]time.Time // folder → its newest full backup
	increments map[string]time.Time // folder → its newest increment; worth nothing without a full one beside it
	sealed     map[string]bool      // folder → its newest full backup wants a key that only the owner has
	folder     bool                 // the newest is a folder, Signal's newer form
}

// newest is the newest backup that can be restored.
func (c *copies) newest() (at time.Time, sealed bool, state State) {
	for dir, full := range c.full {
		if inc := c.increments[dir]; inc.After(full) {
			full = inc
		}
		if at.IsZero() || full.After(at) {
			at, sealed = full, c.sealed[dir]
		}
	}
	switch {
	case len(c.full) > 0:
		return at, sealed, Good
	case len(c.increments) > 0:
		return time.Time{}, false, Fragments
	}
	return time.Time{}, false, Missing
}

// note takes in a full backup or an increment that lies in dir, and reports whether it is the newest of its sort there.
func note(m *map[string]time.Time, dir string, at time.Time) bool {
	if *m == nil {
		*m = map[string]time.Time{}
	}
	if old, ok := (*m)[dir]; ok && !at.After(old) {
		return false
	}
	(*m)[dir] = at
	return true
}

// What WhatsApp names its files: msgstore.db.crypt15, older full ones msgstore-2026-11-24.1.db.crypt15, and between full ones
// msgstore-increment-1.db.crypt15 or msgstore-increment-99-2026-03-07-nm.crypt14. The number is that of the sealing: up to 14
// WhatsApp's servers give the key to whoever proves to have the telephone number; 15 is sealed with the owner's own key.
var (
	increment = regexp.MustCompile(`^msgstore-increment\b.*\.crypt[0-9]+$`)
	fullStore = regexp.MustCompile(`^msgstore(-[0-9]{4}-[0-9]{2}-[0-9]{2}\.[0-9]+)?\.db\.crypt([0-9]+)$`)
)

// whatsApp takes in a file of WhatsApp's folder. What else lies in Databases and Backups (settings, stickers) is no chat and no
// media, yet needed beside them, so it counts with the backups.
func whatsApp(c *copies, name string, info fs.FileInfo) bool {
	dir, base := path.Dir(name), path.Base(name)
	switch path.Base(dir) {
	case "Databases":
	case "Backups":
		return true
	default:
		return false
	}
	if increment.MatchString(base) {
		note(&c.increments, dir, info.ModTime())
		return true
	}
	if m := fullStore.FindStringSubmatch(base); m != nil && info.Size() > 0 && note(&c.full, dir, info.ModTime()) {
		if c.sealed == nil {
			c.sealed = map[string]bool{}
		}
		c.sealed[dir] = m[2] == "15"
	}
	return true
}

// signalFile is a backup in one file, as Signal wrote them until 2025: signal-2025-01-31-02-00-00.backup.
var signalFile = regexp.MustCompile(`^signal-[0-9-]+\.backup$`)

// signal takes in a file of Signal's folders. The newer form is a folder signal-backup-2026-01-31-02-00-00 with the file main in
// it, beside a folder files that all of them share.
func signal(c *copies, name string, info fs.FileInfo) bool {
	dir, base := path.Dir(name), path.Base(name)
	switch {
	case info.Size() == 0:
	case signalFile.MatchString(base):
		if note(&c.full, "", info.ModTime()) {
			c.folder = false
		}
		return true
	case base == "main" && strings.HasPrefix(path.Base(dir), "signal-backup-"):
		if note(&c.full, "", info.ModTime()) {
			c.folder = true
		}
		return true
	}
	return strings.Contains(name, "SignalBackups/")
}
