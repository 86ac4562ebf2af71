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
	"slices"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/plain"
	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
)

var _ firmware.Keeper = (*bays)(nil)

// keptPass is how far a pass over a drive is, and which one it is.
type keptPass struct {
	Began firmware.Stamp `json:"began"`
	array.Pass
}

// inWords is a pass for the firmware.
func (p keptPass) inWords() firmware.Scrubbed {
	return firmware.Scrubbed{Fraction: p.Fraction(), Done: p.Done, Bad: len(p.Damage), Lost: len(p.Unreadable)}
}

// passesName, in the box's state folder, is where passes over the drives go on.
const passesName = "passes.json"

// Scrub reads on a drive for about so long.
func (b *bays) Scrub(ctx context.Context, drive string, began firmware.Stamp, span time.Duration) (firmware.Scrubbed, error) {
	p := b.pass(drive, began)
	r, err := b.use(ctx)
	if err != nil {
		return p.inWords(), err
	}
	report, err := r.array.ScrubFrom(ctx, array.ScrubOptions{From: map[string]array.Pass{drive: p.Pass}, Only: []string{drive}, For: span})
	pass, here := report.Passes[drive]
	switch {
	case err == nil && !here:
		return p.inWords(), errors.New("the drive to be read is gone")
	case !here:
		return p.inWords(), err
	case err == nil && pass.Found.Err != "":
		err = errors.New(pass.Found.Err)
	}
	p.Pass = pass
	return p.inWords(), errors.Join(err, b.keepPass(drive, p))
}

// pass is the one over a drive that began then, from its start if it is not known.
func (b *bays) pass(drive string, began firmware.Stamp) keptPass {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.passes == nil {
		b.passes = map[string]keptPass{}
		if p, err := b.readState(passesName, maxScrub); err == nil && json.Unmarshal(p, &b.passes) != nil {
			clear(b.passes) // damaged: it only costs reading again
		}
	}
	p := b.passes[drive]
	if !p.Began.Is(began) {
		p = keptPass{Began: began}
		b.passes[drive] = p
	}
	return p
}

// maxPasses bounds of how many drives passes are kept, those of other vaults among them.
const maxPasses = 64

func (b *bays) keepPass(drive string, p keptPass) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passes[drive] = p
	for id := range b.passes {
		if len(b.passes) > maxPasses && id != drive {
			delete(b.passes, id)
		}
	}
	return b.writeState(passesName, b.passes)
}

// readState reads a file of the box's state folder; a box without one has none.
func (b *bays) readState(name string, limit int64) ([]byte, error) {
	if b.state == "" {
		return nil, fs.ErrNotExist
	}
	return readSmall(filepath.Join(b.state, name), limit)
}

func (b *bays) writeState(name string, v any) error {
	if b.state == "" {
		return nil
	}
	p, err := json.Marshal(v)
	if err == nil {
		err = putStateFile(b.state, name, p)
	}
	if err != nil {
		return fmt.Errorf("state folder: %s: %w", name, err)
	}
	return nil
}

// keepAs changes which snapshots stay.
func (b *bays) keepAs(p vault.Policy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = p
}

// Prune removes old snapshots, as the owner's settings say.
func (b *bays) Prune(ctx context.Context, accepted []usbhost.ID) (firmware.Pruned, error) {
	r, err := b.use(ctx)
	if err != nil {
		return firmware.Pruned{}, err
	}
	b.mu.Lock()
	o := vault.PruneOptions{Policy: b.policy}
	b.mu.Unlock()
	for _, id := range accepted {
		o.Accept = append(o.Accept, string(id))
	}
	report, err := r.vault.Prune(ctx, o)
	if err != nil {
		return firmware.Pruned{}, err
	}
	out := firmware.Pruned{Removed: report.Removed(), Freed: report.Freed - report.Written}
	for _, s := range report.Shrunk {
		out.Shrunk = append(out.Shrunk, usbhost.ID(s.Phone))
	}
	return out, nil
}

// Refresh brings the plain drives up to date, gives the vault's drives the rescue programs, and puts a copy of the box's own
// state into the vault.
func (b *bays) Refresh(ctx context.Context) (told []string, err error) {
	r, err := b.use(ctx)
	if err != nil {
		return nil, err
	}
	b.carry(ctx, r)
	if b.card != "" {
		if err := r.saveBoxState(ctx, b.card); ctx.Err() != nil {
			return nil, ctx.Err()
		} else if err != nil {
			told = append(told, fmt.Sprintf("The box's own settings are not in the vault: %s.", oneLine(err)))
		}
	}
	b.mu.Lock()
	slots := b.slots
	b.mu.Unlock()
	for _, dir := range slots {
		if id, err := plain.Identify(dir); err != nil || id != r.drives[0].Vault() {
			continue
		}
		left, err := refreshAll(ctx, r, dir)
		switch {
		case ctx.Err() != nil:
			return told, ctx.Err()
		case err != nil:
			told = append(told, fmt.Sprintf("Drive %s: its ordinary copies could not be brought up to date: %s.", filepath.Base(dir), oneLine(err)))
		case left > 0:
			told = append(told, fmt.Sprintf("Drive %s: %s could not be put there as on the phone.", filepath.Base(dir), plural(left, "file", "files")))
		}
	}
	return told, nil
}

// refreshAll puts the newest state of each phone on a plain drive. It counts what is not there as on the phone.
func refreshAll(ctx context.Context, r *rack, dir string) (left int, err error) {
	d, err := plain.Open(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	list, err := r.newest(ctx, nil)
	if err != nil {
		return 0, err
	}
	c := &call{stdio: stdio{out: io.Discard, err: io.Discard}}
	for _, s := range list {
		res, err := r.refresh(ctx, c, d, s)
		if err != nil {
			return left, err
		}
		left += len(res.Problems)
	}
	return left, nil
}

// carry puts the rescue programs onto the vault's drives, onto each once while the box runs. A drive without is still a
// drive: the status says which.
func (b *bays) carry(ctx context.Context, r *rack) {
	if b.rescue == "" {
		return
	}
	programs, err := filesIn(b.rescue)
	if err != nil || len(programs) == 0 {
		return
	}
	for _, d := range r.drives {
		if !slices.Contains(b.carried, d.ID()) && carryTo(ctx, d, b.rescue, programs) == nil {
			b.carried = append(b.carried, d.ID())
		}
	}
}

// diary remembers the upkeep in the box's state folder.
type diary struct{ dir string }

var _ firmware.Diary = diary{}

const (
	upkeepName = "upkeep.json"
	maxUpkeep  = 1 << 20 // bytes
)

// Remembered reads what was written last.
func (d diary) Remembered(context.Context) (firmware.Upkeep, error) {
	var u firmware.Upkeep
	p, err := readSmall(filepath.Join(d.dir, upkeepName), maxUpkeep)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err == nil {
		err = json.Unmarshal(p, &u)
	}
	if err != nil {
		return firmware.Upkeep{}, fmt.Errorf("%s: %w", filepath.Join(d.dir, upkeepName), err)
	}
	return u, nil
}

// Write puts u in the place of what was written before.
func (d diary) Write(_ context.Context, u firmware.Upkeep) error {
	p, err := json.Marshal(u)
	if err != nil {
		return err
	}
	return putStateFile(d.dir, upkeepName, p)
}
