package vault

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage"
)

// seeds is how many fates of unsynced writes are tried at each cut; make soak tries more.
var seeds = flag.Int("seeds", 4, "fates of unsynced writes to try at each cut")

// quick makes a vault do in small what it does in large: packs of two files, a Sync for two packs, an index for four.
var quick = rhythm{pack: 60_000, sync: 120_000, maxUnsynced: 180_000, index: 2, merge: 2, held: usual.held, stay: usual.stay}

// manyNights backs a phone up n times while half of its files change each time. It returns what each snapshot held.
func manyNights(t *testing.T, v *Vault, n int) map[string][]phoneFile {
	t.Helper()
	held := map[string][]phoneFile{}
	for seed := range n {
		files := crashFiles(uint64(seed), 12, 25_000)
		held[backup(t, v, pixel, files).ID] = files
	}
	return held
}

// wantHeld checks that every snapshot of the vault holds what it held, that there are want of them, and that everything
// can be read.
func wantHeld(t *testing.T, v *Vault, held map[string][]phoneFile, want int) {
	t.Helper()
	list, err := v.Snapshots(t.Context())
	if err != nil || len(list) != want {
		t.Fatalf("%d snapshots, want %d (%v)", len(list), want, err)
	}
	for _, s := range list {
		fsys, err := v.FS(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		files, ok := held[s.ID]
		if !ok {
			t.Fatalf("a snapshot %.8s from nowhere", s.ID)
		}
		sameFiles(t, fsys, files)
	}
	if r, err := v.Verify(t.Context(), nil); err != nil || !r.OK() {
		t.Errorf("verify: %v %+v", err, r)
	}
}

func TestPruneKeepsWhatStays(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	v.pace = quick
	held := manyNights(t, v, 8)
	before := m.dataBytes()
	dry, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}, DryRun: true})
	if err != nil || dry.Removed() != 6 || m.dataBytes() != before {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	wantHeld(t, v, held, 8)
	var last, total int64
	r, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}, Watch: func(d, n int64) { last, total = d, n }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Removed() != 6 || r.Deleted == 0 || r.Repacked == 0 || r.Full || r.Kept > 0 || last != total || total == 0 {
		t.Errorf("%+v, watched %d of %d", r, last, total)
	}
	// Two snapshots of 12 files share 6: 18 files of 25,000 bytes.
	if now := m.dataBytes(); now > 18*25_000*5/4 {
		t.Errorf("%d bytes of packs, before %d", now, before)
	}
	wantHeld(t, v, held, 2)
	wantHeld(t, openVault(t, m, words), held, 2)
	puts, dels := m.ops, len(m.blobs)
	if r, err = v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}}); err != nil || r.Deleted+r.Repacked+r.Indexes+r.Removed() != 0 {
		t.Errorf("a second prune found something to do: %+v, %v", r, err)
	}
	if m.ops != puts || len(m.blobs) != dels {
		t.Errorf("a prune without anything to do did %d operations", m.ops-puts)
	}
	dir := t.TempDir()
	m.save(t, dir)
	restic := stock(t, dir, words)
	restic("check", "--read-data")
	// What was pruned is not relied on: the old files come back.
	again := backup(t, v, pixel, crashFiles(1, 12, 25_000))
	held[again.ID] = crashFiles(1, 12, 25_000)
	wantHeld(t, openVault(t, m, words), held, 3)
}

// TestPruneCutAtEveryWrite cuts the power at every operation of a prune. At each moment stock restic's rules hold: all
// that a snapshot needs is named by an index and is there. The next prune ends what was begun.
func TestPruneCutAtEveryWrite(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	v.pace = quick
	held := manyNights(t, v, 6)
	fates := map[string]func(r *rand.Rand) func(string) bool{
		"all":  func(*rand.Rand) func(string) bool { return func(string) bool { return true } },
		"none": func(*rand.Rand) func(string) bool { return func(string) bool { return false } },
	}
	for i := range *seeds {
		fates[fmt.Sprint("some ", i)] = func(r *rand.Rand) func(string) bool {
			return func(string) bool { return r.IntN(2) == 0 }
		}
	}
	all := func(string) bool { return true }
	for name, fate := range fates {
		for n := 1; ; n++ {
			cut := m.restart(all)
			cut.cutAt = n
			v := openVault(t, cut, words)
			v.pace = quick
			_, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}})
			if err != nil && !errors.Is(err, errPower) {
				t.Fatalf("%s: cut at %d: an error that says something else: %v", name, n, err)
			}
			if err == nil {
				if n < 10 {
					t.Errorf("a prune has only %d operations?", n-1)
				}
				t.Logf("%s: %d operations", name, n-1)
				break
			}
			after := cut.restart(fate(rand.New(rand.NewPCG(uint64(n), uint64(len(name))+uint64(name[len(name)-1])))))
			wantKept(t, after, words, held)
			if t.Failed() {
				t.Fatalf("%s: power cut at operation %d", name, n)
			}
		}
	}
}

// wantKept checks a store after a cut prune, and prunes it to the end.
func wantKept(t *testing.T, m *mapStore, words string, held map[string][]phoneFile) {
	t.Helper()
	v := openVault(t, m, words)
	v.pace = quick
	list, err := v.Snapshots(t.Context())
	if err != nil || len(list) < 2 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	wantHeld(t, v, held, len(list))
	if _, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}}); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, v, held, 2)
	if now := m.dataBytes(); now > 18*25_000*5/4 {
		t.Errorf("%d bytes of packs are left", now)
	}
}

