package firmware

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"phonebackupbox/usbhost"
)

// Receipt is what a person gets to read after a restore: what is on the phone now, and what is left for them to do. It names no
// file; whoever keeps receipts has those.
type Receipt struct {
	At       time.Time    `json:"at"`
	Source   string       `json:"source"` // name of the phone whose snapshot it was
	Target   string       `json:"target"` // name of the phone that it went onto
	Listed   int          `json:"listed"` // files in the snapshot
	Restored int          `json:"restored"`
	Kept     int          `json:"kept"`   // were there already
	Failed   int          `json:"failed"` // things that could not be put onto it as they are in the snapshot
	Ended    bool         `json:"ended"`  // false: the restore was cut short
	Apps     []ReceiptApp `json:"apps,omitempty"`
	Absent   []string     `json:"absent,omitempty"` // what the snapshot does not hold
}

// ReceiptApp is what a person must do to have an app's chats on the new phone.
type ReceiptApp struct {
	Line  string   `json:"line"`  // which app, and how its backup is
	Steps []string `json:"steps"` // in order
}

// RestoreRun is a restore that was begun, for its receipt.
type RestoreRun struct {
	From   fs.FS // the snapshot
	Backup Backup
	Target usbhost.Info
	Report usbhost.Report
	Err    error // why it ended early
}

// Clerk writes receipts, and keeps the last one.
type Clerk interface {
	// Write makes the receipt of a restore and keeps it, durably. One that could be made and not kept comes with the error.
	Write(ctx context.Context, r RestoreRun) (*Receipt, error)
	// Last is the receipt that was kept last, nil if there is none.
	Last(ctx context.Context) (*Receipt, error)
}

// receipt has the receipt of a restore written. That it cannot be is no fault of the restore.
func (b *Box) receipt(ctx context.Context, r RestoreRun) *Receipt {
	if b.config.Clerk == nil || r.Report.Listed == 0 {
		return nil
	}
	paper, err := b.config.Clerk.Write(ctx, r)
	if err != nil {
		b.log.Warn("the receipt of a restore is not kept", "err", err)
	}
	return paper
}

// lastReceipt is the receipt that the box begins with.
func (b *Box) lastReceipt(ctx context.Context) *Receipt {
	if b.config.Clerk == nil {
		return nil
	}
	paper, err := b.config.Clerk.Last(ctx)
	if err != nil {
		b.log.Warn("the last receipt cannot be read", "err", err)
		return nil
	}
	return paper
}

// Summary is what a receipt tells of files, in one sentence.
func (r Receipt) Summary() string {
	out := fmt.Sprintf("%d of %d files of %s are on %s", r.Restored+r.Kept, r.Listed, r.Source, r.Target)
	switch {
	case !r.Ended:
		return out + "; the restore was cut short."
	case r.Failed > 0:
		return out + fmt.Sprintf("; %d could not be put onto it as in the backup.", r.Failed)
	}
	return out + ", checked."
}

// hand gives the owner a receipt: what is left to do is said, too.
func (s *State) hand(now time.Time, r *Receipt) {
	if r == nil {
		return
	}
	s.Receipt = r
	for _, a := range r.Apps {
		s.say(now, a.Line)
		for _, step := range a.Steps {
			s.say(now, "  - "+step)
		}
	}
}
