package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/array"
)

func vaultScrubCommand(flags *pflag.FlagSet) action {
	dirs := flags.StringArray("drive", nil, "a drive's `folder`; once for each drive")
	ignoreKey(flags)
	return onArray(dirs, reading, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		res, err := r.scrubOn(ctx, c)
		if err != nil {
			return err
		}
		if err := c.print(res, res.text); err != nil {
			return err
		}
		return r.scrubVerdict(ctx, res.ScrubReport)
	})
}

type scrubResult struct {
	array.ScrubReport
	WentOn []wentOn `json:"went_on,omitempty"` // drives of which part was read by a scrub that was cut short
}

// wentOn is where a scrub of a drive that was cut short went on.
type wentOn struct {
	Drive   string    `json:"drive"`
	Label   string    `json:"label"`
	Stopped time.Time `json:"stopped"`
	Percent int       `json:"percent"` // read before
}

func (res scrubResult) text(w io.Writer) {
	scrubText(w, res.ScrubReport)
	for _, on := range res.WentOn {
		fmt.Fprintf(w, "  %s went on where it stopped on %s, at %d %%\n", printable(on.Label), on.Stopped.Local().Format("2006-01-02 15:04"), on.Percent)
	}
}

const (
	// scrubName, in a state folder, is how far scrubs by command came that were cut short.
	scrubName = "scrub.json"
	maxScrub  = 16 << 20 // bytes: a thousand damaged files on each of 60 drives
	// scrubKept is how long a scrub or a verification that was cut short may be gone on with.
	scrubKept = 30 * 24 * time.Hour
	// saveEvery is how much of a scrub or a verification a power cut may cost.
	saveEvery = 10 * time.Second
)

// scrubPlace is how far a scrub came on a drive, and when.
type scrubPlace struct {
	array.Pass
	At time.Time `json:"at"`
}

// scrubOn scrubs every drive. With a state folder it goes on where the last one was cut short.
func (r *rack) scrubOn(ctx context.Context, c *call) (scrubResult, error) {
	places, err := readPlaces[scrubPlace](c.state, scrubName)
	if err != nil {
		return scrubResult{}, err
	}
	res := scrubResult{}
	passes := map[string]array.Pass{}
	for _, d := range r.drives {
		p, ok := places[d.ID()]
		if !ok || tooOld(p.At) {
			continue
		}
		passes[d.ID()] = p.Pass
		res.WentOn = append(res.WentOn, wentOn{d.ID(), label(d, r.drives), p.At, int(p.Fraction() * 100)})
	}
	res.ScrubReport, err = r.scrubFrom(ctx, c, passes, func(over bool) error {
		for id, p := range passes {
			places[id] = scrubPlace{p, time.Now()}
		}
		if over {
			maps.DeleteFunc(places, func(id string, _ scrubPlace) bool { return passes[id].Done })
		}
		return writePlaces(c.state, scrubName, places)
	})
	return res, err
}

// tooOld reports whether what was cut short then has to begin anew.
func tooOld(at time.Time) bool {
	age := time.Since(at)
	return age > scrubKept || age < -scrubKept
}

// scrubFrom goes on with passes, which it keeps up to date. save is called after each part; over: it was the last.
func (r *rack) scrubFrom(ctx context.Context, c *call, passes map[string]array.Pass, save func(over bool) error) (array.ScrubReport, error) {
	progress := newBar(c.err, "scrub")
	defer progress.clear()
	left := []string{} // drives to read on; all of them at first
	for first := true; first || len(left) > 0; first = false {
		report, err := r.array.ScrubFrom(ctx, array.ScrubOptions{From: passes, Only: left, For: saveEvery, Watch: progress.watch})
		left = left[:0]
		for id, p := range report.Passes {
			passes[id] = p
			if !p.Done && p.Found.Err == "" { // a drive that is gone is not asked again
				left = append(left, id)
			}
		}
		if serr := save(err == nil && len(left) == 0); serr != nil {
			return array.ScrubReport{}, errors.Join(err, serr)
		}
		if err != nil {
			return array.ScrubReport{}, stopped(err, c.state)
		}
	}
	return array.ReportOf(passes), nil
}

// stopped says how what was interrupted goes on.
func stopped(err error, state string) error {
	hint := "the next one begins anew; with --state DIR it would go on from there"
	if state != "" {
		hint = "the same command goes on from there"
	}
	return hintError{err, "interrupted", hint}
}

// readPlaces reads how far scrubs or verifications came. A file that is damaged counts for nothing: it only costs reading again.
func readPlaces[T any](state, name string) (map[string]T, error) {
	places := map[string]T{}
	if state == "" {
		return places, nil
	}
	p, err := readSmall(filepath.Join(state, name), maxScrub)
	if errors.Is(err, fs.ErrNotExist) {
		return places, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state folder %s: %w", state, reason(err))
	}
	if json.Unmarshal(p, &places) != nil || places == nil {
		places = map[string]T{}
	}
	return places, nil
}

func writePlaces[T any](state, name string, places map[string]T) error {
	if state == "" {
		return nil
	}
	if len(places) == 0 {
		if err := os.Remove(filepath.Join(state, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("state folder %s: %w", state, reason(err))
		}
		return nil
	}
	p, err := json.Marshal(places)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("state folder %s: %w", state, reason(err))
	}
	if err := putStateFile(state, name, p); err != nil {
		return fmt.Errorf("state folder %s: %w", state, err)
	}
	return nil
}

func (r *rack) scrub(ctx context.Context, c *call) (array.ScrubReport, error) {
	progress := newBar(c.err, "scrub")
	defer progress.clear()
	return r.array.Scrub(ctx, progress.watch)
}

// scrubVerdict is the exit code after a scrub: lost, damaged or degraded, or healthy.
func (r *rack) scrubVerdict(ctx context.Context, report array.ScrubReport) error {
	if n := len(report.Unreadable); n > 0 {
		return lostError{plural(n, "blob", "blobs") + " cannot be read with these drives"}
	}
	if n := len(report.Damaged); n > 0 {
		return incompleteError{plural(n, "file is", "files are") + " damaged; all can be mended: boxd vault repair"}
	}
	h, err := r.array.Health(ctx)
	if err != nil {
		return err
	}
	return verdictError(h)
}

func scrubText(w io.Writer, report array.ScrubReport) {
	for _, d := range report.Drives {
		state := "ok"
		switch {
		case d.Err != "":
			state = printable(d.Err)
		case d.Bad+d.Missing > 0:
			state = fmt.Sprintf("%s damaged (%s), %d missing", plural(d.Bad, "file", "files"), plural(d.Blocks, "block", "blocks"), d.Missing)
		}
		fmt.Fprintf(w, "%-16s %8s in %s: %s\n", printable(d.Label), size(d.Bytes), plural(d.Files, "file", "files"), state)
	}
	for _, d := range report.Damaged {
		fmt.Fprintf(w, "  ! %s: %s\n", d.File, printable(d.What))
	}
	for _, name := range report.Unreadable {
		fmt.Fprintf(w, "  ! cannot be read: %s\n", name)
	}
}
