//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

func vaultRekeyCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	newFile := flags.String("new-key-file", "", "the `file` to make for the new words (default: the key file's name with .new)")
	leaveOut := flags.Bool("leave-out", false, "go on without the snapshots that cannot be read whole; afterwards they are gone")
	abandon := flags.Bool("abandon", false, "throw away what a rekey that was cut short has copied; the old vault stays")
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		k := &rekeying{c: c, f: &f, path: *newFile, leaveOut: *leaveOut, abandon: *abandon}
		if k.path == "" && f.keyFile != "" {
			k.path = f.keyFile + ".new"
		}
		if k.path == "" && !k.abandon {
			return usageError{"where should the new key go?", "give --new-key-file FILE"}
		}
		return k.run(ctx)
	}
}

// rekeying is one run of vault rekey: all that the drives hold is copied into a new vault with a new master key and new words,
// built inside the same drives, and then takes the old one's place on each (ADR 019). A run that was cut short is taken up
// by the next; so is a drive that was away.
type rekeying struct {
	c                 *call
	f                 *vaultFlags
	path              string // the new key file
	leaveOut, abandon bool
	step              func(what string) error // tests cut the power there; nil otherwise

	dirs   []string // the drives' folders
	oldKey string
	old    *rack          // the drives that hold the old vault
	over   []*drive.Drive // those that went over to the new one in an earlier run
	next   []*drive.Drive // those of the new vault inside the old ones
	begun  bool           // an earlier run made some of the drives inside
	joined bool           // the new vault is on other drives already
	said   bool           // its words were shown
	nu     *rack          // the new vault, on over and next
	words  string
	res    rekeyResult
}

type rekeyResult struct {
	Vault     string            `json:"vault"`  // the new one's ID
	Former    string            `json:"former"` // the old one's
	KeyFile   string            `json:"key_file"`
	Words     string            `json:"words,omitempty"` // new ones, shown this once
	Snapshots int               `json:"snapshots"`       // of the new vault, those of the box's own state not counted
	Bytes     int64             `json:"bytes"`           // sealed anew in this run
	Drives    []string          `json:"drives"`          // that went over in this run
	Joined    bool              `json:"joined"`          // they came to a vault that was made in an earlier run
	Left      []vault.LeftDrive `json:"left"`            // that were away and hold the old vault
	LeftOut   []string          `json:"left_out"`        // snapshots that could not be read whole, with the reason
	OtherKeys int               `json:"other_keys"`      // further keys of the old vault, which the new one does not have

	failed   []string // why drives could not be marked
	unmarked []string // their folders
}

func (k *rekeying) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, k.close()) }()
	if k.oldKey, err = k.f.password(); err != nil {
		return err
	}
	if done, err := k.open(ctx); err != nil || done {
		return err
	}
	if k.abandon {
		return k.giveUp()
	}
	for _, phase := range []func(context.Context) error{k.prepare, k.copy, k.check, k.goOver, k.reopen, k.after} {
		if err := phase(ctx); err != nil {
			switch {
			case errors.Is(err, storage.ErrFull) && len(k.res.Drives) == 0:
				err = hintError{err, "full", "the old vault is as it was; make room, or boxd vault rekey --abandon frees what was copied"}
			case ctx.Err() != nil:
				err = hintError{ctx.Err(), "interrupted", "nothing is lost, and the same command goes on from there"}
			}
			return err
		}
	}
	return nil
}

// at is where a test may end the run.
func (k *rekeying) at(what string) error {
	if k.step == nil {
		return nil
	}
	return k.step(what)
}

