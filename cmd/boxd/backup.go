package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/apps"
	"phonebackupbox/usbhost/folder"
)

// openPhone opens what PHONE names. The state folder, if there is one, has its owner's settings.
func openPhone(ctx context.Context, name, state string) (usbhost.Phone, error) {
	kind, rest, ok := strings.Cut(name, ":")
	switch {
	case kind == "folder" && rest != "":
		p, err := folder.Open(rest)
		if err != nil {
			return nil, hintError{err, "no-phone", "folder:PATH wants the path of a directory that can be read"}
		}
		return p, nil
	case ok && kind == "mtp" && rest != "", name == "any":
		return openUSB(ctx, name, state)
	case ok && (kind == "ios" || kind == "adb" || kind == "modem"):
		return nil, usageError{fmt.Sprintf("%s: not in this build yet", printable(name)), "mtp:SERIAL and folder:PATH are"}
	}
	return nil, usageError{fmt.Sprintf("%q does not name a phone", printable(name)), "write any, mtp:SERIAL or folder:PATH"}
}

func backupCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	return func(ctx context.Context, c *call, args []string) (err error) {
		if len(args) != 1 {
			return usageError{"which phone?", "boxd backup any --drive DIR… --key-file FILE; boxd phones lists what is plugged in"}
		}
		phone, err := openPhone(ctx, args[0], c.state)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, phone.Close()) }()
		r, err := f.open(ctx, writing)
		if err != nil {
			return err
		}
		defer r.also(&err)
		return backUp(ctx, c, r, phone)
	}
}

// backupResult is what a backup prints.
type backupResult struct {
	Snapshot  snapshotJSON  `json:"snapshot"`
	Listed    int           `json:"listed"`
	Stored    int           `json:"stored"`
	Kept      int           `json:"kept"`
	Removed   int           `json:"removed"`
	Bytes     int64         `json:"bytes"`
	Moved     int64         `json:"moved"`
	Seconds   float64       `json:"seconds"`
	Complete  bool          `json:"complete"`
	Survives  int           `json:"survives"` // drives that may die now without loss
	Wanted    int           `json:"wanted"`
	Problems  []problemJSON `json:"problems"`
	Apps      []appJSON     `json:"apps"`                 // chat and social apps, and how their own backups are
	StoppedBy string        `json:"stopped_by,omitempty"` // why the run ended early
}

type problemJSON struct {
	Name   string `json:"name"` // in restic's quoting
	Reason string `json:"reason"`
	Stale  bool   `json:"stale,omitempty"`
}

// backUp runs one backup and commits what there is, even of a run that ended early: a phone that never comes back
// should not take what was copied with it. Only an interrupted run commits nothing, since its owner asked it to stop;
// its resume record keeps what was stored.
func backUp(ctx context.Context, c *call, r *rack, phone usbhost.Phone) (err error) {
	info, err := phone.Info(ctx)
	if err != nil {
		return err
	}
	tree, err := r.vault.Begin(ctx, vault.Phone{ID: string(info.ID), Name: info.Name})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	start, progress := time.Now(), newBar(c.err, "backup")
	report, runErr := phone.Backup(ctx, tree, func(p usbhost.Progress) {
		progress.show(p.Bytes, p.BytesTotal, p.Moved, fmt.Sprintf("%s of %s files", count(p.Files), count(p.FilesTotal)))
	})
	progress.clear()
	if ctx.Err() != nil {
		return hintError{ctx.Err(), "interrupted", "what was stored so far is safe, and the next backup goes on from there"}
	}
	if runErr != nil && report.Stored+report.Kept == 0 {
		return runErr
	}
	complete := runErr == nil && report.Complete()
	snap, err := tree.Commit(ctx, outcome(report, complete))
	if err != nil {
		return errors.Join(runErr, err)
	}
	err = tree.Verify(ctx, func(done, total int64) { progress.show(done, total, done, "read back") })
	progress.clear()
	if err != nil {
		return hintError{errors.Join(runErr, err), "read-back", "the snapshot is there, but not all of it can be read: run boxd vault verify"}
	}
	if c.state != "" {
		if err := errors.Join(tree.Close(), r.saveBoxState(ctx, c.state)); err != nil {
			return errors.Join(runErr, fmt.Errorf("the snapshot is safe, but the box's own state was not saved: %w", err))
		}
	}
	health, err := r.catchUp(ctx, c)
	if err != nil {
		return errors.Join(runErr, err)
	}
	found, err := r.appsIn(ctx, snap)
	if err != nil { // it was read back a moment ago
		return hintError{errors.Join(runErr, err), "read-back", "the snapshot is there, but not all of it can be read: run boxd vault verify"}
	}
	return c.backupDone(snap, report, found, runErr, health, time.Since(start))
}

