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

	"phonebackupbox/storage"
	"phonebackupbox/storage/drive"
)

// selftestResult is what the test of one drive found.
type selftestResult struct {
	Drive    string          `json:"drive"`
	OK       bool            `json:"ok"`
	Format   drive.Format    `json:"format"`
	Capacity *drive.Capacity `json:"capacity,omitempty"` // absent if it did not come to that
	Error    string          `json:"error,omitempty"`
}

func selftestCommand(flags *pflag.FlagSet) action {
	dirs := flags.StringArray("drive", nil, "a drive's `folder`; once for each drive")
	full := flags.Bool("full", false, "write to all that is free and read it back; takes hours on large drives")
	most := flags.Int64("most", drive.DefaultCapacity>>20, "write at most so many `MiB` to find out whether the drive holds what it claims")
	return func(ctx context.Context, c *call, args []string) error {
		switch err := noArgs(args); {
		case err != nil:
			return err
		case len(*dirs) == 0:
			return usageError{"which drives?", "give --drive DIR once for each drive; a folder that is no drive of a vault yet can be tested too"}
		case *most < 1:
			return usageError{"--most: at least 1 MiB must be written", ""}
		}
		named, err := resolveDrives(*dirs)
		if err != nil {
			return err
		}
		results, failed := []selftestResult{}, 0
		for _, dir := range named {
			res := testDrive(ctx, c, dir, drive.CapacityOptions{Full: *full, Amount: *most << 20, Seed: uint64(time.Now().UnixNano())})
			if err := ctx.Err(); err != nil {
				return hintError{err, "interrupted", "what it had written is removed; nothing is known of the drive"}
			}
			if !res.OK {
				failed++
			}
			results = append(results, res)
		}
		err = c.print(results, func(w io.Writer) {
			for _, r := range results {
				r.text(w)
			}
		})
		if err == nil && failed > 0 {
			err = lostError{plural(failed, "drive", "drives") + " failed the test"}
		}
		return err
	}
}

// testDrive tries how a drive works and then what it holds.
func testDrive(ctx context.Context, c *call, dir string, o drive.CapacityOptions) selftestResult {
	res := selftestResult{Drive: dir}
	err := conforms(ctx, dir)
	if err == nil {
		res.Format, err = drive.FormatOf(dir)
	}
	if err == nil {
		progress := newBar(c.err, "selftest "+printable(dir))
		o.Watch = func(done, total int64) { progress.show(done, total, done, "") }
		var capacity drive.Capacity
		capacity, err = drive.TestCapacity(ctx, dir, o)
		progress.clear()
		res.Capacity = &capacity
	}
	if err != nil {
		res.Error = printable(oneLine(err))
	}
	res.OK = err == nil
	return res
}

// conforms runs the conformance suite of every Store on a throw-away drive inside dir, so that a vault that may be there is
// not touched.
func conforms(ctx context.Context, dir string) (err error) {
	if err := drive.CheckFormat(dir); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".boxd-selftest-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	d, err := drive.Create(tmp, newVaultID())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return storage.Check(ctx, d)
}

func (r selftestResult) text(w io.Writer) {
	if !r.OK {
		fmt.Fprintf(w, "%s: FAILED\n  %s\n", printable(r.Drive), r.Error)
		return
	}
	form := ""
	if r.Format.Name != "" {
		form = " (" + printable(r.Format.Name) + ")"
	}
	k := r.Capacity
	fmt.Fprintf(w, "%s: ok%s\n  writes %s/s, reads %s/s\n", printable(r.Drive), form, size(int64(k.Written)), size(int64(k.Read)))
	how := ", spread over all of it,"
	if !k.Spread {
		how = ", at its beginning only,"
	}
	fmt.Fprintf(w, "  %s of the %s that are free%s came back as written", size(k.Tried), size(k.Free), how)
	if k.Tried < k.Free/2 {
		fmt.Fprint(w, "; --full tries all")
	}
	fmt.Fprintln(w)
	if bad := strings.TrimSpace(r.Format.Warning); bad != "" {
		fmt.Fprintf(w, "  ! %s\n", bad)
	}
}