// copy brings every snapshot of the old vault over that is not in the new one yet.
func (k *rekeying) copy(ctx context.Context) error {
	list, err := k.old.vault.Snapshots(ctx)
	if err != nil {
		return err
	}
	formers, err := k.nu.vault.Formers(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{} // copied by an earlier run, and perhaps pruned since
	for _, f := range formers {
		if f.Vault != k.old.vault.ID() {
			continue
		}
		for _, id := range f.Snapshots {
			known[id] = true
		}
		k.res.Left = slices.DeleteFunc(k.res.Left, func(d vault.LeftDrive) bool { return slices.Contains(f.Over, d.ID) })
	}
	fresh := slices.DeleteFunc(slices.Clone(list), func(s vault.Snapshot) bool { return known[s.ID] })
	progress := newBar(k.c.err, "seal anew")
	report, err := k.nu.vault.CopyFrom(ctx, k.old.vault, fresh, func(done, total int64) { progress.show(done, total, done, "") })
	progress.clear()
	if err != nil {
		return err
	}
	k.res.Bytes = report.Bytes
	lost := map[string]bool{}
	for _, d := range report.Failed {
		lost[d.Name] = true
		k.res.LeftOut = append(k.res.LeftOut, printable(fmt.Sprintf("%s: %v", d.Name, d.Err)))
	}
	if len(report.Failed) > 0 && !k.leaveOut {
		for _, s := range k.res.LeftOut {
			fmt.Fprintf(k.c.err, "  ! %s\n", s)
		}
		return hintError{fmt.Errorf("%s cannot be read whole, so the old vault stays as it is: %s", plural(len(report.Failed), "snapshot", "snapshots"), k.res.LeftOut[0]), "not-whole",
			"attach the drives that are missing and try again; if they are gone for good, restore what you can of these snapshots, then add --leave-out"}
	}
	// Until a drive has gone over it holds the old vault, this one included.
	former := vault.Former{Vault: k.old.vault.ID(), Left: slices.Clone(k.res.Left)}
	for _, s := range list {
		if !lost["snapshots/"+s.ID] {
			former.Snapshots = append(former.Snapshots, s.ID)
		}
	}
	for _, d := range k.old.drives {
		former.Left = append(former.Left, vault.LeftDrive{ID: d.ID(), Label: label(d, k.old.drives)})
	}
	if err := k.at("copied"); err != nil {
		return err
	}
	return k.nu.vault.NoteFormer(ctx, former)
}

// check makes sure that the new vault can take the old one's place: all that an earlier run stored is read back too, and it is
// no less protected.
func (k *rekeying) check(ctx context.Context) error {
	if k.begun {
		progress := newBar(k.c.err, "verify")
		report, err := k.nu.vault.Verify(ctx, func(done, total int64) { progress.show(done, total, done, "") })
		progress.clear()
		if err != nil {
			return err
		}
		if !report.OK() {
			verifyText(k.c.err, report)
			return hintError{errors.New("what an earlier run copied cannot be read back, so the old vault stays as it is"), "read-back", "run it with --abandon to throw that away, and then once more"}
		}
	}
	was, err := k.old.array.Health(ctx)
	if err != nil {
		return err
	}
	is, err := k.nu.catchUp(ctx, k.c)
	if err != nil {
		return err
	}
	if was, is := survives(was), survives(is); is < 0 || is < was {
		return hintError{fmt.Errorf("of the new vault %s may die, of the old %d, so the old vault stays as it is", plural(max(is, 0), "drive", "drives"), max(was, 0)), "protection",
			"did a drive fail or run full? See boxd vault status; then the same command again goes on from here"}
	}
	snaps, err := k.nu.snapshots(ctx, false)
	k.res.Snapshots = len(snaps)
	return err
}

// goOver marks every drive as one of the new vault. Until the first is, the old vault is the one that counts; from then on
// the new. The locks of the drives are held until all are marked, so that nothing is stored in the old vault meanwhile.
func (k *rekeying) goOver(context.Context) error {
	if err := k.closeNew(); err != nil {
		return err
	}
	for i, d := range k.old.drives {
		if err := k.at("mark " + d.Dir()); err != nil {
			return err
		}
		if err := d.Switch(); err != nil {
			if i == 0 {
				return err
			}
			k.res.failed = append(k.res.failed, printable(err.Error()))
			k.res.unmarked = append(k.res.unmarked, d.Dir())
			continue
		}
		k.res.Drives = append(k.res.Drives, d.Dir())
	}
	k.res.Former = k.old.vault.ID()
	return k.closeOld()
}

// reopen opens every drive, which brings it over, and the new vault where it lies from now on.
func (k *rekeying) reopen(ctx context.Context) (err error) {
	r := &rack{}
	k.nu = r
	for _, dir := range k.dirs {
		if slices.Contains(k.res.unmarked, dir) {
			continue
		}
		d, err := drive.Open(dir, drive.Options{Step: k.step})
		if err != nil {
			return driveError(dir, err)
		}
		r.drives = append(r.drives, d)
	}
	if r.array, err = array.Open(ctx, members(r.drives), array.Options{}); err != nil {
		return err
	}
	if r.vault, err = vault.Open(ctx, r.array, k.words, vault.Options{}); err != nil {
		return err
	}
	return r.noteOver(ctx)
}

// after does what comes once the new vault is the one that counts, and tells how it went.
func (k *rekeying) after(ctx context.Context) error {
	k.res.Vault, k.res.KeyFile, k.res.Joined = k.nu.vault.ID(), k.path, k.said
	if !k.said {
		k.res.Words = k.words
	}
	spreadErr := k.spread(ctx) // said after the words
	if err := errors.Join(k.carryState(), noteOldKey(k.f.keyFile, k.path, "boxd vault rekey", k.res.Former)); err != nil {
		fmt.Fprintf(k.c.err, "note: %s\n", printable(err.Error()))
	}
	if err := errors.Join(k.c.print(k.res, k.res.text), spreadErr); err != nil {
		return err
	}
	if n := len(k.res.failed); n > 0 {
		return incompleteError{plural(n, "drive still holds", "drives still hold") + " the old vault: run the same command again: " + k.res.failed[0]}
	}
	if n := len(k.res.Left); n > 0 {
		return incompleteError{plural(n, "drive that is away still holds", "drives that are away still hold") + " the old vault"}
	}
	if n := len(k.res.LeftOut); n > 0 {
		return incompleteError{plural(n, "snapshot was", "snapshots were") + " left out"}
	}
	return nil
}

// spread protects what the new vault holds over all of its drives: one that came later holds nothing yet.
func (k *rekeying) spread(ctx context.Context) error {
	h, err := k.nu.array.Health(ctx)
	if err != nil || !k.joined && h.Protected() {
		return err
	}
	progress := newBar(k.c.err, "repair")
	defer progress.clear()
	_, err = k.nu.array.Repair(ctx, progress.watch)
	return err
}

func (res rekeyResult) text(w io.Writer) {
	if res.Joined {
		only := "nothing was only there"
		if res.Bytes > 0 {
			only = size(res.Bytes) + " that was only there is copied"
		}
		fmt.Fprintf(w, "%s came over to the new vault, which has %s; %s\n", printable(strings.Join(res.Drives, ", ")), plural(res.Snapshots, "snapshot", "snapshots"), only)
	} else {
		fmt.Fprintf(w, "everything was sealed anew: %s, %s; the vault has a new key and new words\n", plural(res.Snapshots, "snapshot", "snapshots"), size(res.Bytes))
	}
	keyResult{Words: res.Words, KeyFile: res.KeyFile}.showWords(w)
	fmt.Fprint(w, "\nThe old words open nothing on these drives any more. Old sheets, key sticks and key files are of no use now:\nmake new ones with boxd key stick.\n")
	if res.OtherKeys > 0 {
		fmt.Fprintf(w, "%s of the old vault went with it: boxd key add makes new ones.\n", plural(res.OtherKeys, "further key", "further keys"))
	}
	for _, d := range res.Left {
		fmt.Fprintf(w, "! %s\n", printable(leftDrive(d)))
	}
	for _, s := range res.LeftOut {
		fmt.Fprintf(w, "! left out: %s\n", s)
	}
	for _, s := range res.failed {
		fmt.Fprintf(w, "! %s\n", s)
	}
	fmt.Fprint(w, "\nCopies of the old drives that someone already made stay readable with the old words; nothing can change that.\n"+
		"What was on the drives is deleted, not shredded: until its room is used again, experts may bring some of it back.\n")
}
