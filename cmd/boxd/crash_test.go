//go:build !rescue

package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
)

// everyCut cuts the power in every write of every operation, for as many fates as there are seeds; make soak does.
var everyCut = flag.Bool("every-cut", false, "cut the power in every write, not only in some")

// operations are what a box does to a vault, each in a vault that is ready for it. They may be done again after they were cut
// short.
var operations = []struct {
	name    string
	drives  int
	survive int
	ready   func(c *cutter)
	do      func(c *cutter, s session) error
}{
	{"backup", 3, 1, func(c *cutter) { c.nights(1) }, (*cutter).night},
	{"first backup", 2, 1, func(*cutter) {}, (*cutter).night},
	{"backup on one drive", 1, 0, func(c *cutter) { c.nights(1) }, (*cutter).night},
	{"prune", 3, 1, func(c *cutter) { c.nights(5) }, (*cutter).pruneToOne},
	{"prune on two drives", 2, 1, func(c *cutter) { c.nights(4) }, (*cutter).pruneToOne},
	{"repair", 4, 1, func(c *cutter) { c.nights(2); c.damage(1) }, (*cutter).mend},
	{"repair of a drive that lost all", 3, 2, func(c *cutter) { c.nights(2); c.lose(2) }, (*cutter).mend},
	{"a new drive", 2, 1, func(c *cutter) { c.nights(2); c.extra = c.newDrive() }, (*cutter).takeIn},
	{"a drive given up", 4, 1, func(c *cutter) { c.nights(2); c.extra = c.all()[1] }, (*cutter).drain},
	{"a drive replaced", 3, 1, func(c *cutter) { c.nights(2); c.replaceLost() }, (*cutter).takeIn},
	{"rotation", 3, 1, func(c *cutter) { c.nights(1); c.away(2); c.nights(2); c.back() }, (*cutter).rotate},
	{"forks merge", 3, 2, func(c *cutter) {
		c.nights(1)
		c.away(1)
		c.nights(2)
		c.swap()
		c.nights(1)
		c.back()
	}, (*cutter).rotate},
	{"key change", 3, 1, func(c *cutter) { c.nights(1) }, (*cutter).changeKey},
	{"box state", 3, 1, func(c *cutter) { c.nights(1) }, (*cutter).saveState},
	{"copy", 3, 1, func(c *cutter) { c.nights(1) }, (*cutter).copyIn},
}

// cutter is a world whose power is cut in the middle of one operation.
type cutter struct {
	*world
	attached []string
	extra    string // the drive that an operation is about
	password string // what must open the vault
	oldKey   string // the ID of the key that is given up
}

// TestPowerFailsInEveryOperation cuts the power in writes of each operation of a vault over simulated drives, where what was not
// synced is lost, kept or torn, each write for itself. All that was acknowledged is there afterwards; the operation, done
// again, succeeds, and then any drives that may die can.
func TestPowerFailsInEveryOperation(t *testing.T) {
	words, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	fates, few := 1, 2
	if *everyCut {
		fates = *seeds
	}
	for i, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			trial := func(seed uint64, nth int) (cut bool) {
				c := newCutter(t, seed, op.drives, op.survive, words)
				op.ready(c)
				c.say("the power will fail in write %d", nth)
				c.power.Cut(nth)
				err := c.session(op.do)
				if cut = err != nil; cut && !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("an error that says something else: %v", err)
				}
				c.power.Restore()
				c.after(op.do)
				if t.Failed() {
					t.Fatalf("seed %d, cut in write %d (%v):\n%s", seed, nth, err, c.script.String())
				}
				return cut
			}
			writes := 0
			for seed := range uint64(fates) {
				seed += uint64(*fromSeed)
				step := 1
				if !*everyCut { // to know how many writes there are, and then spread the cuts
					n := writesOf(t, newCutter(t, seed, op.drives, op.survive, words), op.ready, op.do)
					step = max(n/few, 1)
				}
				nth := 1 + i%step
				for ; trial(seed<<16|uint64(nth), nth); nth += step {
				}
				writes = nth - 1
			}
			if writes < 3 {
				t.Errorf("only %d writes", writes)
			}
		})
	}
}

