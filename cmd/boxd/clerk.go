//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
)

// clerk keeps the receipt of the last restore by the box in its state folder.
type clerk struct{ dir string }

var _ firmware.Clerk = clerk{}

const (
	receiptName = "receipt.json"
	maxKept     = 1000 // problems of a receipt; the rest is counted
)

// keptReceipt is a receipt as it is kept: with the names that neither page nor lights show.
type keptReceipt struct {
	firmware.Receipt
	Paper    *receipt      `json:"receipt,omitempty"`
	Problems []problemJSON `json:"problems"` // what could not be put onto the phone, at most maxKept
	More     int           `json:"more,omitempty"`
}

// Write makes a receipt and keeps it. It reads the snapshot's listing; where that cannot be read, the receipt has no more than the
// numbers of the restore.
func (k clerk) Write(_ context.Context, r firmware.RestoreRun) (*firmware.Receipt, error) {
	out := keptReceipt{Receipt: firmware.Receipt{At: time.Now(), Source: r.Backup.Name, Target: r.Target.Name, Listed: r.Report.Listed,
		Restored: r.Report.Stored, Kept: r.Report.Kept, Failed: len(r.Report.Problems), Ended: r.Err == nil}}
	out.Problems = problems(r.Report.Problems[:min(len(r.Report.Problems), maxKept)])
	out.More = len(r.Report.Problems) - len(out.Problems)
	snap := vault.Snapshot{ID: r.Backup.ID, Phone: string(r.Backup.Phone), Time: r.Backup.Time, Complete: r.Backup.Complete,
		Outcome: &vault.Outcome{More: r.Backup.Problems}}
	var err error
	if out.Paper, err = newReceipt(r.From, snap, out.At); err == nil {
		for _, a := range out.Paper.Apps {
			out.Apps = append(out.Apps, firmware.ReceiptApp{Line: a.Line, Steps: a.Steps})
		}
		out.Absent = out.Paper.Absent
		if r.Err == nil { // what is where after a restore that was cut short is not known
			err = out.Paper.fill(r.From, r.Report.Problems)
		}
	}
	p, jerr := json.Marshal(out)
	if jerr == nil {
		jerr = putStateFile(k.dir, receiptName, p)
	}
	return &out.Receipt, errors.Join(err, jerr)
}

// kept reads the receipt that was kept last; nil if there is none.
func (k clerk) kept() (*keptReceipt, error) {
	p, err := readSmall(filepath.Join(k.dir, receiptName), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out keptReceipt
	if err == nil {
		err = json.Unmarshal(p, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(k.dir, receiptName), err)
	}
	return &out, nil
}

// Last is the receipt that was kept last.
func (k clerk) Last(context.Context) (*firmware.Receipt, error) {
	out, err := k.kept()
	if out == nil || err != nil {
		return nil, err
	}
	return &out.Receipt, nil
}

func receiptCommand(*pflag.FlagSet) action {
	return func(_ context.Context, c *call, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		if c.state, err = stateFolder(c.state); err != nil {
			return err
		}
		r, err := clerk{c.state}.kept()
		if err != nil {
			return err
		}
		if r == nil {
			return hintError{errors.New("no restore by the button has been made"), "no-receipt", "--state DIR names the box's state folder; boxd restore prints its receipt itself"}
		}
		return c.print(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s\n", r.At.Local().Format("2006-01-02 15:04"), printable(r.Summary()))
			printProblems(w, r.Problems)
			if r.More > 0 {
				fmt.Fprintf(w, "  ! and %s more, whose names were not kept\n", count(r.More))
			}
			r.Paper.text(w)
		})
	}
}
