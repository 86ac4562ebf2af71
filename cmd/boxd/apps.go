package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost/apps"
)

// appJSON is what a snapshot holds of one chat or social app.
type appJSON struct {
	Name    string    `json:"name"`
	Folders []string  `json:"folders"` // in restic's quoting
	Backup  time.Time `json:"backup,omitzero"`
	State   string    `json:"state"` // of its own backup: good, old, missing, increments only, never
	Size    int64     `json:"backup_bytes"`
	Media   int64     `json:"media_bytes"`
	Files   int       `json:"media_files"`
	Line    string    `json:"line"`           // all of this in words
	Hint    string    `json:"hint,omitempty"` // what its owner should do about it
}

// appsIn tells of the apps that a snapshot holds.
func (r *rack) appsIn(ctx context.Context, snap vault.Snapshot) ([]apps.App, error) {
	fsys, err := r.vault.FS(ctx, snap)
	if err != nil {
		return nil, err
	}
	return apps.Look(fsys, snap.Time)
}

// inWords tells of the apps that a snapshot holds. now is the time that "today" is meant by.
func inWords(found []apps.App, now time.Time) []appJSON {
	out := []appJSON{}
	for _, a := range found {
		j := appJSON{Name: a.Name, Folders: []string{}, Backup: a.Backup, State: string(a.State), Size: a.Size, Media: a.Media, Files: a.Files,
			Line: appLine(a, now), Hint: a.Hint()}
		for _, f := range a.Folders {
			j.Folders = append(j.Folders, quoteName(f))
		}
		out = append(out, j)
	}
	return out
}

// appLine is one app in one line.
func appLine(a apps.App, now time.Time) string {
	media := "no media"
	if a.Files > 0 {
		media = size(a.Media) + " of media"
	}
	switch {
	case a.State == apps.NoBackups:
		return a.Name + ": " + media + "; " + a.Chats()
	case a.Backup.IsZero():
		return a.Name + ": no local backup, " + media
	}
	return a.Name + ": last local backup " + when(a.Backup, now) + ", " + media
}

// when is a time as people say it, in now's time zone: today, yesterday or a date, and the hour.
func when(at, now time.Time) string {
	at = at.In(now.Location())
	day := at.Format("2006-01-02")
	switch day {
	case now.Format("2006-01-02"):
		day = "today"
	case now.AddDate(0, 0, -1).Format("2006-01-02"):
		day = "yesterday"
	}
	return day + " " + at.Format("15:04")
}

// printApps writes a line for each app, and one for what should be done about it.
func printApps(w io.Writer, list []appJSON) {
	for _, a := range list {
		fmt.Fprintf(w, "  %s\n", a.Line)
		if a.Hint != "" {
			fmt.Fprintf(w, "    ! %s\n", a.Hint)
		}
	}
}
