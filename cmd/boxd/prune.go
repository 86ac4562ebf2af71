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
	going := "removed"
	if dry {
		going = "would go"
	}
	for _, of := range byPhone(r.Choices) {
		sum := "all of them stay"
		if n := (vault.PruneReport{Choices: of}).Removed(); n > 0 {
			sum = fmt.Sprintf("%d of them %s", n, going)
		}
		fmt.Fprintf(w, "%s: %s, %s\n", phoneName(of[0].Snapshot), plural(len(of), "snapshot", "snapshots"), sum)
		for _, c := range of {
			s, what := c.Snapshot, going
			if c.Keep {
				what = "stays"
			}
			line := fmt.Sprintf("  %-8s  %-16s  %8s  %-8s  %s", short(s.ID), s.Time.Local().Format("2006-01-02 15:04"), size(s.Bytes), what, printable(whyKept(c)))
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
	for _, s := range r.Shrunk {
		fmt.Fprintf(w, "  ! %s held %s before and %s now: all its snapshots from before stay.\n"+
			"    If that is as it should be, let them go as the others do: boxd vault prune --accept-shrunk %s\n", phoneName(s.After),
			plural(s.Before.Files, "file", "files"), plural(s.After.Files, "file", "files"), printable(s.Phone))
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

// byPhone parts choices, which are sorted so, by their phones.
func byPhone(all []vault.Choice) [][]vault.Choice {
	var parts [][]vault.Choice
	for i, c := range all {
		if i == 0 || all[i-1].Snapshot.Phone != c.Snapshot.Phone {
			parts = append(parts, nil)
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], c)
	}
	return parts
}

// phoneName is what people call a snapshot's phone, and its ID.
func phoneName(s vault.Snapshot) string {
	switch {
	case s.Phone == "":
		return "the box's own state, and snapshots of other tools"
	case s.Name == "" || strings.HasSuffix(s.Phone, s.Name):
		return printable(s.Phone)
	}
	return printable(s.Name + " (" + s.Phone + ")")
}

// whyKept is one reason of perhaps several: the longest time that a snapshot stands for.
func whyKept(c vault.Choice) string {
	if len(c.Why) == 0 || strings.HasPrefix(c.Why[0], "one of the newest") {
		return strings.Join(c.Why[:min(1, len(c.Why))], "")
	}
	return c.Why[len(c.Why)-1]
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
