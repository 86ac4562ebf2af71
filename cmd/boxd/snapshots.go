package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/vault"
)

// snapshotJSON is a snapshot as the contract gives it.
type snapshotJSON struct {
	ID         string    `json:"id"`
	Phone      string    `json:"phone"`
	Name       string    `json:"name"`
	Generation uint64    `json:"generation"`
	Time       time.Time `json:"time"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`
	Complete   bool      `json:"complete"`
	Foreign    bool      `json:"foreign,omitempty"`   // of a computer, taken by stock restic
	Host       string    `json:"host,omitempty"`      // that computer; latest:restic:HOST means its newest
	State      bool      `json:"box_state,omitempty"` // the box's own, of no phone; listed with --all only
	Apps       []appJSON `json:"apps,omitempty"`      // chat and social apps; boxd snapshots tells of those in each phone's newest
}

func toJSON(s vault.Snapshot) snapshotJSON {
	return snapshotJSON{ID: s.ID, Phone: s.Phone, Name: s.Name, Generation: s.Generation, Time: s.Time, Files: s.Files, Bytes: s.Bytes,
		Complete: s.Complete, Foreign: s.Foreign, Host: s.Host, State: s.Hidden()}
}

// snapshots lists those of the phones, and the box's own state where all is asked for.
func (r *rack) snapshots(ctx context.Context, all bool) ([]vault.Snapshot, error) {
	list, err := r.vault.Snapshots(ctx)
	return slices.DeleteFunc(list, func(s vault.Snapshot) bool { return !all && s.Hidden() }), err
}

func snapshotsCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	all := flags.Bool("all", false, "list the box's own state, too")
	return f.on(reading, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		list, err := r.snapshots(ctx, *all)
		if err != nil {
			return err
		}
		out, err := r.listed(ctx, c, list)
		if err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) { snapshotTable(w, out); appsOfPhones(w, out) })
	})
}

// listed are snapshots, newest first, as they are listed: each phone's newest tells of its apps. Looking into every one would take
// long, and how an app's backup stands now is what its owner can do something about.
func (r *rack) listed(ctx context.Context, c *call, list []vault.Snapshot) ([]snapshotJSON, error) {
	out, now, told := []snapshotJSON{}, time.Now(), map[string]bool{}
	for _, s := range list {
		j := toJSON(s)
		if !told[s.Phone] && !s.Hidden() && !s.Foreign && s.Err == nil {
			told[s.Phone] = true
			found, err := r.appsIn(ctx, s)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil { // a list is no check, and has to be had of a damaged vault above all
				fmt.Fprintf(c.err, "note: not all of snapshot %s can be read; boxd vault verify tells what\n", short(s.ID))
			}
			j.Apps = inWords(found, now)
		}
		out = append(out, j)
	}
	return out, nil
}

// appsOfPhones tells below the table of the chat and social apps in each phone's newest snapshot.
func appsOfPhones(w io.Writer, list []snapshotJSON) {
	for _, s := range list {
		if len(s.Apps) > 0 {
			fmt.Fprintf(w, "\nChat and social apps on %s (%s), as of %s:\n", printable(s.Name), printable(s.Phone), short(s.ID))
			printApps(w, s.Apps)
		}
	}
}

func snapshotTable(w io.Writer, list []snapshotJSON) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no snapshots yet")
		return
	}
	fmt.Fprintf(w, "%-8s  %5s  %-16s  %10s  %8s  %-10s  %s\n", "id", "gen", "time", "files", "size", "", "phone")
	for _, s := range list {
		state, files, bytes := "complete", count(s.Files), size(s.Bytes)
		switch {
		case s.Foreign: // nobody told us
			state = ""
			if s.Files == 0 {
				files, bytes = "", ""
			}
		case !s.Complete:
			state = "INCOMPLETE"
		}
		phone := printable(s.Phone)
		switch {
		case s.State:
			phone = "(the box's own state)"
		case s.Foreign:
			phone = printable("restic:" + s.Host)
		}
		fmt.Fprintf(w, "%-8s  %5d  %-16s  %10s  %8s  %-10s  %s\n", short(s.ID), s.Generation,
			s.Time.Local().Format("2006-01-02 15:04"), files, bytes, state, phone)
	}
}