func TestPruneAndBackupExcludeEachOther(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Prune(t.Context(), PruneOptions{}); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.hold(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Begin(t.Context(), pixel); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	v.release()
	if tree, err = v.Begin(t.Context(), pixel); err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPruneThatCannotKnowRemovesNothing hides or spoils, one at a time, each snapshot and each pack with trees in it:
// either the prune does without, or it refuses and nothing is gone.
func TestPruneThatCannotKnowRemovesNothing(t *testing.T) {
	for what, do := range map[string]func(m *mapStore, name string){
		"away":    func(m *mapStore, name string) { m.gone[name] = true },
		"damaged": func(m *mapStore, name string) { m.blobs[name][len(m.blobs[name])/2] ^= 1 },
	} {
		m := newMapStore()
		v, words := newVault(t, m)
		v.pace = quick
		held := manyNights(t, v, 4)
		refused := 0
		for name := range m.blobs {
			if !strings.HasPrefix(name, "snapshots/") && !strings.HasPrefix(name, "data/") {
				continue
			}
			hurt := m.restart(func(string) bool { return true })
			whole := slices.Clone(hurt.blobs[name])
			hurt.blobs[name] = slices.Clone(whole)
			do(hurt, name)
			v := openVault(t, hurt, words)
			v.pace = quick
			n := len(hurt.blobs)
			if _, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 1}}); err != nil {
				refused++
				if len(hurt.blobs) != n || hurt.ops > 0 {
					t.Errorf("%s is %s: refused (%v) after %d operations", name, what, err, hurt.ops)
				}
			}
			if _, ok := hurt.blobs[name]; !ok {
				continue // nothing needed it
			}
			delete(hurt.gone, name)
			hurt.blobs[name] = whole
			v = openVault(t, hurt, words)
			list, err := v.Snapshots(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wantHeld(t, v, held, len(list))
		}
		if refused == 0 {
			t.Errorf("%s: never refused", what)
		}
	}
}

// TestPruneLeavesRunsThatHaveNotEnded prunes after a backup that was cut: what it stored is not stored again.
func TestPruneLeavesRunsThatHaveNotEnded(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	v.pace = quick
	files := crashFiles(1, 12, 25_000)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	storeAll(t, tree, files)
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Prune(t.Context(), PruneOptions{Policy: DefaultPolicy}); err != nil || r.Deleted+r.Repacked > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	v = openVault(t, m, words)
	if tree, err = v.Begin(t.Context(), pixel); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := tree.Keep(f.name, int64(len(f.data)), f.mtime); err != nil {
			t.Error(err)
		}
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPruneMergesIndexes prunes after many nights that changed little.
func TestPruneMergesIndexes(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	held := map[string][]phoneFile{}
	for night := range smallIndexes + 3 {
		files := crashFiles(uint64(night), 2, 100)
		held[backup(t, v, pixel, files).ID] = files
	}
	r, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 1000}})
	if err != nil || r.Indexes != smallIndexes+3 || r.Repacked < smallPacks || r.Removed() != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	indexes, packs := 0, 0
	for name := range m.blobs {
		indexes += b2i(strings.HasPrefix(name, "index/"))
		packs += b2i(strings.HasPrefix(name, "data/"))
	}
	if indexes != 1 || packs != 2 {
		t.Errorf("%d index files and %d packs are left", indexes, packs)
	}
	wantHeld(t, openVault(t, m, words), held, smallIndexes+3)
}

// TestPruneOnAFullStore: no room for repacking is no reason not to delete.
func TestPruneOnAFullStore(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	v.pace = quick
	held := manyNights(t, v, 8)
	m.full = m.put + 70_000
	r, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}})
	if err != nil || !r.Full || r.Deleted == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	wantHeld(t, v, held, 2)
	m.full = 0
	if r, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 2}}); err != nil || r.Full {
		t.Fatalf("%+v, %v", r, err)
	}
	wantHeld(t, v, held, 2)
	if now := m.dataBytes(); now > 18*25_000*5/4 {
		t.Errorf("%d bytes of packs are left", now)
	}
}

// away is a Store that says of some blobs that a drive which is away holds them.
type away struct {
	*mapStore
	names map[string]bool
}

func (a away) HeldAway(_ context.Context, name string) (bool, error) { return a.names[name], nil }

func TestSnapshotsOnDrivesThatAreAwayStay(t *testing.T) {
	s := away{newMapStore(), map[string]bool{}}
	var _ storage.Rotator = s
	v, _ := newVault(t, s)
	v.pace = quick
	held := manyNights(t, v, 3)
	for name := range s.blobs {
		s.names[name] = true
	}
	for seed := range 3 {
		files := crashFiles(uint64(10+seed), 12, 25_000)
		held[backup(t, v, pixel, files).ID] = files
	}
	r, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 1}})
	if err != nil || r.Removed() != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	wantHeld(t, v, held, 4)
}

func storeAll(t *testing.T, tree *Tree, files []phoneFile) {
	t.Helper()
	for _, f := range files {
		if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepackMuch prunes so much that what is repacked passes what may be put before a Sync: it syncs, and does not wait for ever.
func TestRepackMuch(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	v.pace = rhythm{pack: 60_000, sync: 120_000, maxUnsynced: 180_000, index: 2, merge: 2}
	files := crashFiles(1, 60, 25_000)
	backup(t, v, pixel, files)
	for i := range files {
		if i%2 == 0 {
			files[i].data = append(files[i].data[:100:100], byte(i))
		}
	}
	last := backup(t, v, pixel, files)
	r, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 1}})
	if err != nil || r.Written < 2*v.pace.maxUnsynced {
		t.Fatalf("%d bytes repacked, %v", r.Written, err)
	}
	fsys, err := v.FS(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
}
