//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"

	"phonebackupbox/image/update"
)

// usualRecord is where the box keeps what it remembers of updates (image/init).
const usualRecord = "/perm/update"

func updateCommand(flags *pflag.FlagSet) action {
	dir := flags.String("update", usualRecord, "the `folder` where the box remembers its updates")
	check := want(1, 1, "which update?", "boxd update FILE, or boxd update status")
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := check(args); err != nil {
			return err
		}
		u, err := openUpdates(*dir, slog.New(slog.DiscardHandler))
		if args[0] == "status" {
			s := statusOf(u, err)
			return c.print(s, s.print)
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, u.Close()) }()
		cand, err := u.check(args[0])
		if err != nil {
			return hintError{fmt.Errorf("%s: %w", printable(args[0]), reason(err)), "update", "nothing was changed"}
		}
		if err := u.install(ctx, cand.path); err != nil {
			return err
		}
		return c.print(cand.Header, func(w io.Writer) {
			fmt.Fprintf(w, "version %s is on the card; the next start tries it, and the box keeps it if it proves healthy\n", printable(cand.Version))
		})
	}
}

// updateStatus is what boxd update status tells.
type updateStatus struct {
	Version string         `json:"version"`
	Counter uint64         `json:"counter"`         // 0: of no release
	Signed  bool           `json:"takes_updates"`   // a maker's key is built in
	Slot    update.Slot    `json:"slot,omitempty"`  // that the system runs from
	Trial   bool           `json:"trial,omitempty"` // it is an update that has not proved healthy yet
	Record  *update.Record `json:"record,omitempty"`
	Why     string         `json:"why,omitempty"` // no more is known
}

func statusOf(u *updates, err error) updateStatus {
	keys, kerr := update.ParseKeys(updateKey)
	s := updateStatus{Version: version, Signed: kerr == nil && len(keys) > 0}
	if _, perr := fmt.Sscan(updateCounter, &s.Counter); perr != nil {
		s.Counter = 0
	}
	if err != nil {
		s.Why = oneLine(err)
		return s
	}
	defer func() { _ = u.Close() }() // nothing was written
	s.Slot = u.card.Running
	r, err := u.card.Memory.Read()
	if err != nil {
		s.Why = oneLine(err)
		return s
	}
	s.Record = &r
	s.Trial, err = u.card.OnTrial()
	if err != nil {
		s.Why = oneLine(err)
	}
	return s
}

func (s updateStatus) print(w io.Writer) {
	fmt.Fprintf(w, "version %s", printable(s.Version))
	if s.Counter > 0 {
		fmt.Fprintf(w, ", release %d", s.Counter)
	}
	fmt.Fprintln(w)
	if !s.Signed {
		fmt.Fprintln(w, update.ErrNoKey)
	}
	if s.Slot != 0 {
		fmt.Fprintf(w, "it runs from the card's slot %c\n", 'A'+rune(s.Slot-update.SlotA))
	}
	if s.Trial {
		fmt.Fprintln(w, "it is an update that is being tried: it is kept if it proves healthy")
	}
	if r := s.Record; r != nil {
		if r.Trial != nil && !s.Trial {
			fmt.Fprintf(w, "version %s is on the card and is tried at the next start\n", printable(r.Trial.Version))
		}
		if len(r.Failed) > 0 {
			fmt.Fprintf(w, "releases that did not prove healthy here: %v\n", r.Failed)
		}
	}
	if s.Why != "" {
		fmt.Fprintln(w, printable(s.Why))
	}
}
