package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

// A guide gets a backup back with somebody who has never seen a command line: it finds the drives, asks for the words,
// shows what there is and copies what is chosen into a folder. Nothing on the drives is changed.
type guide struct {
	c    *call
	in   *bufio.Reader
	home string // where restored folders are made unless another place is named
}

// errEnded: whoever we talk to closed the window.
var errEnded = errors.New("ended before anything was copied")

// run talks to the end. dirs are the drives that were found.
func (g *guide) run(ctx context.Context, dirs []string) error {
	g.say("Phone backup box: getting your backups back\n")
	dirs, err := g.drives(dirs)
	if err != nil {
		return err
	}
	r, err := g.open(ctx, dirs)
	if err != nil {
		return err
	}
	defer r.also(&err)
	if err := g.missing(ctx, r); err != nil {
		return err
	}
	snap, err := g.snapshot(ctx, r)
	if err != nil {
		return err
	}
	target, err := g.target(snap)
	if err != nil {
		return err
	}
	g.say("\nCopying %s into %s. This may take a while.\n", size(snap.Bytes), printable(target))
	err = restore(ctx, g.c, r, snap, "folder:"+target, false)
	if err == nil {
		g.say("\nDone: everything of this backup is in\n  %s\n", printable(target))
	}
	return err
}

func (g *guide) say(format string, args ...any) { fmt.Fprintf(g.c.out, format, args...) }

// ask reads one line, given if it is empty.
func (g *guide) ask(question, given string) (string, error) {
	g.say("%s", question)
	if given != "" {
		g.say(" [%s]", printable(given))
	}
	g.say(" ")
	line, err := g.in.ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return line, nil
	}
	if err != nil {
		return "", errEnded
	}
	return given, nil
}

// drives shows the drives that were found, and asks for one if there are none.
func (g *guide) drives(dirs []string) ([]string, error) {
	for len(dirs) == 0 {
		dir, err := g.ask("\nNo drive of a box was found. Which folder or drive is it?", "")
		if err != nil {
			return nil, err
		}
		if isDrive(dir) {
			dirs = []string{dir}
		} else {
			g.say("There is no drive of a box at %s: it has no file phone-backup-box.json.\n", printable(dir))
		}
	}
	g.say("\nFound %s of this box:\n", plural(len(dirs), "drive", "drives"))
	for _, d := range dirs {
		g.say("  %s\n", printable(d))
	}
	g.say("If you have more of them, plug them in, close this window and start again.\n")
	return dirs, nil
}

// open asks for the words until they open the vault.
func (g *guide) open(ctx context.Context, dirs []string) (*rack, error) {
	for {
		words, err := g.words()
		if err != nil {
			return nil, err
		}
		r, err := openArray(ctx, dirs, reading)
		if err != nil {
			return nil, err
		}
		r.vault, err = vault.Open(ctx, r.array, words, vault.Options{ReadOnly: true})
		if err == nil {
			return r, nil
		}
		if cerr := r.close(); cerr != nil || !errors.Is(err, vault.ErrWrongKey) {
			return nil, errors.Join(err, cerr)
		}
		g.say("These are 24 good words, but they do not open this box's backups. Is it the right sheet?\n")
	}
}

// missing says which of the box's drives are not here, and whether that matters.
func (g *guide) missing(ctx context.Context, r *rack) error {
	h, err := r.array.Health(ctx)
	if err != nil {
		return err
	}
	for _, d := range h.Drives {
		if d.State == array.Away {
			g.say("\nNot here: the drive that was called %s.", printable(d.Label))
		}
	}
	if h.Unreadable > 0 {
		g.say("\nWithout it, part of the backups cannot be read. If you can find it, plug it in and start again.\n")
	} else {
		g.say("\nWhat is here is enough to read everything.\n")
	}
	return nil
}

