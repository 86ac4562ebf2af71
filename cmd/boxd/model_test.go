//go:build !rescue

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

// seeds is how many lives of a vault the model test tries; make soak tries more.
var (
	seeds    = flag.Int("seeds", 60, "lives of a vault to try against the model; a sixth of them under the race detector")
	fromSeed = flag.Int("from-seed", 0, "the first of them")
)

// TestVaultAgainstModel leads vaults through lives full of faults and compares them with a model that knows nothing of
// shards, packs and ledgers: what each snapshot holds, and what Health promised when it was last asked.
func TestVaultAgainstModel(t *testing.T) {
	words, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	var sum tally
	lives := *seeds
	if raceDetector {
		lives /= 6
	}
	for seed := range lives {
		w := newWorld(t, uint64(*fromSeed+seed), words)
		w.live(&sum)
		if t.Failed() {
			t.Fatalf("seed %d, %d drives, survive %d:\n%s", w.seed, len(w.drives), w.survive, w.script.String())
		}
	}
	t.Logf("%+v", sum)
	if lives >= 60 && (sum.Checked < 500 || sum.Apart < 20 || sum.Cuts < 20 || sum.Pruned < 50 || sum.Travelled < 60 || sum.Drained < 8) {
		t.Errorf("%+v: these lives were too quiet to prove anything", sum)
	}
}

// tally counts what the lives had in them.
type tally struct{ Backups, Checked, Apart, Cuts, Pruned, Rotten, Died, Travelled, Drained int }

// world is one vault's life.
type world struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	words   string
	survive int
	power   *vdrive.Power
	cutAt   int                      // the write in which the power fails, 0 for none
	drives  map[string]*vdrive.Drive // that exist, by ID
	hurt    map[string]bool          // drives with damage that nobody found yet
	phones  []map[string]modelFile
	snaps   map[string]*modelSnap
	clock   int

	// heads are the drives that carry each of the ledger's forks to its end: a session that has none of some head attached
	// does not know what it wrote.
	heads [][]string

	script strings.Builder
	sum    *tally
}

type modelFile struct {
	data  []byte
	mtime time.Time
}

// modelSnap is a snapshot that a Commit acknowledged.
type modelSnap struct {
	files map[string]modelFile
	maybe bool // a prune removed it, or tried to

	// What Health promised last: it is readable as long as no more than spare of these drives are missing.
	known []string
	spare int
}

func (w *world) live(sum *tally) {
	w.sum = sum
	for range 12 + w.rng.IntN(12) {
		switch w.rng.IntN(12) {
		case 0:
			w.rot()
		case 1:
			w.full()
		case 2:
			w.replaceDead()
		case 3:
			w.session(w.all(), w.add)
		case 4:
			w.session(w.all(), w.drain)
		default:
			w.evening()
		}
		if w.t.Failed() {
			return
		}
	}
	w.session(w.all(), w.check)
}

// evening is some drives attached, and a few things done; perhaps the power fails.
func (w *world) evening() {
	cut := w.rng.IntN(5) == 0
	if cut {
		nth := 1 + w.rng.IntN(60)
		w.say("the power will fail in write %d", nth)
		w.power.Cut(nth)
		w.cutAt = w.power.Ops() + nth
	}
	ids := w.some()
	if len(ids) < len(w.drives) {
		w.sum.Apart++
	}
	w.session(ids, func(s session) {
		for range 1 + w.rng.IntN(3) {
			switch w.rng.IntN(8) {
			case 0, 1, 2:
				w.backup(s)
			case 6:
				w.travel(s)
			case 7:
				w.catchUp(s)
			case 3:
				w.prune(s)
			case 4:
				w.repair(s)
			case 5:
				if !cut {
					w.check(s)
				}
			}
		}
	})
	if w.dark() {
		w.sum.Cuts++
	}
	w.power.Restore()
	w.cutAt = 0
}

// believe takes down what Health promises about the snapshots that the vault lists. A session that lacks a fork cannot know
// what happened to older snapshots there, so only its own count: those in fresh.
func (w *world) believe(s session, fresh string) {
	h, err := s.a.Health(s.ctx)
	if err != nil || h.Unreadable > 0 || h.LedgerIncomplete || len(h.Lost) > 0 {
		w.say("health: %d unreadable, %d lost, %v", h.Unreadable, len(h.Lost), err)
		return
	}
	spare := slices.IndexFunc(h.Spare, func(n int) bool { return n > 0 })
	var known []string
	for _, d := range h.Drives {
		if d.State == array.Attached || d.State == array.Away || d.State == array.Failing {
			known = append(known, d.ID)
		}
	}
	list, err := s.v.Snapshots(s.ctx)
	if err != nil || spare < 0 || w.dark() {
		return
	}
	whole := !slices.ContainsFunc(w.heads, func(h []string) bool { return !meet(h, s.ids) })
	for _, snap := range list {
		if m := w.snaps[snap.ID]; m != nil && (whole || snap.ID == fresh) {
			m.known, m.spare = known, spare
		}
	}
	w.say("health: %d of %d drives may be missing", spare, len(known))
}