// catchUp gives attached drives what they lack, so that one that travels can leave with the newest backup.
func (r *rack) catchUp(ctx context.Context, c *call) (array.Health, error) {
	h, err := r.array.Health(ctx)
	if err != nil || behind(h) == 0 {
		return h, err
	}
	progress := newBar(c.err, "catch up")
	defer progress.clear()
	if _, err := r.array.CatchUp(ctx, progress.watch); err != nil {
		return h, hintError{err, "catch-up", "the snapshot is safe; boxd vault repair brings the drives up to date"}
	}
	return r.array.Health(ctx)
}

// outcome is the report in the vault's words.
func outcome(report usbhost.Report, complete bool) vault.Outcome {
	o := vault.Outcome{Complete: complete, Listed: report.Listed, Stored: report.Stored, Kept: report.Kept, Removed: report.Removed, Moved: report.Moved}
	for _, p := range report.Problems {
		o.Problems = append(o.Problems, vault.Problem(p))
	}
	return o
}

func (c *call) backupDone(snap vault.Snapshot, report usbhost.Report, found []apps.App, runErr error, health array.Health, took time.Duration) error {
	res := backupResult{
		Snapshot: toJSON(snap), Listed: report.Listed, Stored: report.Stored, Kept: report.Kept, Removed: report.Removed,
		Bytes: report.Bytes, Moved: report.Moved, Seconds: took.Seconds(), Complete: snap.Complete,
		Survives: survives(health), Wanted: health.Survive, Problems: problems(report.Problems),
		Apps: inWords(found, time.Now()),
	}
	if runErr != nil {
		res.StoppedBy = printable(runErr.Error())
	}
	if err := c.print(res, res.text); err != nil {
		return err
	}
	switch {
	case runErr != nil:
		return lostError{fmt.Sprintf("the backup ended early: %v; what was copied is kept as an incomplete snapshot", runErr)}
	case !snap.Complete:
		return incompleteError{plural(len(report.Problems), "thing is", "things are") + " not in this snapshot as on the phone"}
	case survives(health) < health.Survive:
		return incompleteError{"stored, but with less protection than asked for: " + protection(health) + "; attach or add a drive and run boxd vault repair"}
	}
	return nil
}

func (res backupResult) text(w io.Writer) {
	state := "complete"
	if !res.Complete {
		state = "INCOMPLETE"
	}
	fmt.Fprintf(w, "snapshot %s of %s: %s, generation %d\n", short(res.Snapshot.ID), printable(res.Snapshot.Phone), state, res.Snapshot.Generation)
	fmt.Fprintf(w, "  %s: %s stored, %s kept, %s removed\n", plural(res.Listed, "file", "files"), count(res.Stored), count(res.Kept), count(res.Removed))
	rate := ""
	if res.Seconds > 0 && res.Moved > 0 {
		rate = fmt.Sprintf(" (%s/s)", size(int64(float64(res.Moved)/res.Seconds)))
	}
	fmt.Fprintf(w, "  %s in all, %s copied in %.1f s%s\n", size(res.Bytes), size(res.Moved), res.Seconds, rate)
	printProblems(w, res.Problems)
	printApps(w, res.Apps)
}

func problems(in []usbhost.Problem) []problemJSON {
	out := []problemJSON{}
	for _, p := range in {
		out = append(out, problemJSON{quoteName(p.Name), printable(p.Reason), p.Stale})
	}
	return out
}

// shownProblems is how many problems are printed for people; --json has them all.
const shownProblems = 20

func printProblems(w io.Writer, ps []problemJSON) {
	for i, p := range ps {
		if i == shownProblems {
			fmt.Fprintf(w, "  ! and %s more; --json lists them all\n", count(len(ps)-i))
			return
		}
		kept := ""
		if p.Stale {
			kept = " (an older version is kept)"
		}
		fmt.Fprintf(w, "  ! %s: %s%s\n", p.Name, p.Reason, kept)
	}
}

func short(id string) string { return id[:min(8, len(id))] }