// find finds what SNAPSHOT names.
func (r *rack) find(ctx context.Context, ref string) (vault.Snapshot, error) {
	s, err := r.vault.Find(ctx, ref)
	if errors.Is(err, vault.ErrNoSnapshot) {
		return s, hintError{fmt.Errorf("no snapshot %q in this vault", printable(ref)), "no-snapshot", "boxd snapshots lists them"}
	}
	return s, err
}

// treePath makes a person's path one of a snapshot's: "/DCIM/" is "DCIM", nothing is the root.
func treePath(p string) string {
	return strings.TrimPrefix(path.Clean("/"+p), "/")
}

// openSnapshot opens the snapshot ref and the path in it, "." for its root.
func (r *rack) openSnapshot(ctx context.Context, ref, p string) (fs.FS, string, error) {
	snap, err := r.find(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	fsys, err := r.vault.FS(ctx, snap)
	if p = treePath(p); p == "" {
		p = "."
	}
	return fsys, p, err
}

// noPath words an error about a path in a snapshot.
func noPath(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return hintError{fmt.Errorf("no %q in that snapshot", printable(p)), "no-path", "boxd ls SNAPSHOT shows what is there"}
	}
	return err
}

type entryJSON struct {
	Name  string    `json:"name"` // in restic's quoting
	Type  string    `json:"type"` // "file", "dir" or "other"
	Size  int64     `json:"size"`
	MTime time.Time `json:"mtime"`
}

func lsCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	check := want(1, 2, "which snapshot?", "boxd ls SNAPSHOT [PATH]")
	return f.on(reading, check, func(ctx context.Context, c *call, r *rack, args []string) error {
		fsys, p, err := r.openSnapshot(ctx, args[0], strings.Join(args[1:], ""))
		if err != nil {
			return err
		}
		infos, err := listPath(fsys, p)
		if err != nil {
			return noPath(p, err)
		}
		out := []entryJSON{}
		for _, i := range infos {
			out = append(out, entryJSON{quoteName(i.Name()), kindOf(i.Mode()), i.Size(), i.ModTime()})
		}
		return c.print(out, func(w io.Writer) { listing(w, infos) })
	})
}

// listPath tells what a folder of a snapshot holds, or the file that p is.
func listPath(fsys fs.FS, p string) ([]fs.FileInfo, error) {
	info, err := fs.Stat(fsys, p)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []fs.FileInfo{info}, nil
	}
	entries, err := fs.ReadDir(fsys, p)
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "dir"
	case m.IsRegular():
		return "file"
	}
	return "other"
}

func listing(w io.Writer, infos []fs.FileInfo) {
	for _, i := range infos {
		name, sz := printable(i.Name()), size(i.Size())
		if i.IsDir() {
			name, sz = name+"/", ""
		}
		fmt.Fprintf(w, "%8s  %s  %s\n", sz, i.ModTime().Local().Format("2006-01-02 15:04:05"), name)
	}
}

func catCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	check := want(2, 2, "which file?", "boxd cat SNAPSHOT PATH")
	return f.on(reading, check, func(ctx context.Context, c *call, r *rack, args []string) (err error) {
		fsys, p, err := r.openSnapshot(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		file, err := fsys.Open(p)
		if err != nil {
			return noPath(p, err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if info, err := file.Stat(); err != nil || info.IsDir() {
			return errors.Join(err, usageError{fmt.Sprintf("%q is a folder", printable(p)), "boxd ls lists it, boxd restore copies it"})
		}
		_, err = io.Copy(c.out, file)
		return err
	})
}