// words reads the 24 words, on as many lines as they take.
func (g *guide) words() (string, error) {
	g.say("\nType the 24 words from your sheet. Several lines are fine; capitals and numbers do not matter.\n")
	var typed strings.Builder
	for {
		line, err := g.ask(">", "")
		if err != nil {
			return "", err
		}
		typed.WriteString(line + "\n")
		words, err := vault.ParseWords(typed.String())
		if err == nil {
			return words, nil
		}
		n := len(strings.Fields(typed.String()))
		if n == 0 || n < 24 && line != "" && !strings.Contains(err.Error(), "not in the list") {
			continue // the rest comes on the next line
		}
		g.say("%s\nPlease type all 24 words again.\n", printable(strings.TrimPrefix(err.Error(), "vault: ")))
		typed.Reset()
	}
}

// shownSnapshots is how many snapshots are offered.
const shownSnapshots = 30

// snapshot asks which backup it shall be.
func (g *guide) snapshot(ctx context.Context, r *rack) (vault.Snapshot, error) {
	all, err := r.vault.Snapshots(ctx)
	if err != nil {
		return vault.Snapshot{}, err
	}
	var list []vault.Snapshot
	for _, s := range all {
		if s.Err == nil && !s.Hidden() && len(list) < shownSnapshots {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return vault.Snapshot{}, hintError{errors.New("there is no backup that can be read with these drives"), "no-snapshot", "plug in more of the box's drives"}
	}
	g.say("\nThese backups are here, the newest first:\n")
	for i, s := range list {
		state := ""
		if !s.Complete && !s.Foreign {
			state = "  (incomplete)"
		}
		g.say("  %2d  %s  %10s files  %8s  %s%s\n", i+1, s.Time.Local().Format("2006-01-02 15:04"), count(s.Files), size(s.Bytes), printable(firstOf(s.Name, s.Whose())), state)
	}
	for {
		line, err := g.ask("Which one?", "1")
		if err != nil {
			return vault.Snapshot{}, err
		}
		if n, err := strconv.Atoi(line); err == nil && n >= 1 && n <= len(list) {
			return list[n-1], nil
		}
		g.say("A number from 1 to %d, please.\n", len(list))
	}
}

// target asks for the folder to copy into, and makes it.
func (g *guide) target(s vault.Snapshot) (string, error) {
	given := filepath.Join(g.home, "phone-backup-"+s.Time.Local().Format("2006-01-02"))
	for {
		dir, err := g.ask("Copy it into which new folder?", given)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(g.home, dir)
		}
		if err := makeTarget(dir, false); err == nil {
			return dir, nil
		} else {
			g.say("%s\n", printable(err.Error()))
		}
	}
}

// drivesAround finds the drives of one vault: the one that this program lies on, or else the first one found, and all
// others of the same vault that are plugged in.
func drivesAround(ctx context.Context, exe string) ([]string, error) {
	var also []string
	if exe != "" {
		also = append(also, filepath.Dir(filepath.Dir(exe)))
	}
	found, err := drive.Find(ctx, also...)
	var dirs []string
	for _, f := range found {
		if f.Vault == found[0].Vault {
			dirs = append(dirs, f.Dir)
		}
	}
	return dirs, err
}

// homeOf is where a person looks for files: the home of whoever called sudo, which some drives need, and not root's.
func homeOf(caller string) string {
	if u, err := user.Lookup(caller); err == nil && caller != "" {
		return u.HomeDir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "."
	}
	return home
}

// guided runs the guide for somebody who started the program without a command, and keeps the window open.
func guided(ctx context.Context, std stdio) int {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		exe = ""
	}
	c := &call{stdio: std}
	g := &guide{c: c, in: bufio.NewReader(std.in), home: homeOf(os.Getenv("SUDO_USER"))}
	code := exitOK
	dirs, err := drivesAround(ctx, exe)
	if err == nil {
		err = g.run(ctx, dirs)
	}
	if err != nil {
		code = c.fail(err)
	}
	g.say("\nPress Enter to close this window.")
	if _, err := g.in.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
		return exitFailed
	}
	g.say("\n")
	return code
}
