//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/drive"
)

func driveEjectCommand(*pflag.FlagSet) action {
	check := want(1, 1, "which drive?", "boxd drive eject DIR, or the ID that boxd vault status --json shows")
	return func(ctx context.Context, c *call, args []string) error {
		if err := check(args); err != nil {
			return err
		}
		dir, err := attached(ctx, args[0])
		if err != nil {
			return err
		}
		e, err := drive.Eject(dir)
		if err != nil {
			return ejectError(dir, err)
		}
		return c.print(map[string]any{"drive": dir, "safe": true, "ejected": e}, func(w io.Writer) {
			fmt.Fprintf(w, "%s: safe to unplug\n  unmounted from %s", printable(dir), printable(strings.Join(e.Unmounted, ", ")))
			if e.Off {
				fmt.Fprint(w, ", and switched off")
			}
			fmt.Fprintln(w)
		})
	}
}

// attached is the folder of a drive that is named by its folder or by its ID.
func attached(ctx context.Context, which string) (string, error) {
	if _, err := os.Stat(which); err == nil {
		return which, nil
	}
	found, err := drive.Find(ctx)
	if err != nil {
		return "", err
	}
	dir := ""
	for _, f := range found {
		if f.Drive != which {
			continue
		}
		if dir != "" {
			return "", hintError{fmt.Errorf("%s and %s have the same ID", dir, f.Dir), "ambiguous", "name the folder of the one that is meant"}
		}
		dir = f.Dir
	}
	if dir == "" {
		return "", hintError{fmt.Errorf("no drive %q is attached", which), "no-drive", "give the folder that it is mounted at"}
	}
	return dir, nil
}

// ejectError says what keeps a drive from being unplugged.
func ejectError(dir string, err error) error {
	switch {
	case errors.Is(err, drive.ErrNotRoot):
		return hintError{err, "not-root", "the same command as root: sudo boxd drive eject " + dir}
	case errors.Is(err, drive.ErrInUse), errors.Is(err, drive.ErrBusy):
		return hintError{err, "busy", "do not unplug it yet"}
	case errors.Is(err, drive.ErrSystemDisk):
		return hintError{err, "system-disk", "what the vault has there is flushed; there is nothing to unplug"}
	}
	return hintError{err, "failed", "do not unplug it yet; if it stays like this, shut the system down first"}
}