func restoreCommand(flags *pflag.FlagSet) action {
	var (
		f         vaultFlags
		to, phone string
		into      bool
	)
	f.register(flags)
	flags.StringVar(&to, "to", "", "put the files into this `folder`, made if absent")
	flags.StringVar(&phone, "phone", "", "put the files onto this `phone`")
	flags.BoolVar(&into, "into-existing", false, "allow --to a folder that holds something; nothing there is overwritten")
	return func(ctx context.Context, c *call, args []string) (err error) {
		switch {
		case len(args) != 1:
			return usageError{"which snapshot?", "boxd restore SNAPSHOT --to DIR; SNAPSHOT is an id, latest, or latest:PHONE"}
		case (to == "") == (phone == ""):
			return usageError{"restore to where?", "give --to DIR or --phone PHONE"}
		}
		r, err := f.open(ctx, reading)
		if err != nil {
			return err
		}
		defer r.also(&err)
		snap, err := r.find(ctx, args[0])
		if err != nil {
			return err
		}
		if to != "" {
			if err := makeTarget(to, into); err != nil {
				return err
			}
			phone = "folder:" + to
		}
		return restore(ctx, c, r, snap, phone, to == "")
	}
}

// makeTarget makes the folder that a snapshot is restored into, and refuses one that holds something.
func makeTarget(dir string, into bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return hintError{fmt.Errorf("restore to %s: %w", dir, reason(err)), "target", "name a folder that can be written to"}
	}
	if into {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("restore to %s: %w", dir, reason(err))
	}
	_, err = d.Readdirnames(1)
	if err = errors.Join(emptyIsFine(err), d.Close()); err != nil {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	return nil
}

func emptyIsFine(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return hintError{errors.New("the folder holds something already"), "target", "name an empty folder, or add --into-existing"}
}

type restoreResult struct {
	Snapshot string        `json:"snapshot"`
	Listed   int           `json:"listed"`
	Restored int           `json:"restored"`
	Kept     int           `json:"kept"`
	Bytes    int64         `json:"bytes"`
	Seconds  float64       `json:"seconds"`
	Problems []problemJSON `json:"problems"`
	Receipt  *receipt      `json:"receipt,omitempty"` // of a restore onto a phone
}

// restore puts a snapshot onto a phone or into a folder; see restoreOnto.
func restore(ctx context.Context, c *call, r *rack, snap vault.Snapshot, target string, receipted bool) (err error) {
	phone, err := openPhone(ctx, target, c.state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, phone.Close()) }()
	err = restoreOnto(ctx, c, r, snap, phone, receipted)
	if err != nil && ctx.Err() != nil && !receipted { // a folder, which now holds something
		return hintError{ctx.Err(), "interrupted", "the same command with --into-existing goes on: what is there already is kept"}
	}
	return err
}

// restoreOnto puts a snapshot onto a phone. With receipted its owner is told what was put where and what is left to do.
func restoreOnto(ctx context.Context, c *call, r *rack, snap vault.Snapshot, phone usbhost.Phone, receipted bool) error {
	from, err := r.vault.FS(ctx, snap)
	if err != nil {
		return err
	}
	var paper *receipt
	if receipted {
		if paper, err = newReceipt(from, snap, time.Now()); err != nil {
			return err
		}
		if paper.placesWhatsApp() {
			fmt.Fprintln(c.err, "WhatsApp's folder goes first. Do not open WhatsApp on that phone before the restore has ended.")
		}
	}
	start, progress := time.Now(), newBar(c.err, "restore")
	report, err := phone.Restore(ctx, from, func(p usbhost.Progress) {
		progress.show(p.Bytes, p.BytesTotal, p.Moved, fmt.Sprintf("%s of %s files", count(p.Files), count(p.FilesTotal)))
	})
	progress.clear()
	if err != nil {
		return err
	}
	res := restoreResult{snap.ID, report.Listed, report.Stored, report.Kept, report.Bytes, time.Since(start).Seconds(), problems(report.Problems), paper}
	if paper != nil {
		if err := paper.fill(from, report.Problems); err != nil {
			return err
		}
	}
	err = c.print(res, func(w io.Writer) {
		fmt.Fprintf(w, "snapshot %s restored: %s, %s, %.1f s; %s there already\n", short(snap.ID),
			plural(res.Restored, "file", "files"), size(res.Bytes), res.Seconds, count(res.Kept))
		printProblems(w, res.Problems)
		paper.text(w)
	})
	switch {
	case err != nil || report.Complete():
	case report.Stored+report.Kept == 0:
		err = lostError{"nothing could be restored: " + res.Problems[0].Reason}
	default:
		err = incompleteError{plural(len(report.Problems), "thing was", "things were") + " not restored as in the snapshot"}
	}
	return err
}
