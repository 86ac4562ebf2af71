//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vault"
)

// importFlags say which snapshots of a restic repository come in.
type importFlags struct {
	vaultFlags
	passwordFile     string
	snapshots, hosts []string
	dry              bool
}

func vaultImportCommand(flags *pflag.FlagSet) action {
	var f importFlags
	f.register(flags)
	flags.StringVar(&f.passwordFile, "password-file", "", "the `file` with the password of the repository that is imported")
	flags.StringArrayVar(&f.snapshots, "snapshot", nil, "only the snapshot with this `ID`; once for each")
	flags.StringArrayVar(&f.hosts, "host", nil, "only snapshots of this `computer`; once for each")
	flags.BoolVar(&f.dry, "dry-run", false, "say what would come in, and change nothing")
	check := want(1, 1, "which repository?", "boxd vault import REPO --password-file FILE --drive DIR… --key-file FILE")
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := check(args); err != nil {
			return err
		}
		from, err := f.repository(ctx, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, from.Close()) }()
		list, left, err := f.choose(ctx, from)
		if err != nil {
			return err
		}
		a := writing
		if f.dry {
			a = reading
		}
		r, err := f.open(ctx, a)
		if err != nil {
			return err
		}
		defer r.also(&err)
		if r.vault.ID() == from.ID() {
			return hintError{fmt.Errorf("%s is this very vault", printable(args[0])), "same", "there is nothing to import"}
		}
		if f.dry {
			return planImport(ctx, c, r, from, list, left)
		}
		return importAll(ctx, c, r, from, list, left)
	}
}

// repository opens the restic repository in a folder, for reading.
func (f *importFlags) repository(ctx context.Context, dir string) (*vault.Vault, error) {
	if f.passwordFile == "" {
		return nil, usageError{"the password of the repository is missing", "give --password-file FILE, as for restic"}
	}
	p, err := readSmall(f.passwordFile, maxKeyFile)
	if err != nil {
		return nil, hintError{fmt.Errorf("--password-file %s: %w", f.passwordFile, err), "password", "name the file that restic would take"}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		if err == nil {
			err = errors.New("it is a file")
		}
		return nil, hintError{fmt.Errorf("%s: %w", dir, reason(err)), "no-repository",
			"name the folder of a restic repository; one that is elsewhere: restic copy makes a local one of it"}
	}
	if isDrive(dir) {
		return nil, hintError{fmt.Errorf("%s is a drive of a box and no restic repository", dir), "no-repository",
			"boxd vault export --format restic --to DIR makes one of that box's drives"}
	}
	from, err := vault.Open(ctx, vault.Folder(dir), strings.TrimSpace(string(p)), vault.Options{ReadOnly: true})
	return from, repositoryError(dir, err)
}

// repositoryError words what is wrong with a repository that is not ours.
func repositoryError(dir string, err error) error {
	code, hint := "repository", "see what restic check says about it; what it can repair is imported then"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vault.ErrWrongKey):
		return hintError{fmt.Errorf("the password in the file opens no key of the repository %s", dir), "wrong-password", "restic -r REPO --password-file FILE snapshots must work with it"}
	case errors.Is(err, vault.ErrNotVault):
		code, hint = "no-repository", "the folder of a restic repository holds config, data, index, keys and snapshots"
	case errors.Is(err, vault.ErrNewer):
		code, hint = "newer", "use a newer boxd"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, storage.ErrReadOnly):
		code, hint = "permission", "run as somebody who may read it, such as its owner"
	}
	return hintError{fmt.Errorf("repository %s: %w", dir, err), code, hint}
}

// choose lists the snapshots that the flags mean, and those that cannot be read; another box's own state is never among them.
func (f *importFlags) choose(ctx context.Context, from *vault.Vault) (list []vault.Snapshot, left []failedJSON, err error) {
	all, err := from.Snapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, ref := range slices.Compact(slices.Sorted(slices.Values(f.snapshots))) {
		s, err := from.Find(ctx, ref)
		if errors.Is(err, vault.ErrNoSnapshot) || errors.Is(err, vault.ErrAmbiguous) {
			return nil, nil, hintError{fmt.Errorf("--snapshot %s means none, or not only one, of the repository", printable(ref)), "no-snapshot", "restic snapshots lists those of the repository"}
		} else if err == nil && s.Hidden() {
			return nil, nil, hintError{fmt.Errorf("--snapshot %s is the own state of another box", printable(ref)), "box-state", "boxd unlock makes a blank card that box again"}
		} else if err == nil && !slices.ContainsFunc(list, func(o vault.Snapshot) bool { return o.ID == s.ID }) {
			list = append(list, s)
		}
	}
	for _, s := range all {
		named := slices.ContainsFunc(f.snapshots, func(ref string) bool { return strings.HasPrefix(s.ID, strings.ToLower(ref)) })
		switch {
		case len(f.snapshots) > 0 && !named:
		case s.Err != nil:
			left = append(left, failedJSON{s.ID, printable(s.Err.Error())})
		case len(f.snapshots) == 0 && !s.Hidden():
			list = append(list, s)
		}
	}
	if len(f.hosts) > 0 {
		list = slices.DeleteFunc(list, func(s vault.Snapshot) bool { return !slices.Contains(f.hosts, s.Host) })
		if len(list) == 0 {
			return nil, nil, hintError{fmt.Errorf("no snapshot of %s in the repository", printable(strings.Join(f.hosts, " or "))), "no-snapshot", "restic snapshots lists them with their hosts"}
		}
	}
	return list, left, nil
}

