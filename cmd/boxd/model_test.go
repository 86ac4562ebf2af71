//go:build !rescue

package main

import (
	"bytes"
	"context"
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
	seeds    = flag.Int("seeds", 60, "lives of a vault to try against the model")
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
	for seed := range *seeds {
		w := newWorld(t, uint64(*fromSeed+seed), words)
		w.live(&sum)
		if t.Failed() {
			t.Fatalf("seed %d, %d drives, survive %d:\n%s", w.seed, len(w.drives), w.survive, w.script.String())
		}
	}
	t.Logf("%+v", sum)
	if *seeds >= 60 && (sum.Checked < 500 || sum.Apart < 20 || sum.Cuts < 20 || sum.Pruned < 50 || sum.Travelled < 60 || sum.Drained < 8) {
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

func newWorld(t *testing.T, seed uint64, words string) *world {
	w := emptyWorld(t, seed, words)
	n := 1 + w.rng.IntN(5)
	w.survive = min(w.rng.IntN(4), n-1)
	for range n {
		w.newDrive()
	}
	w.create()
	return w
}

func emptyWorld(t *testing.T, seed uint64, words string) *world {
	return &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 77)), words: words, power: vdrive.NewPower(), drives: map[string]*vdrive.Drive{},
		hurt: map[string]bool{}, snaps: map[string]*modelSnap{}, phones: []map[string]modelFile{{}, {}},
	}
}