// writesOf counts the writes of an operation that is not cut.
func writesOf(t *testing.T, c *cutter, ready func(*cutter), do func(*cutter, session) error) int {
	t.Helper()
	ready(c)
	before := c.power.Ops()
	if err := c.session(do); err != nil {
		t.Fatal(err)
	}
	return c.power.Ops() - before
}

func newCutter(t *testing.T, seed uint64, drives, survive int, words string) *cutter {
	t.Helper()
	w := emptyWorld(t, seed, words)
	w.survive = survive
	for range drives {
		w.newDrive()
	}
	w.create()
	return &cutter{world: w, attached: w.all(), password: words}
}

// session opens the vault over the drives that are attached and does something.
func (c *cutter) session(do func(*cutter, session) error) (err error) {
	ctx := c.t.Context()
	a, err := array.Open(ctx, c.members(c.attached), array.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	v, err := vault.Open(ctx, a, c.password, vault.Options{})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := v.Close(); err == nil {
			err = cerr
		}
	}()
	return do(c, session{ctx, c.attached, a, v})
}

func (c *cutter) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// nights backs the phone up n times.
func (c *cutter) nights(n int) {
	c.t.Helper()
	for range n {
		c.must(c.session((*cutter).night))
	}
}

// night changes half of the phone's files and backs it up.
func (c *cutter) night(s session) error {
	phone := c.phones[0]
	for i := range 6 {
		if c.clock++; i%2 == 0 || len(phone) < 6 {
			phone[fmt.Sprint("f", i)] = modelFile{noise(c.clock+int(c.seed)*1000, []int{300_000, 9000, 400}[(i+c.clock)%3]), modelTime(c.clock)}
		}
	}
	id, err := c.store(s, vault.Phone{ID: "folder:0"}, phone)
	if err != nil {
		return err
	}
	c.snaps[id] = &modelSnap{files: maps.Clone(phone)}
	return nil
}

func (c *cutter) pruneToOne(s session) error {
	list, err := s.v.Snapshots(s.ctx)
	if err != nil {
		return err
	}
	for _, snap := range list[1:] { // from here on, they may be gone
		if m := c.snaps[snap.ID]; m != nil {
			m.maybe = true
		}
	}
	_, err = s.v.Prune(s.ctx, vault.PruneOptions{Policy: vault.Policy{Last: 1}})
	return err
}

// damage flips bits all over a drive.
func (c *cutter) damage(drive int) {
	for range 20 {
		c.drives[c.all()[drive]].RotRandom()
	}
}

// lose empties a drive but for its ledger.
func (c *cutter) lose(drive int) {
	d := c.drives[c.all()[drive]]
	for info, err := range d.List(c.t.Context(), "") {
		c.must(err)
		if !strings.HasPrefix(info.Name, "ledger") {
			d.Lose(info.Name)
		}
	}
}

func (c *cutter) mend(s session) error {
	if _, err := s.a.Scrub(s.ctx, nil); err != nil {
		return err
	}
	report, err := s.a.Repair(s.ctx, nil)
	if err == nil && len(report.Lost) > 0 {
		err = fmt.Errorf("lost: %v: %w", report.Lost, storage.ErrUnavailable)
	}
	return err
}

// takeIn adds the extra drive and spreads the vault over it.
func (c *cutter) takeIn(s session) error {
	h, err := s.a.Health(s.ctx)
	if err != nil {
		return err
	}
	added := slices.ContainsFunc(h.Drives, func(d array.DriveHealth) bool { return d.ID == c.extra && d.State == array.Attached })
	if !added {
		if err := s.a.Add(s.ctx, c.members([]string{c.extra})[0]); err != nil {
			return err
		}
	}
	c.attached = c.all()
	_, err = s.a.Repair(s.ctx, nil)
	return err
}

