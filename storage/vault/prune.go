package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"phonebackupbox/storage"
)

// PruneOptions say what may go.
type PruneOptions struct {
	Policy Policy
	// Accept names phones that may hold far fewer files than before: what is from before is pruned like the rest.
	Accept []string
	// DryRun only says what would be done.
	DryRun bool
	// Watch is told how many bytes of packs were copied, of how many; it may be nil.
	Watch func(done, total int64)
}

// PruneReport is what a prune did, or would do.
type PruneReport struct {
	Choices  []Choice `json:"snapshots"`          // the newest of each phone first
	Shrunk   []Shrunk `json:"shrunk,omitempty"`   // phones whose old snapshots all stay until the owner says otherwise
	Deleted  int      `json:"packs_deleted"`      // packs that nothing needs
	Repacked int      `json:"packs_repacked"`     // packs whose needed blobs were copied into new ones
	Written  int64    `json:"bytes_written"`      // of new packs
	Freed    int64    `json:"bytes_freed"`        // of packs that went
	Indexes  int      `json:"indexes_replaced"`   // index files
	Kept     int      `json:"packs_kept_damaged"` // packs that were to be repacked and cannot be read now
	Lost     int      `json:"blobs_lost"`         // blobs that snapshots name and no index does: boxd vault verify names the files
	Full     bool     `json:"full"`               // the drives had no room to repack all
}

// Removed counts the snapshots that a prune removed.
func (r PruneReport) Removed() int {
	n := 0
	for _, c := range r.Choices {
		if !c.Keep {
			n++
		}
	}
	return n
}

// Prune removes the snapshots that the policy does not keep, and then all that no snapshot needs. It may end anywhere, by
// an error, a cut or a kill: what stays is readable at every moment, and the next Prune goes on.
//
// A snapshot that a drive which is away holds stays, and with it what it needs. If a snapshot that stays cannot be read
// whole, nobody knows what it needs, and nothing is removed at all. Prune waits for nobody: while a Tree is open it
// returns ErrBusy, and Begin does so while a Prune runs.
func (v *Vault) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	switch {
	case v.o.ReadOnly:
		return PruneReport{}, fmt.Errorf("vault: prune: opened for reading only: %w", fs.ErrPermission)
	case v.cfg.Version != 2:
		return PruneReport{}, fmt.Errorf("vault: prune: format version 1 can only be read: %w", errors.ErrUnsupported)
	}
	if v.indexAway {
		return PruneReport{}, fmt.Errorf("vault: prune: an index is out of reach: %w", storage.ErrUnavailable)
	}
	if err := v.hold(); err != nil {
		return PruneReport{}, fmt.Errorf("vault: prune: %w", err)
	}
	defer v.release()
	if !o.DryRun {
		v.dropReturned(ctx)
	}
	p := &pruner{v: v, o: o}
	if err := p.run(ctx); err != nil {
		return p.report, fmt.Errorf("vault: prune: %w", err)
	}
	return p.report, nil
}

// hold makes this the only writer of the vault.
func (v *Vault) hold() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return ErrClosed
	case v.tree != nil || v.held:
		return ErrBusy
	}
	v.held = true
	return nil
}

func (v *Vault) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = false
}

// pruner is one Prune.
type pruner struct {
	v      *Vault
	o      PruneOptions
	report PruneReport
	need   *census
	packs  map[uint32]*packUse
	dups   map[uint32]uint32 // where a needed blob has several places: the pack whose place stays, by the first place
	going  []uint32          // packs to delete
	resume []string          // damaged resume records
}

// packUse is how much of a pack is needed, in bytes.
type packUse struct{ all, needed int64 }

func (p *pruner) run(ctx context.Context) error {
	if err := p.v.findUnindexed(ctx); err != nil {
		return err
	}
	if err := p.choose(ctx); err != nil {
		return err
	}
	if err := p.count(ctx); err != nil {
		return err
	}
	repack := p.plan()
	if p.o.DryRun {
		p.report.Deleted, p.report.Repacked = len(p.going), len(repack)
		for _, n := range p.going {
			p.report.Freed += p.packs[n].all
		}
		for _, n := range repack {
			p.report.Freed += p.packs[n].all - p.packs[n].needed
		}
		return nil
	}
	if err := p.deleteSnapshots(ctx); err != nil {
		return err
	}
	p.report.Deleted = len(p.going)
	if err := p.repack(ctx, repack); err != nil {
		return err
	}
	return p.finish(ctx)
}

// choose decides which snapshots stay.
func (p *pruner) choose(ctx context.Context) error {
	list, err := p.v.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Err != nil {
			return fmt.Errorf("snapshot %.8s cannot be read, so nobody knows what it needs; nothing was removed: %w", s.ID, s.Err)
		}
	}
	p.report.Choices, p.report.Shrunk = choose(list, p.o.Policy, p.o.Accept)
	r, ok := p.v.s.(storage.Rotator)
	if !ok {
		return nil
	}
	for i := range p.report.Choices {
		c := &p.report.Choices[i]
		if c.Keep {
			continue
		}
		away, err := r.HeldAway(ctx, "snapshots/"+c.Snapshot.ID)
		if err != nil {
			return err
		}
		if away {
			c.Keep, c.Why = true, []string{"a drive that is away has it"}
		}
	}
	return nil
}