// create makes a vault on the drives.
func (w *world) create() {
	w.t.Helper()
	a, err := array.Create(w.t.Context(), w.members(w.all()), array.Options{Survive: w.survive})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := vault.Create(w.t.Context(), a, w.words, vault.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(v.Close(), a.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.heads = [][]string{w.all()}
}

func modelTime(clock int) time.Time { return time.Unix(int64(clock)*1009, 0) }

// newDrive makes a drive on the box's power supply and returns its ID.
func (w *world) newDrive() string {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", w.rng.IntN(1e12))
	w.drives[id] = vdrive.New(w.rng.Uint64())
	w.power.Feed(w.drives[id])
	return id
}

func (w *world) all() []string { return slices.Sorted(maps.Keys(w.drives)) }

func (w *world) members(ids []string) []array.Member {
	var list []array.Member
	for _, id := range ids {
		list = append(list, array.Member{ID: id, Label: id[30:], Store: w.drives[id]})
	}
	return list
}

// some picks drives: all of them, or any.
func (w *world) some() []string {
	ids := w.all()
	if w.rng.IntN(3) > 0 {
		return ids
	}
	w.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:1+w.rng.IntN(len(ids))]
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(&w.script, "  "+format+"\n", args...) }

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

// dark reports whether the power failed: then nothing can be asked of the drives.
func (w *world) dark() bool { return w.cutAt > 0 && w.power.Ops() >= w.cutAt }

// session is an open vault.
type session struct {
	ctx context.Context
	ids []string // attached
	a   *array.Array
	v   *vault.Vault
}

// session opens the vault over some drives, if they are enough for it, and does something.
func (w *world) session(ids []string, do func(session)) {
	w.say("attached %s", short12(ids))
	ctx := w.t.Context()
	a, err := array.Open(ctx, w.members(ids), array.Options{})
	if err != nil {
		w.say("no array: %v", err)
		w.mustOpen(ids, err)
		return
	}
	v, err := vault.Open(ctx, a, w.words, vault.Options{})
	if err != nil {
		w.say("no vault: %v", err)
		w.mustOpen(ids, errors.Join(err, a.Close()))
		return
	}
	do(session{ctx, ids, a, v})
	w.heads = append(slices.DeleteFunc(w.heads, func(h []string) bool { return meet(h, ids) }), ids)
	if err := errors.Join(v.Close(), a.Close()); err != nil {
		w.say("close: %v", err)
	}
}

func short12(ids []string) string {
	var s []string
	for _, id := range ids {
		s = append(s, id[30:])
	}
	return strings.Join(s, " ")
}

// mustOpen fails the test if a vault that cannot be opened was promised to be readable.
func (w *world) mustOpen(ids []string, err error) {
	for id, s := range w.snaps {
		if w.promised(s, ids) && !w.dark() {
			w.t.Errorf("with %s the vault does not open, and snapshot %.8s was promised: %v", short12(ids), id, err)
			return
		}
	}
}

// promised reports whether what Health said last covers the drives attached now: those that are not, and those with hidden
// damage, are no more than may be missing.
func (w *world) promised(s *modelSnap, attached []string) bool {
	missing := 0
	for _, id := range s.known {
		if w.hurt[id] || !slices.Contains(attached, id) {
			missing++
		}
	}
	return !s.maybe && missing <= s.spare
}

// safe reports whether all that was promised stays so if a drive goes bad.
func (w *world) safe(without string) bool {
	left := slices.DeleteFunc(w.all(), func(id string) bool { return id == without })
	for _, s := range w.snaps {
		if w.promised(s, w.all()) && !w.promised(s, left) {
			return false
		}
	}
	return len(left) > 0
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
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

// repair finds and mends what is wrong with the drives attached.
func (w *world) repair(s session) {
	scrub, err := s.a.Scrub(s.ctx, nil)
	if err != nil {
		w.say("scrub: %v", err)
		return
	}
	report, err := s.a.Repair(s.ctx, nil)
	w.say("repair: %d damaged; %d mended, %d rebuilt, %d spread, %d orphans, %d lost: %v", len(scrub.Damaged), report.Mended, report.Rebuilt,
		report.Spread, report.Orphans, len(report.Lost), err)
	if err == nil && len(report.Lost) == 0 && !w.dark() {
		for _, id := range s.ids {
			delete(w.hurt, id)
		}
		w.believe(s, "")
	}
}

// rot damages a drive where that breaks no promise.
func (w *world) rot() {
	ids := w.all()
	id := ids[w.rng.IntN(len(ids))]
	if !w.safe(id) {
		return
	}
	w.hurt[id] = true
	w.sum.Rotten++
	for range 1 + w.rng.IntN(5) {
		w.say("rot on %s in %s", id[30:], w.drives[id].RotRandom())
	}
}

// full leaves a drive little room, or gives it room again.
func (w *world) full() {
	ids := w.all()
	d, free := w.drives[ids[w.rng.IntN(len(ids))]], int64(1e12)
	if w.rng.IntN(2) == 0 {
		free = w.rng.Int64N(1 << 20)
	}
	w.say("a drive has %d bytes of room", free)
	d.Full(free)
}

// replaceDead has a drive die where that breaks no promise, and a new one take its place.
func (w *world) replaceDead() {
	ids := w.all()
	id := ids[w.rng.IntN(len(ids))]
	if !w.safe(id) || len(ids) < 2 {
		return
	}
	w.say("%s dies", id[30:])
	w.sum.Died++
	delete(w.drives, id)
	for i, h := range w.heads {
		w.heads[i] = slices.DeleteFunc(slices.Clone(h), func(d string) bool { return d == id })
	}
	w.heads = slices.DeleteFunc(w.heads, func(h []string) bool { return len(h) == 0 }) // what it alone knew died with it
	w.session(w.all(), func(s session) {
		if err := s.a.Remove(s.ctx, id); err != nil {
			w.say("remove: %v", err)
			return
		}
		w.add(s)
		w.repair(s)
	})
}

// travel says of a drive, here or away, that it travels, or that it stays.
func (w *world) travel(s session) {
	ids := w.all()
	id, on := ids[w.rng.IntN(len(ids))], w.rng.IntN(3) > 0
	err := s.a.Travel(s.ctx, id, on)
	w.say("%s travels: %v: %v", id[30:], on, err)
	w.sum.Travelled++
	if err == nil && w.rng.IntN(2) == 0 {
		w.repair(s)
	}
}

// catchUp brings the drives attached up to date.
func (w *world) catchUp(s session) {
	report, err := s.a.CatchUp(s.ctx, nil)
	w.say("catch up: %d made anew, %d spread, %d lost: %v", report.Rebuilt, report.Spread, len(report.Lost), err)
	if err == nil && len(report.Lost) == 0 && !w.dark() {
		w.believe(s, "")
	}
}

// drain takes a good drive out: what is on it moves to the others first, so nothing that was promised may be the worse for it.
func (w *world) drain(s session) {
	id := s.ids[w.rng.IntN(len(s.ids))]
	if len(s.ids) < 2 || w.hurt[id] {
		return
	}
	report, err := s.a.Drain(s.ctx, id, nil)
	w.say("drain %s: %d made anew, %d spread, %d lost: %v", id[30:], report.Rebuilt, report.Spread, len(report.Lost), err)
	if err != nil {
		return
	}
	w.sum.Drained++
	delete(w.drives, id)
	s.ids = slices.DeleteFunc(slices.Clone(s.ids), func(d string) bool { return d == id })
	for i, h := range w.heads {
		w.heads[i] = slices.DeleteFunc(slices.Clone(h), func(d string) bool { return d == id })
	}
	w.heads = slices.DeleteFunc(w.heads, func(h []string) bool { return len(h) == 0 })
	w.believe(s, "")
	w.check(s)
}

// add takes a new drive in.
func (w *world) add(s session) {
	if len(w.drives) >= 6 {
		return
	}
	id := w.newDrive()
	err := s.a.Add(s.ctx, w.members([]string{id})[0])
	w.say("add %s: %v", id[30:], err)
	if err == nil && w.rng.IntN(2) == 0 {
		s.ids = append(slices.Clone(s.ids), id)
		w.repair(s)
	}
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
