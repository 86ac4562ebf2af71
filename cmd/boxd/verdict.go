package main

import (
	"fmt"
	"slices"
	"strings"

	"phonebackupbox/storage/array"
)

// survives is how many drives may die now. A drive that is away counts as dead here, since nobody knows how it is; and while
// one is that does not travel, it is less than asked for, however much the others have.
func survives(h array.Health) int {
	if h.Unreadable > 0 || len(h.Lost) > 0 || h.LedgerIncomplete {
		return -1
	}
	n := h.Survive
	for i, blobs := range h.Here {
		if blobs > 0 {
			n = min(n, i)
			break
		}
	}
	for _, d := range h.Drives {
		if d.State == array.Away && !d.Travels || d.State == array.Twin {
			n = min(n, h.Survive-1)
		}
	}
	return max(n, 0)
}

func verdict(h array.Health) string {
	switch {
	case len(h.Lost) > 0:
		return "lost"
	case !h.Healthy():
		return "degraded"
	}
	return "healthy"
}

// verdictError turns a health into the exit code of the contract.
func verdictError(h array.Health) error {
	switch verdict(h) {
	case "lost":
		return lostError{plural(len(h.Lost), "blob is", "blobs are") + " lost: no known drive can bring them back"}
	case "degraded":
		return incompleteError{"degraded: " + protection(h)}
	}
	return nil
}

// protection is one sentence on how safe the vault is now.
func protection(h array.Health) string {
	s := fmt.Sprintf("%s may die now, %d asked for", plural(max(survives(h), 0), "drive", "drives"), h.Survive)
	switch {
	case h.LedgerIncomplete:
		s = "part of the record of what is where is missing: attach the other drives"
	case h.Unreadable > 0:
		s = plural(h.Unreadable, "blob needs", "blobs need") + " a drive that is away"
	}
	if h.Damaged > 0 {
		s += "; " + plural(h.Damaged, "damaged piece", "damaged pieces")
	}
	for _, group := range []struct {
		what    string
		state   array.State
		travels bool
	}{{"away", array.Away, false}, {"travelling", array.Away, true}, {"failing", array.Failing, false}, {"failing", array.Failing, true}} {
		var labels []string
		for _, d := range h.Drives {
			if d.State == group.state && d.Travels == group.travels {
				labels = append(labels, d.Label)
			}
		}
		if len(labels) > 0 {
			s += "; " + group.what + ": " + printable(strings.Join(labels, ", "))
		}
	}
	return s
}

// behind is what attached drives lack that should be on them and fits.
func behind(h array.Health) (blobs int) {
	for _, d := range h.Drives {
		if d.State == array.Attached && d.Lacks > 0 && (d.Total == 0 || d.Free > d.LacksBytes+d.LacksBytes/16+nearlyFull) {
			blobs += d.Lacks
		}
	}
	return blobs
}

// nearlyFull is when a drive is told to be full, in bytes: less than a pack and its parity would not fit well.
const nearlyFull = 64 << 20

// remarks say what is to be known of a drive beside its state.
func remarks(h array.Health, d array.DriveHealth, attached []driveFacts) []string {
	var say []string
	if d.Complete {
		say = append(say, "opens with stock restic"+onceEjected(attached, d.ID))
	}
	if d.Travels {
		say = append(say, "travels")
	}
	if d.Lacks > 0 && d.State != array.Removed {
		say = append(say, fmt.Sprintf("lacks %s (%s)", plural(d.Lacks, "blob", "blobs"), size(d.LacksBytes)))
	}
	if d.Travels && d.State == array.Attached {
		if d.Needed || !slices.ContainsFunc(h.Drives, func(o array.DriveHealth) bool { return o.ID != d.ID && o.State == array.Attached }) {
			say = append(say, "must stay for now: the others do not protect everything")
		} else if d.Lacks == 0 {
			say = append(say, "may leave")
		}
	}
	return say
}