// count finds out what the snapshots that stay need of each pack.
func (p *pruner) count(ctx context.Context) error {
	p.need = p.v.newCensus()
	for _, c := range p.report.Choices {
		if c.Keep {
			if err := p.need.snapshot(ctx, c.Snapshot); err != nil {
				return fmt.Errorf("nobody knows what all snapshots need; nothing was removed: %w", err)
			}
		}
	}
	var err error
	if p.resume, err = p.need.resumes(ctx); err != nil {
		return err
	}
	p.report.Lost = p.need.lost
	seen := make([]uint64, len(p.need.need))
	p.packs, p.dups = map[uint32]*packUse{}, map[uint32]uint32{}
	p.v.index.places(func(first uint32, at place) {
		u := p.packs[at.pack]
		if u == nil {
			u = &packUse{}
			p.packs[at.pack] = u
		}
		u.all += int64(at.length)
		if !p.need.needs(first) {
			return
		}
		u.needed += int64(at.length)
		if seen[first/64]&(1<<(first%64)) != 0 {
			p.dups[first] = 0
		}
		seen[first/64] |= 1 << (first % 64)
	})
	return p.oneOfEach(ctx)
}

// oneOfEach decides, of blobs that are in several packs, which place stays: one that can be read, in the pack of which
// most is needed.
func (p *pruner) oneOfEach(ctx context.Context) error {
	places := map[uint32][]place{}
	p.v.index.places(func(first uint32, at place) {
		if _, ok := p.dups[first]; ok {
			places[first] = append(places[first], at)
		}
	})
	for first, all := range places {
		slices.SortFunc(all, func(a, b place) int {
			if d := p.packs[b.pack].needed - p.packs[a.pack].needed; d != 0 {
				return int(d)
			}
			return int(a.pack) - int(b.pack)
		})
		best := -1
		for i, at := range all {
			if best >= 0 {
				break
			}
			if _, err := p.need.src.readAt(ctx, at, nil); err == nil {
				best = i
			} else if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if best < 0 {
			delete(p.dups, first) // all stay: perhaps one can be read some day
			continue
		}
		p.dups[first] = all[best].pack
		for i, at := range all {
			if i != best {
				p.packs[at.pack].needed -= int64(at.length)
			}
		}
	}
	return nil
}

// stays reports whether a place is what keeps a needed blob.
func (p *pruner) stays(first uint32, at place) bool {
	pack, dup := p.dups[first]
	return p.need.needs(first) && (!dup || pack == at.pack)
}

// A pack is repacked when more than a quarter of it is not needed, and so are small packs, an eighth of a usual one or
// less, once there are this many.
const (
	repackShare = 4
	smallShare  = 8
	smallPacks  = 16
)

// plan sorts packs into those that go and those that are to be repacked, which it returns.
func (p *pruner) plan() (repack []uint32) {
	var small []uint32
	for n, u := range p.packs {
		switch {
		case u.needed == 0:
			p.going = append(p.going, n)
		case u.needed < u.all-u.all/repackShare:
			repack = append(repack, n)
		case u.all <= int64(p.v.pace.pack/smallShare):
			small = append(small, n)
		}
	}
	if len(small) >= smallPacks {
		repack = append(repack, small...)
	}
	slices.Sort(p.going)
	slices.Sort(repack)
	return repack
}

// deleteSnapshots removes those that do not stay, durably.
func (p *pruner) deleteSnapshots(ctx context.Context) error {
	var names []string
	for _, c := range p.report.Choices {
		if !c.Keep {
			names = append(names, "snapshots/"+c.Snapshot.ID)
		}
	}
	names = append(names, p.resume...)
	if len(names) == 0 {
		return nil
	}
	err := p.v.deleteAll(ctx, names)
	p.v.mu.Lock()
	clear(p.v.snapshots)
	p.v.mu.Unlock()
	if err != nil {
		return err
	}
	return p.v.s.Sync(ctx)
}

// finish makes the index say what is, and then deletes the packs that are not needed any more.
func (p *pruner) finish(ctx context.Context) error {
	going := map[uint32]bool{}
	for _, n := range p.going {
		going[n] = true
	}
	old, err := p.v.reindex(ctx, going)
	if err != nil {
		return err
	}
	p.report.Indexes = len(old)
	if len(old) > 0 {
		if err := p.v.s.Sync(ctx); err != nil {
			return err
		}
		if err := p.v.deleteAll(ctx, old); err != nil {
			return err
		}
		if err := p.v.s.Sync(ctx); err != nil {
			return err
		}
	}
	if len(p.going) == 0 {
		return nil
	}
	// From here on no index names them, nor must the one in memory: nothing new may rely on them.
	p.v.index.drop(p.going)
	var names []string
	for _, n := range p.going {
		p.report.Freed += p.packs[n].all
		names = append(names, packName(p.v.index.pack(n).id))
	}
	if err := p.v.deleteAll(ctx, names); err != nil {
		return err
	}
	p.v.o.Log.Info("pruned", slog.Int("snapshots", p.report.Removed()), slog.Int("packs", len(names)))
	return p.v.s.Sync(ctx)
}