// backup changes a phone and backs it up.
func (w *world) backup(s session) {
	n := w.rng.IntN(len(w.phones))
	phone := w.phones[n]
	for range 1 + w.rng.IntN(6) {
		w.clock++
		name := fmt.Sprintf("f%02d", w.rng.IntN(12))
		if w.rng.IntN(5) == 0 {
			delete(phone, name)
			continue
		}
		size := w.rng.IntN(20_000)
		if w.rng.IntN(6) == 0 {
			size = 300_000
		}
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(w.seed), byte(w.clock), byte(w.clock >> 8), byte(w.seed >> 8)}).Read(data)
		phone[name] = modelFile{data, modelTime(w.clock)}
	}
	id, err := w.store(s, vault.Phone{ID: fmt.Sprint("folder:", n)}, phone)
	if err != nil {
		w.say("backup of %d: %v", n, err)
		return
	}
	w.say("backup of %d: snapshot %.8s, %d files", n, id, len(phone))
	w.sum.Backups++
	w.snaps[id] = &modelSnap{files: maps.Clone(phone), known: w.all()} // at least with all drives there
	w.believe(s, id)
}

// store is a phone's driver: it keeps what did not change and creates the rest.
func (w *world) store(s session, p vault.Phone, files map[string]modelFile) (id string, err error) {
	tree, err := s.v.Begin(s.ctx, p)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	root, err := tree.Open(".")
	if err != nil {
		return "", err
	}
	had, err := root.(fs.ReadDirFile).ReadDir(-1)
	if err := errors.Join(err, root.Close()); err != nil {
		return "", err
	}
	for _, e := range had {
		if _, ok := files[e.Name()]; !ok {
			if err := tree.Remove(e.Name()); err != nil {
				return "", err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		if tree.Keep(name, int64(len(f.data)), f.mtime) == nil {
			continue
		}
		if err := tree.Create(name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			return "", err
		}
	}
	snap, err := tree.Commit(s.ctx, vault.Outcome{Complete: true, Listed: len(files), Stored: len(files)})
	if err != nil {
		return "", err
	}
	return snap.ID, tree.Verify(s.ctx, nil)
}

// prune keeps the newest two of each phone.
func (w *world) prune(s session) {
	list, err := s.v.Snapshots(s.ctx)
	if err != nil {
		w.say("list: %v", err)
		return
	}
	report, err := s.v.Prune(s.ctx, vault.PruneOptions{Policy: vault.Policy{Last: 2}})
	if err != nil {
		w.say("prune: %v", err)
		for _, snap := range list {
			if m := w.snaps[snap.ID]; m != nil && !w.newest(list, snap, 2) {
				m.maybe = true
			}
		}
		return
	}
	for _, c := range report.Choices {
		if m := w.snaps[c.Snapshot.ID]; m != nil && !c.Keep {
			m.maybe = true
			w.sum.Pruned++
		}
	}
	w.say("prune: %d snapshots removed, %d packs deleted, %d repacked", report.Removed(), report.Deleted, report.Repacked)
	w.believe(s, "")
}

// newest reports whether snap is among the n newest of its phone.
func (w *world) newest(list []vault.Snapshot, snap vault.Snapshot, n int) bool {
	for _, s := range list {
		if s.Phone != snap.Phone {
			continue
		}
		if s.ID == snap.ID {
			return true
		}
		if n--; n == 0 {
			break
		}
	}
	return false
}

// check reads all snapshots. What is read is what was stored; what was promised can be read.
func (w *world) check(s session) {
	list, err := s.v.Snapshots(s.ctx)
	if err != nil {
		w.say("list: %v", err)
	}
	byID := map[string]vault.Snapshot{}
	for _, snap := range list {
		byID[snap.ID] = snap
	}
	for id, m := range w.snaps {
		err := w.compare(s, byID[id], m)
		switch {
		case errors.Is(err, errLie):
			w.t.Errorf("snapshot %.8s: %v", id, err)
		case err != nil && w.promised(m, s.ids):
			w.t.Errorf("snapshot %.8s was promised with %d of %s missing; attached are %s: %v", id, m.spare, short12(m.known), short12(s.ids), err)
		case err == nil:
			w.sum.Checked++
		}
	}
}

var errLie = errors.New("not what was stored")

func (w *world) compare(s session, snap vault.Snapshot, m *modelSnap) error {
	if snap.ID == "" {
		return errors.New("is not listed")
	}
	fsys, err := s.v.FS(s.ctx, snap)
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return err
	}
	if len(entries) != len(m.files) {
		return fmt.Errorf("%w: %d files of %d", errLie, len(entries), len(m.files))
	}
	for name, want := range m.files {
		got, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(got, want.data) {
			return fmt.Errorf("%w: %s", errLie, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