func (c *cutter) drain(s session) error {
	h, err := s.a.Health(s.ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(h.Drives, func(d array.DriveHealth) bool { return d.ID == c.extra && d.State == array.Attached }) {
		if _, err := s.a.Drain(s.ctx, c.extra, nil); err != nil {
			return err
		}
	}
	_, err = s.a.Repair(s.ctx, nil)
	return err
}

// replaceLost has a drive die and another wait to take its place.
func (c *cutter) replaceLost() {
	dead := c.all()[0]
	delete(c.drives, dead)
	c.attached = c.all()
	c.must(c.session(func(c *cutter, s session) error { return s.a.Remove(s.ctx, dead) }))
	c.extra = c.newDrive()
}

// away takes drives from the nth on away; swap puts those in the place of the others; back attaches all.
func (c *cutter) away(n int) { c.attached = c.all()[:n] }
func (c *cutter) back()      { c.attached = c.all() }
func (c *cutter) swap() {
	c.attached = slices.DeleteFunc(c.all(), func(id string) bool { return slices.Contains(c.attached, id) })
}

// rotate backs up with drives that were away and brings them up to date.
func (c *cutter) rotate(s session) error { return errors.Join(c.night(s), c.mend(s)) }

// changeKey adds new words, opens the vault with them, and removes the old ones.
func (c *cutter) changeKey(s session) error {
	if c.oldKey == "" {
		c.oldKey = s.v.KeyID()
	}
	if s.v.KeyID() == c.oldKey {
		words, err := vault.NewWords()
		if err != nil {
			return err
		}
		if _, err := s.v.AddKey(s.ctx, words); err != nil {
			return err
		}
		c.password = words // from here on the old ones are given up
	}
	v, err := vault.Open(s.ctx, s.a, c.password, vault.Options{})
	if err != nil {
		return err
	}
	if err = v.RemoveKey(s.ctx, c.oldKey); errors.Is(err, vault.ErrNoKey) {
		err = nil
	}
	return errors.Join(err, v.Close())
}

func (c *cutter) saveState(s session) error {
	c.clock++
	_, err := s.v.SaveState(s.ctx, vault.State{"box.toml": []byte("unlock = \"card\"\n"), "journal/1": fmt.Append(nil, c.clock)})
	return err
}

// copyIn takes over the snapshots of another vault.
func (c *cutter) copyIn(s session) error {
	from := newCutter(c.t, 4242, 1, 0, c.words)
	from.nights(2)
	return from.session(func(from *cutter, f session) error {
		list, err := f.v.Snapshots(f.ctx)
		if err != nil {
			return err
		}
		report, err := s.v.CopyFrom(s.ctx, f.v, list, nil)
		if err == nil {
			for _, snap := range report.Copied {
				i := slices.IndexFunc(list, func(o vault.Snapshot) bool { return o.Generation == snap.Generation })
				c.snaps[snap.ID] = from.snaps[list[i].ID]
			}
		}
		return err
	})
}

// after checks what a power cut left, does the operation again and everything else that mends, and checks again, with as many
// drives missing as may.
func (c *cutter) after(do func(*cutter, session) error) {
	c.t.Helper()
	c.attached = c.all()
	if err := c.session((*cutter).readAll); err != nil {
		c.t.Errorf("after the cut: %v", err)
	}
	if err := c.session(do); err != nil {
		c.t.Errorf("done again: %v", err)
		return
	}
	err := c.session(func(c *cutter, s session) error {
		if err := c.mend(s); err != nil {
			return err
		}
		if h, err := s.a.Health(s.ctx); err != nil || !h.Protected() || h.Damaged > 0 {
			return fmt.Errorf("%+v %w", h, err)
		}
		if r, err := s.v.Verify(s.ctx, nil); err != nil || !r.OK() {
			return fmt.Errorf("%+v %w", r, err)
		}
		return c.readAll(s)
	})
	if err != nil {
		c.t.Errorf("done again and mended: %v", err)
	}
	all := c.all()
	for i := range all {
		c.attached = nil
		for j, id := range all {
			if gone := (j - i + len(all)) % len(all); gone >= c.survive || len(all) == 1 {
				c.attached = append(c.attached, id)
			}
		}
		if err := c.session((*cutter).readAll); err != nil {
			c.t.Errorf("with %s: %v", short12(c.attached), err)
		}
	}
}

// readAll compares every snapshot that was acknowledged.
func (c *cutter) readAll(s session) error {
	list, err := s.v.Snapshots(s.ctx)
	if err != nil {
		return err
	}
	byID := map[string]vault.Snapshot{}
	for _, snap := range list {
		byID[snap.ID] = snap
	}
	for id, m := range c.snaps {
		if _, there := byID[id]; !there && m.maybe {
			continue
		}
		if err := c.compare(s, byID[id], m); err != nil {
			return fmt.Errorf("snapshot %.8s: %w", id, err)
		}
	}
	return nil
}