type importJSON struct {
	DryRun   bool           `json:"dry_run"`
	Imported []snapshotJSON `json:"imported"` // or those that would be
	There    int            `json:"there"`    // imported before
	Failed   []failedJSON   `json:"failed"`   // not whole, so not imported
	Bytes    int64          `json:"bytes"`    // stored, plain; of a dry run, to be read
	Seconds  float64        `json:"seconds"`
}

type failedJSON struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

func failed(list []vault.Damage) []failedJSON {
	out := []failedJSON{}
	for _, d := range list {
		out = append(out, failedJSON{strings.TrimPrefix(d.Name, "snapshots/"), printable(d.Err.Error())})
	}
	return out
}

func planImport(ctx context.Context, c *call, r *rack, from *vault.Vault, list []vault.Snapshot, left []failedJSON) error {
	plan, err := r.vault.PlanCopy(ctx, from, list)
	if err != nil {
		return err
	}
	res := importJSON{DryRun: true, Imported: []snapshotJSON{}, There: plan.There, Failed: append(left, failed(plan.Failed)...), Bytes: plan.Bytes}
	for _, s := range plan.Copy {
		res.Imported = append(res.Imported, toJSON(s))
	}
	return c.imported(res)
}

// importAll copies the snapshots. Each becomes visible when all of it is stored and has been read back.
func importAll(ctx context.Context, c *call, r *rack, from *vault.Vault, list []vault.Snapshot, left []failedJSON) error {
	start, progress := time.Now(), newBar(c.err, "import")
	report, err := r.vault.CopyFrom(ctx, from, list, func(done, total int64) { progress.show(done, total, done, "") })
	progress.clear()
	switch {
	case ctx.Err() != nil:
		return hintError{ctx.Err(), "interrupted", "what was stored so far is safe, and the same command goes on from there"}
	case err != nil:
		return err
	}
	res := importJSON{Imported: []snapshotJSON{}, There: report.There, Failed: append(left, failed(report.Failed)...), Bytes: report.Bytes,
		Seconds: time.Since(start).Seconds()}
	for _, s := range report.Copied {
		res.Imported = append(res.Imported, toJSON(s))
	}
	if err := c.imported(res); err != nil {
		return err
	}
	h, err := r.array.Health(ctx)
	if err == nil && survives(h) < h.Survive {
		err = incompleteError{"imported, but with less protection than asked for: " + protection(h) + "; attach or add a drive and run boxd vault repair"}
	}
	return err
}

// imported prints the result; its error says that not all of it came in.
func (c *call) imported(res importJSON) error {
	if res.Failed == nil {
		res.Failed = []failedJSON{}
	}
	if err := c.print(res, res.text); err != nil {
		return err
	}
	if n := len(res.Failed); n > 0 {
		return incompleteError{plural(n, "snapshot is", "snapshots are") + " not whole in the repository and stayed there; restic check says what is wrong with it"}
	}
	return nil
}

func (res importJSON) text(w io.Writer) {
	if len(res.Imported) > 0 {
		snapshotTable(w, res.Imported)
	}
	for _, f := range res.Failed {
		fmt.Fprintf(w, "  ! %s: %s\n", short(f.ID), f.Reason)
	}
	n := plural(len(res.Imported), "snapshot", "snapshots")
	if res.DryRun {
		fmt.Fprintf(w, "%s would be imported, %s to read; %s here already\n", n, size(res.Bytes), count(res.There))
		return
	}
	fmt.Fprintf(w, "%s imported, %s stored in %.1f s; %s here already\n", n, size(res.Bytes), res.Seconds, count(res.There))
}
