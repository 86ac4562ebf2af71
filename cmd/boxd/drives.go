//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
)

// driveFlags are the flags of the commands that change which drives a vault is on. They need no key.
func driveFlags(flags *pflag.FlagSet) *[]string {
	dirs := flags.StringArray("drive", nil, "the `folder` of a drive that the vault is on; once for each")
	ignoreKey(flags)
	return dirs
}

// protected is the role of a drive that the vault is on; the other is plain.
const protected = "protected"

func driveAddCommand(flags *pflag.FlagSet) action {
	check := want(1, 1, "which drive?", "boxd drive add DIR --drive DIR… (those that the vault is on)")
	rescue := rescueFlag(flags)
	role := flags.String("role", protected, "`protected`, a drive of the vault; or plain, ordinary files that anyone can read")
	return onArray(driveFlags(flags), writing, check, func(ctx context.Context, c *call, r *rack, args []string) error {
		switch *role {
		case protected:
		case "plain":
			return r.addPlain(c, args[0])
		default:
			return usageError{fmt.Sprintf("--role %s: no such role", printable(*role)), "protected or plain"}
		}
		if err := r.add(ctx, args[0]); err != nil {
			return err
		}
		r.carryRescue(ctx, c, *rescue)
		return r.settle(ctx, c)
	})
}

// lostFlag says that a drive is not only taken out, but that what only it held is given up.
func lostFlag(flags *pflag.FlagSet) *bool {
	return flags.Bool("lost", false, "the drive will not come back: give up what no other drive has")
}

func driveRemoveCommand(flags *pflag.FlagSet) action {
	check := want(1, 1, "which drive?", "boxd drive remove ID --drive DIR…; boxd vault status tells the ids")
	lost := lostFlag(flags)
	var f vaultFlags
	f.register(flags)
	return func(ctx context.Context, c *call, args []string) error {
		return onArray(&f.drives, writing, check, func(ctx context.Context, c *call, r *rack, args []string) error {
			id, err := r.findDrive(ctx, args[0])
			if hint := (hintError{}); *lost && errors.As(err, &hint) && hint.code == noDrive {
				return f.forgetLeft(ctx, c, r, args[0], err)
			}
			if err != nil {
				return err
			}
			if err := r.remove(ctx, id, *lost); err != nil {
				return err
			}
			return r.repair(ctx, c)
		})(ctx, c, args)
	}
}

func driveTravelsCommand(flags *pflag.FlagSet) action {
	check := want(1, 1, "which drive?", "boxd drive travels ID --drive DIR…; boxd vault status tells the ids")
	no := flags.Bool("no", false, "it stays here from now on")
	return onArray(driveFlags(flags), writing, check, func(ctx context.Context, c *call, r *rack, args []string) error {
		id, err := r.findDrive(ctx, args[0])
		if err != nil {
			return err
		}
		if err := r.array.Travel(ctx, id, !*no); err != nil {
			return err
		}
		return r.settle(ctx, c)
	})
}

func driveReplaceCommand(flags *pflag.FlagSet) action {
	check := want(2, 2, "which drive by which?", "boxd drive replace OLD-ID NEW-DIR --drive DIR…")
	rescue := rescueFlag(flags)
	lost := lostFlag(flags)
	return onArray(driveFlags(flags), writing, check, func(ctx context.Context, c *call, r *rack, args []string) error {
		old, err := r.findDrive(ctx, args[0])
		if err != nil {
			return err
		}
		if err := r.add(ctx, args[1]); err != nil {
			return err
		}
		r.carryRescue(ctx, c, *rescue)
		if err := r.remove(ctx, old, *lost); err != nil {
			return err
		}
		return r.repair(ctx, c)
	})
}

// add makes dir a drive of the rack's vault. A folder that is one already, because an earlier add was cut short, is
// taken as it is.
func (r *rack) add(ctx context.Context, dir string) error {
	if err := notStick(dir); err != nil {
		return err
	}
	id := r.drives[0].Vault()
	open := func() (*drive.Drive, error) { return drive.Create(dir, id) }
	if isDrive(dir) {
		open = func() (*drive.Drive, error) { return drive.Open(dir, drive.Options{}) }
	}
	d, err := open()
	if err == nil && d.Vault() != id {
		err = hintError{errors.Join(fmt.Errorf("%s belongs to another vault", dir), d.Close()), "foreign",
			"it is left as it is; use an empty drive"}
	}
	if err != nil {
		return err
	}
	r.drives = append(r.drives, d)
	return r.array.Add(ctx, array.Member{ID: d.ID(), Label: label(d, r.drives), Store: d})
}

// noDrive is the code of the error that no drive is called so.
const noDrive = "no-drive"

// findDrive finds a drive of the vault by its id, the label that status shows, or its folder.
func (r *rack) findDrive(ctx context.Context, which string) (string, error) {
	h, err := r.array.Health(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, d := range h.Drives {
		if d.State == array.Removed || d.State == array.Blank || d.ID != which && d.Label != which && r.dirOf(d.ID) != filepath.Clean(which) {
			continue
		}
		if found != "" {
			return "", hintError{fmt.Errorf("%q could mean two drives", printable(which)), "ambiguous", "give the id that boxd vault status --json shows"}
		}
		found = d.ID
	}
	if found == "" {
		return "", hintError{fmt.Errorf("no drive %q in this vault", printable(which)), noDrive, "boxd vault status shows them"}
	}
	return found, nil
}

// remove gives a drive up. What an attached one holds is moved to the others first; of what one that is away holds nothing
// may be needed, unless it is lost.
func (r *rack) remove(ctx context.Context, id string, lost bool) error {
	if r.dirOf(id) != "" && !lost {
		_, err := r.array.Drain(ctx, id, nil)
		if err != nil && ctx.Err() == nil {
			err = hintError{err, "needed", "it stays in the vault and nothing is lost; add a drive with more room, or mend the others with boxd vault repair"}
		}
		return err
	}
	n, err := r.array.NeededOf(ctx, id)
	if err != nil {
		return err
	}
	if n > 0 && !lost {
		return hintError{fmt.Errorf("%s cannot be brought back without this drive", plural(n, "blob", "blobs")), "needed",
			"attach it and try again; if it is gone for good, --lost gives them up"}
	}
	return r.array.Remove(ctx, id)
}
