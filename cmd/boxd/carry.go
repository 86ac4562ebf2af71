package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/drive"
)

// rescueFolder is where a drive carries the programs that read it without the box.
const rescueFolder = "rescue"

// rescueFlag registers where those programs are found: beside boxd, unless told otherwise.
func rescueFlag(flags *pflag.FlagSet) *string {
	given := ""
	if exe, err := os.Executable(); err == nil {
		given = filepath.Join(filepath.Dir(exe), rescueFolder)
	}
	return flags.String("rescue-dir", given, "the `folder` with the rescue programs that each drive is to carry")
}

// carryRescue puts the rescue programs in dir onto every drive that can be written. That a drive does not get them, for
// want of room or because dir holds none, is a note for people and never a reason to fail: the backups are what counts.
func (r *rack) carryRescue(ctx context.Context, c *call, dir string) {
	programs, err := filesIn(dir)
	if err != nil || len(programs) == 0 {
		fmt.Fprintf(c.err, "note: there are no rescue programs for the drives in %s; make rescue builds them\n", printable(dir))
		return
	}
	for _, d := range r.drives {
		if err := carryTo(ctx, d, dir, programs); err != nil {
			fmt.Fprintf(c.err, "note: %s carries no rescue programs: %v\n", printable(d.Dir()), err)
		}
	}
}

// filesIn lists the plain files in a folder; a folder that is not there has none.
func filesIn(dir string) ([]fs.DirEntry, error) {
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []fs.DirEntry
	for _, e := range all {
		if e.Type().IsRegular() {
			files = append(files, e)
		}
	}
	return files, nil
}

// rescueRoom is how many times their size must be free on a drive before programs are put there: room is for backups.
const rescueRoom = 20

// carryTo copies the programs that a drive does not have yet.
func carryTo(ctx context.Context, d *drive.Drive, dir string, programs []fs.DirEntry) error {
	to := filepath.Join(d.Dir(), rescueFolder)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return reason(err)
	}
	for _, e := range programs {
		p, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return reason(err)
		}
		old, err := os.ReadFile(filepath.Join(to, e.Name()))
		if err == nil && bytes.Equal(p, old) {
			continue
		}
		space, err := d.Space(ctx)
		if err != nil {
			return err
		}
		if space.Free < rescueRoom*int64(len(p)) {
			return errors.New("it has too little room")
		}
		if err := putFile(to, e.Name(), p); err != nil {
			return err
		}
	}
	return nil
}

// putFile writes a file that can be run, durably, in place of what had its name.
func putFile(dir, name string, p []byte) (err error) {
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return reason(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(reason(err), os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, bytes.NewReader(p))
	if err == nil {
		err = f.Chmod(0o755)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// withoutRescue names the drives that carry no rescue program.
func (r *rack) withoutRescue() []string {
	bare := []string{}
	for _, d := range r.drives {
		if files, err := filesIn(filepath.Join(d.Dir(), rescueFolder)); err != nil || len(files) == 0 {
			bare = append(bare, label(d, r.drives))
		}
	}
	return bare
}
