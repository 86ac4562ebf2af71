//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/plain"
	"phonebackupbox/storage/vault"
)

// plainResult is what drive add --role plain prints.
type plainResult struct {
	Dir   string `json:"dir"`
	Vault string `json:"vault"`
}

// addPlain makes dir a plain drive for the phones of the rack's vault.
func (r *rack) addPlain(c *call, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return hintError{fmt.Errorf("%s: %w", dir, reason(err)), "drive", "name a folder that can be made and written to"}
	}
	if err := drive.CheckFormat(dir); err != nil {
		return err
	}
	d, err := plain.Create(dir, r.drives[0].Vault())
	if err != nil {
		return plainError(err)
	}
	res := plainResult{dir, d.Vault()}
	if err := d.Close(); err != nil {
		return err
	}
	return c.print(res, func(w io.Writer) {
		fmt.Fprintf(w, "%s is a plain drive now. What is on it can be read by anyone who has it.\n"+
			"boxd drive refresh %s --drive DIR… --key-file FILE puts the newest state of each phone there.\n", printable(dir), printable(dir))
	})
}

func plainError(err error) error {
	switch {
	case errors.Is(err, plain.ErrTaken):
		return hintError{err, "foreign", "it is left as it is; use another drive or folder"}
	case errors.Is(err, plain.ErrNotPlain):
		return hintError{err, "no-drive", "boxd drive add DIR --role plain --drive DIR… makes it one"}
	case errors.Is(err, plain.ErrBusy):
		return hintError{err, "busy", "wait until the other boxd has finished"}
	}
	return err
}

// refreshJSON is what drive refresh prints of one phone.
type refreshJSON struct {
	Phone    string        `json:"phone"`
	Folder   string        `json:"folder"`
	Snapshot string        `json:"snapshot"`
	Complete bool          `json:"complete"` // the snapshot; of one that is not, nothing was taken as removed
	Written  int           `json:"written"`
	Kept     int           `json:"kept"`
	Removed  int           `json:"removed"`
	Bytes    int64         `json:"bytes"`
	Problems []problemJSON `json:"problems"`
}

func driveRefreshCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	phones := flags.StringArray("phone", nil, "only this `phone`; once for each, all of them if left out")
	check := want(1, 1, "which plain drive?", "boxd drive refresh DIR --drive DIR… --key-file FILE")
	return f.on(reading, check, func(ctx context.Context, c *call, r *rack, args []string) (err error) {
		d, err := plain.Open(args[0])
		if err != nil {
			return plainError(err)
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		if d.Vault() != r.drives[0].Vault() {
			return hintError{fmt.Errorf("%s is for the phones of another vault", args[0]), "foreign", "name the drives of that vault"}
		}
		list, err := r.newest(ctx, *phones)
		if err != nil {
			return err
		}
		out := []refreshJSON{}
		left := 0
		for _, s := range list {
			res, err := r.refresh(ctx, c, d, s)
			if err != nil {
				return plainError(err)
			}
			out = append(out, res)
			left += len(res.Problems)
		}
		if err := c.print(out, func(w io.Writer) { refreshText(w, out) }); err != nil {
			return err
		}
		if left > 0 {
			return incompleteError{plural(left, "thing is", "things are") + " not on the plain drive as in the vault"}
		}
		return nil
	})
}

// newest finds the newest snapshot of each phone, or of each of those named.
func (r *rack) newest(ctx context.Context, phones []string) ([]vault.Snapshot, error) {
	var list []vault.Snapshot
	for _, p := range phones {
		s, err := r.find(ctx, "latest:"+p)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	if len(phones) > 0 {
		return list, nil
	}
	all, err := r.snapshots(ctx, false)
	seen := map[string]bool{}
	for _, s := range all {
		if s.Err == nil && !s.Foreign && !seen[s.Phone] {
			seen[s.Phone] = true
			list = append(list, s)
		}
	}
	return list, err
}

// refresh brings one phone's folder on a plain drive up to its snapshot.
func (r *rack) refresh(ctx context.Context, c *call, d *plain.Drive, s vault.Snapshot) (refreshJSON, error) {
	fsys, err := r.vault.FS(ctx, s)
	if err != nil {
		return refreshJSON{}, err
	}
	format, err := drive.FormatOf(d.Dir())
	if err != nil {
		return refreshJSON{}, err
	}
	progress := newBar(c.err, printable(s.Name))
	defer progress.clear()
	report, err := d.Update(ctx, fsys, plain.Options{
		Phone: s.Phone, Name: s.Name, Date: time.Now().Format(time.DateOnly), Version: vault.ContentID, KeepAbsent: !s.Complete, MaxFile: format.MaxFile,
		Watch: func(done int64) { progress.show(done, s.Bytes, done, "") },
	})
	res := refreshJSON{Phone: s.Phone, Folder: report.Folder, Snapshot: s.ID, Complete: s.Complete, Written: report.Written,
		Kept: report.Kept, Removed: report.Removed, Bytes: report.Bytes, Problems: []problemJSON{}}
	for _, p := range report.Problems {
		res.Problems = append(res.Problems, problemJSON{Name: quoteName(p.Name), Reason: p.Reason})
	}
	return res, err
}

func refreshText(w io.Writer, list []refreshJSON) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no snapshots yet")
	}
	for _, r := range list {
		fmt.Fprintf(w, "%s: %s files written (%s), %s there already, %s gone from the phone and set aside\n",
			printable(r.Folder), count(r.Written), size(r.Bytes), count(r.Kept), count(r.Removed))
		if !r.Complete {
			fmt.Fprintln(w, "  its newest backup is incomplete: what it lacks was left as it is")
		}
		for _, p := range r.Problems {
			fmt.Fprintf(w, "  ! %s: %s\n", p.Name, printable(p.Reason))
		}
	}
}
