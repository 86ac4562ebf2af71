package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
)

type verifyResult struct {
	Scrub  array.ScrubReport  `json:"scrub"`
	Vault  vault.VerifyReport `json:"vault"`
	WentOn *time.Time         `json:"went_on,omitempty"` // when one that was cut short stopped, and this one began
}

func vaultVerifyCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	return f.on(reading, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		res, err := r.verifyOn(ctx, c)
		if err != nil {
			return err
		}
		if err := c.print(res, res.text); err != nil {
			return err
		}
		if !res.Vault.OK() {
			return lostError{"some of what the snapshots name cannot be read back"}
		}
		return r.scrubVerdict(ctx, res.Scrub)
	})
}

// verifyName, in a state folder, is how far verifications came that were cut short, by vault.
const verifyName = "verify.json"

// verifyPlace is how far a verification came, and when: of reading the drives, and then of decrypting what they hold.
type verifyPlace struct {
	At     time.Time             `json:"at"`
	Drives map[string]array.Pass `json:"drives,omitempty"`
	Vault  vault.VerifyPass      `json:"vault"`
}

// verifyOn scrubs the drives and then decrypts everything. With a state folder it goes on where the last one was cut short.
func (r *rack) verifyOn(ctx context.Context, c *call) (res verifyResult, err error) {
	places, err := readPlaces[verifyPlace](c.state, verifyName)
	if err != nil {
		return res, err
	}
	id := r.vault.ID()
	place, ok := places[id]
	if ok && !tooOld(place.At) {
		res.WentOn = &place.At
	} else {
		place = verifyPlace{}
	}
	if place.Drives == nil {
		place.Drives = map[string]array.Pass{}
	}
	saved := time.Now()
	save := func() error {
		saved = time.Now()
		at := place
		at.At = saved
		places[id] = at
		return writePlaces(c.state, verifyName, places)
	}
	if res.Scrub, err = r.scrubFrom(ctx, c, place.Drives, func(bool) error { return save() }); err != nil {
		return res, err
	}
	progress := newBar(c.err, "verify")
	defer progress.clear()
	res.Vault, err = r.vault.VerifyFrom(ctx, vault.VerifyOptions{
		From: place.Vault,
		Save: func(p vault.VerifyPass) error {
			place.Vault = p
			if time.Since(saved) < saveEvery {
				return nil
			}
			return save()
		},
		Watch: func(done, total int64) { progress.show(done, total, done, "") },
	})
	if err != nil {
		return res, stopped(errors.Join(err, save()), c.state)
	}
	delete(places, id)
	return res, writePlaces(c.state, verifyName, places)
}

func (res verifyResult) text(w io.Writer) {
	scrubText(w, res.Scrub)
	verifyText(w, res.Vault)
	if res.WentOn != nil {
		fmt.Fprintf(w, "  went on where it stopped on %s\n", res.WentOn.Local().Format("2006-01-02 15:04"))
	}
}

func verifyText(w io.Writer, r vault.VerifyReport) {
	fmt.Fprintf(w, "decrypted %s in %s: %s, %s\n", size(r.Bytes), plural(r.Packs, "pack", "packs"), plural(r.Blobs, "chunk", "chunks"), plural(r.Snapshots, "snapshot", "snapshots"))
	for _, d := range r.Damaged {
		fmt.Fprintf(w, "  ! %s: %s\n", d.Name, printable(d.Err.Error()))
	}
	for _, h := range r.Hit {
		fmt.Fprintf(w, "  ! snapshot %s: %s cannot be restored whole\n", short(h.Snapshot), printable(h.Path))
	}
	if r.MoreHit > 0 {
		fmt.Fprintf(w, "  ! and %s more\n", plural(r.MoreHit, "file", "files"))
	}
}
