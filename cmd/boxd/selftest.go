package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"phonebackupbox/storage"
	"phonebackupbox/storage/drive"
)

func selftestCommand(flags *pflag.FlagSet) action {
	dirs := flags.StringArray("drive", nil, "a drive's `folder`; once for each drive")
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if len(*dirs) == 0 {
			return usageError{"which drives?", "give --drive DIR once for each drive; a folder that is no drive of a vault yet can be tested too"}
		}
		type result struct {
			Drive string `json:"drive"`
			OK    bool   `json:"ok"`
			Error string `json:"error,omitempty"`
		}
		results, failed := []result{}, 0
		for _, dir := range *dirs {
			res := result{Drive: dir, OK: true}
			if err := testDrive(ctx, dir); err != nil {
				res.OK, res.Error = false, printable(err.Error())
				failed++
			}
			results = append(results, res)
		}
		err := c.print(results, func(w io.Writer) {
			for _, r := range results {
				if r.OK {
					fmt.Fprintf(w, "%s: ok\n", printable(r.Drive))
				} else {
					fmt.Fprintf(w, "%s: FAILED\n  %s\n", printable(r.Drive), r.Error)
				}
			}
		})
		if err == nil && failed > 0 {
			err = lostError{plural(failed, "drive", "drives") + " failed the test"}
		}
		return err
	}
}

// testDrive runs the conformance suite of every Store on a throw-away drive inside dir, so that a vault that may be
// there is not touched.
func testDrive(ctx context.Context, dir string) (err error) {
	tmp, err := os.MkdirTemp(dir, ".boxd-selftest-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	d, err := drive.Create(tmp, "selftest")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return storage.Check(ctx, d)
}
