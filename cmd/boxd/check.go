package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
)

// watch draws an array's progress.
func (b *bar) watch(p array.Progress) { b.show(p.Done, p.Total, p.Done, "") }

// ignoreKey accepts the key flags on commands that work without the key, so that one command line fits all.
func ignoreKey(flags *pflag.FlagSet) {
	flags.String("key-file", "", "not needed here")
	flags.String("words-file", "", "not needed here")
}

func vaultRepairCommand(flags *pflag.FlagSet) action {
	dirs := flags.StringArray("drive", nil, "a drive's `folder`; once for each drive")
	ignoreKey(flags)
	rescue := rescueFlag(flags)
	survive := flags.Int("survive", -1, "from now on so many drives may die without loss, 0 to 3; left out: as before")
	return onArray(dirs, writing, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		if flags.Changed("survive") {
			if *survive < 0 || *survive > array.MaxSurvive {
				return usageError{fmt.Sprintf("--survive %d: 0 to %d can be chosen", *survive, array.MaxSurvive), ""}
			}
			if err := r.array.SetSurvive(ctx, *survive); err != nil {
				return err
			}
		}
		r.carryRescue(ctx, c, *rescue)
		return r.repair(ctx, c)
	})
}

// repair mends everything and tells what it did.
func (r *rack) repair(ctx context.Context, c *call) error {
	if _, err := r.scrub(ctx, c); err != nil { // repair mends what has been found
		return err
	}
	return r.settle(ctx, c)
}

// settle mends what is known to be wrong, without looking for more, and tells what it did.
func (r *rack) settle(ctx context.Context, c *call) error {
	progress := newBar(c.err, "repair")
	report, err := r.array.Repair(ctx, progress.watch)
	progress.clear()
	if err != nil {
		return err
	}
	h, err := r.array.Health(ctx)
	if err != nil {
		return err
	}
	err = c.print(map[string]any{"repair": report, "health": h}, func(w io.Writer) {
		fmt.Fprintf(w, "%s mended, %s made anew, %s spread over other drives, %s moved to emptier ones, %s cleared away\n",
			plural(report.Mended, "damaged file", "damaged files"), plural(report.Rebuilt, "missing file", "missing files"),
			plural(report.Spread, "blob", "blobs"), plural(report.Moved, "piece", "pieces"), plural(report.Orphans, "left-over", "left-overs"))
		for _, name := range report.Lost {
			fmt.Fprintf(w, "  ! cannot be repaired now: %s\n", name)
		}
		fmt.Fprintln(w, protection(h))
	})
	if err != nil {
		return err
	}
	if len(report.Lost) > 0 && len(h.Lost) == 0 {
		return incompleteError{plural(len(report.Lost), "blob", "blobs") + " cannot be repaired with these drives"}
	}
	return verdictError(h)
}

func vaultExportCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	format := flags.String("format", "", "restic: a plain restic repository, made without the key")
	to := flags.String("to", "", "the `folder` to write into")
	into := flags.Bool("into-existing", false, "let a snapshot go into a folder that holds something; nothing there is overwritten")
	return func(ctx context.Context, c *call, args []string) (err error) {
		switch {
		case *to == "":
			return usageError{"export to where?", "give --to DIR"}
		case *format == "restic" && len(args) == 0:
			return exportRepository(ctx, c, f.drives, *to)
		case *format == "" && len(args) == 1:
		default:
			return usageError{"export what?", "boxd vault export --format restic --to DIR, or boxd vault export SNAPSHOT --to DIR"}
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
		if err := makeTarget(*to, *into); err != nil {
			return err
		}
		return restore(ctx, c, r, snap, "folder:"+*to, false)
	}
}

// allReadable names the drives that are needed before hours of copying end at a piece that none of those here has.
func (r *rack) allReadable(ctx context.Context) error {
	h, err := r.array.Health(ctx)
	if err == nil && (h.Unreadable > 0 || h.LedgerIncomplete) {
		return hintError{errors.New("not enough drives: " + protection(h)), "unavailable", "attach one more of the drives that are away and name it with --drive"}
	}
	return err
}

// exportError words what kept an export from ending.
func exportError(ctx context.Context, to string, err error) error {
	switch {
	case ctx.Err() != nil:
		return hintError{ctx.Err(), "interrupted", "the same command goes on from there"}
	case errors.Is(err, syscall.ENOSPC):
		return hintError{fmt.Errorf("no room left in %s", printable(to)), "target-full", "make room and give the same command again: it goes on; or name another folder"}
	case errors.Is(err, fs.ErrExist):
		return hintError{err, "target", "name an empty folder, or one that does not exist yet"}
	}
	return err
}

func exportRepository(ctx context.Context, c *call, dirs []string, to string) (err error) {
	r, err := openArray(ctx, dirs, reading)
	if err != nil {
		return err
	}
	defer r.also(&err)
	if err := r.allReadable(ctx); err != nil {
		return err
	}
	progress := newBar(c.err, "export")
	err = vault.Export(ctx, r.array, to, func(done, total int64) { progress.show(done, total, done, "") })
	progress.clear()
	if err != nil {
		return exportError(ctx, to, err)
	}
	return c.print(map[string]string{"repository": quoteName(to)}, func(w io.Writer) {
		fmt.Fprintf(w, "a plain restic repository is in %s\n  restic -r %s --password-file KEY snapshots\n", printable(to), printable(to))
	})
}
