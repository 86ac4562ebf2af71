package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vault"
)

func vaultPruneCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	o := vault.PruneOptions{Policy: vault.DefaultPolicy}
	rules := keepRules(&o.Policy)
	for _, rule := range rules {
		flags.IntVar(rule.n, "keep-"+rule.name, *rule.n, "how many "+rule.name+" snapshots of each phone stay")
	}
	flags.BoolVar(&o.DryRun, "dry-run", false, "say what would go, and change nothing")
	flags.StringArrayVar(&o.Accept, "accept-shrunk", nil, "a `PHONE` that may hold far fewer files than before")
	return f.on(writing, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		owner, err := ownerPolicy(c.state)
		if err != nil {
			return err
		}
		for i, rule := range keepRules(&owner) {
			if !flags.Changed("keep-" + rule.name) {
				*rules[i].n = *rule.n
			}
			if *rules[i].n < 0 {
				return usageError{fmt.Sprintf("%d snapshots cannot be kept", *rules[i].n), "0 or more, please"}
			}
		}
		progress := newBar(c.err, "repack")
		o.Watch = func(done, total int64) { progress.show(done, total, done, "") }
		report, err := r.vault.Prune(ctx, o)
		progress.clear()
		if err != nil {
			return pruneError(err)
		}
		if err := c.print(toPruneJSON(report, o.DryRun), func(w io.Writer) { pruneText(w, report, o.DryRun) }); err != nil {
			return err
		}
		if report.Lost > 0 {
			return incompleteError{plural(report.Lost, "chunk", "chunks") + " that snapshots name cannot be found; boxd vault verify names the files"}
		}
		if report.Full || report.Kept > 0 {
			return incompleteError{"not everything could be repacked; the next prune goes on"}
		}
		return nil
	})
}

// keepRule is one of the numbers of a policy.
type keepRule struct {
	n    *int
	name string
}

func keepRules(p *vault.Policy) []keepRule {
	return []keepRule{{&p.Last, "last"}, {&p.Daily, "daily"}, {&p.Weekly, "weekly"}, {&p.Monthly, "monthly"}, {&p.Yearly, "yearly"}}
}

// ownerPolicy is what box.toml in a state folder says about which snapshots stay.
func ownerPolicy(state string) (vault.Policy, error) {
	if state == "" {
		return vault.DefaultPolicy, nil
	}
	c, err := readConfig(state)
	return vault.Policy(c.Retention), err
}

// pruneError adds what to do about a prune that refused.
func pruneError(err error) error {
	switch {
	case errors.Is(err, storage.ErrUnavailable):
		return hintError{err, "away", "attach the drives that are away, then prune again"}
	case errors.Is(err, vault.ErrDamaged):
		return hintError{err, "damaged", "boxd vault verify names the damage, boxd vault repair mends what can be mended; back the phone up again"}
	}
	return err
}

type pruneJSON struct {
	DryRun  bool           `json:"dry_run"`
	Removed []snapshotJSON `json:"removed"`
	Kept    []keptJSON     `json:"kept"`
	vault.PruneReport
	Choices any          `json:"snapshots,omitempty"` // hides PruneReport's: Removed and Kept say it
	Shrunk  []shrunkJSON `json:"shrunk,omitempty"`
}

type keptJSON struct {
	snapshotJSON
	Why []string `json:"why"`
}

type shrunkJSON struct {
	Phone  string       `json:"phone"`
	Before snapshotJSON `json:"before"`
	After  snapshotJSON `json:"after"`
}

func toPruneJSON(r vault.PruneReport, dry bool) pruneJSON {
	out := pruneJSON{DryRun: dry, Removed: []snapshotJSON{}, Kept: []keptJSON{}, PruneReport: r}
	for _, c := range r.Choices {
		if c.Keep {
			out.Kept = append(out.Kept, keptJSON{toJSON(c.Snapshot), c.Why})
		} else {
			out.Removed = append(out.Removed, toJSON(c.Snapshot))
		}
	}
	for _, s := range r.Shrunk {
		out.Shrunk = append(out.Shrunk, shrunkJSON{s.Phone, toJSON(s.Before), toJSON(s.After)})
	}
	return out
}

func pruneText(w io.Writer, r vault.PruneReport, dry bool) {
	phone := "\x00"
	for _, c := range r.Choices {
		s := c.Snapshot
		if s.Phone != phone {
			phone = s.Phone
			fmt.Fprintln(w, firstOf(printable(phone), "the box's own state, and snapshots of other tools"))
		}
		what, why := "removed", ""
		if dry {
			what = "would go"
		}
		if c.Keep {
			what, why = "stays", c.Why[0]
			if n := len(c.Why); n > 1 {
				why += ", " + c.Why[n-1] // the longest period that it stands for
			}
		}
		line := fmt.Sprintf("  %-8s  %-16s  %8s  %-8s  %s", short(s.ID), s.Time.Local().Format("2006-01-02 15:04"), size(s.Bytes), what, printable(why))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	for _, s := range r.Shrunk {
		fmt.Fprintf(w, "  ! %s held %s before and %s now: all snapshots from before stay.\n    If that is as it should be: --accept-shrunk %s\n",
			printable(s.Phone), plural(s.Before.Files, "file", "files"), plural(s.After.Files, "file", "files"), printable(s.Phone))
	}
	freed := r.Freed - r.Written
	switch {
	case r.Removed() == 0 && r.Deleted+r.Repacked == 0:
		fmt.Fprintln(w, "nothing to remove")
	case dry:
		fmt.Fprintf(w, "%s would go, and about %s with them\n", plural(r.Removed(), "snapshot", "snapshots"), size(freed))
	default:
		fmt.Fprintf(w, "%s removed, %s freed (%s deleted, %s rewritten)\n", plural(r.Removed(), "snapshot", "snapshots"), size(max(freed, 0)),
			plural(r.Deleted, "pack", "packs"), plural(r.Repacked, "pack", "packs"))
	}
	if r.Full {
		fmt.Fprintln(w, "  ! the drives are too full to repack all; there is room now for the next time")
	}
	if r.Kept > 0 {
		fmt.Fprintf(w, "  ! %s cannot be read now and stayed as they are\n", plural(r.Kept, "pack", "packs"))
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
