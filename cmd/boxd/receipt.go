package main

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/apps"
)

// A receipt tells after a restore onto a phone what was put where, what its owner must do now, and what no restore of this
// snapshot can bring back.
type receipt struct {
	Placed []placed     `json:"placed"` // in order of names
	Apps   []appReceipt `json:"apps"`
	Absent []string     `json:"absent"` // what the snapshot does not hold
}

// placed is a folder of the snapshot and what of it is on the phone now.
type placed struct {
	Folder string `json:"folder"` // in restic's quoting; "." for files in no folder
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

type appReceipt struct {
	appJSON
	Steps []string `json:"steps"` // what its owner must do, in order
}

// newReceipt begins the receipt of a snapshot.
func newReceipt(from fs.FS, snap vault.Snapshot, now time.Time) (*receipt, error) {
	found, err := apps.Look(from, snap.Time)
	if err != nil {
		return nil, hintError{err, "damaged", "boxd vault verify tells what cannot be read"}
	}
	r := &receipt{Placed: []placed{}, Apps: []appReceipt{}, Absent: []string{}}
	for i, a := range inWords(found, now) {
		a.Hint = "" // it is about the old phone
		r.Apps = append(r.Apps, appReceipt{a, found[i].Steps()})
	}
	if strings.HasPrefix(snap.Phone, "mtp:") {
		r.Absent = append(r.Absent, "apps and what they keep to themselves, call history, SMS and contacts: a phone does not give them over MTP. "+
			"Install the apps again; contacts come back by signing in to the account that they were kept in")
	}
	if !snap.Complete && !snap.Foreign {
		missing := "some of the old phone's files: the snapshot is INCOMPLETE"
		if o := snap.Outcome; o != nil && len(o.Problems)+o.More > 0 {
			missing += ", " + plural(len(o.Problems)+o.More, "thing was", "things were") + " left out when it was made"
		}
		r.Absent = append(r.Absent, missing)
	}
	return r, nil
}

// placesWhatsApp reports whether WhatsApp must not be opened on the phone before the restore has ended.
func (r *receipt) placesWhatsApp() bool {
	return slices.ContainsFunc(r.Apps, func(a appReceipt) bool { return strings.HasPrefix(a.Name, "WhatsApp") && !a.Backup.IsZero() })
}

// fill adds what was put where: all that the snapshot holds but for what failed.
func (r *receipt) fill(from fs.FS, failed []usbhost.Problem) error {
	not := map[string]bool{}
	for _, p := range failed {
		if p.Listed {
			not[p.Name] = true
		}
	}
	at := map[string]int{}
	return fs.WalkDir(from, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || not[name] {
			return nil // the restore's report names a folder that cannot be listed
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		folder := shelf(name)
		i, ok := at[folder]
		if !ok {
			i = len(r.Placed)
			at[folder], r.Placed = i, append(r.Placed, placed{Folder: quoteName(folder)})
		}
		r.Placed[i].Files++
		r.Placed[i].Bytes += info.Size()
		return nil
	})
}

// shelf is the folder that a file is counted under: at most two folders deep, a storage and a folder in it.
func shelf(name string) string {
	elems := strings.SplitN(name, "/", 3)
	switch len(elems) {
	case 1:
		return "."
	case 2:
		return elems[0]
	}
	return elems[0] + "/" + elems[1]
}

// text writes the receipt for people; a nil one is nothing.
func (r *receipt) text(w io.Writer) {
	if r == nil {
		return
	}
	if len(r.Placed) > 0 {
		fmt.Fprintln(w, "\nOn the phone now:")
	}
	for i, p := range r.Placed {
		if i == shownProblems {
			fmt.Fprintf(w, "  and %s more; --json lists them all\n", plural(len(r.Placed)-i, "folder", "folders"))
			break
		}
		if p.Folder == "." {
			p.Folder = "(in no folder)"
		}
		fmt.Fprintf(w, "  %12s  %8s  %s\n", plural(p.Files, "file", "files"), size(p.Bytes), p.Folder)
	}
	if len(r.Apps) > 0 {
		fmt.Fprintln(w, "\nTo do on the phone:")
	}
	for _, a := range r.Apps {
		fmt.Fprintf(w, "  %s\n", a.Line)
		for _, s := range a.Steps {
			fmt.Fprintf(w, "    - %s\n", s)
		}
	}
	if len(r.Absent) > 0 {
		fmt.Fprintln(w, "\nNot in this snapshot:")
	}
	for _, a := range r.Absent {
		fmt.Fprintf(w, "  - %s\n", a)
	}
}
