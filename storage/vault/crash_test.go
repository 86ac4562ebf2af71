package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestPowerCutAtEveryWrite cuts the power at every operation of a small backup, for every n and three fates of what was
// not synced: all of it survives (a killed process), none, or some. Afterwards the last snapshot restores, the next backup
// succeeds, reads no file again that a resume record names, and stores again no more than was not put.
func TestPowerCutAtEveryWrite(t *testing.T) {
	fates := map[string]func(r *rand.Rand) func(string) bool{
		"all":  func(*rand.Rand) func(string) bool { return func(string) bool { return true } },
		"none": func(*rand.Rand) func(string) bool { return func(string) bool { return false } },
		"some": func(r *rand.Rand) func(string) bool { return func(string) bool { return r.IntN(2) == 0 } },
	}
	before, after := crashFiles(1, 12, 25_000), crashFiles(2, 12, 25_000)
	for name, fate := range fates {
		for n := 1; ; n++ {
			if !powerCut(t, n, before, after, fate(rand.New(rand.NewPCG(uint64(n), 7)))) {
				t.Logf("%s: %d operations", name, n-1)
				if n < 10 {
					t.Errorf("%s: a backup has only %d operations?", name, n-1)
				}
				break
			}
			if t.Failed() {
				t.Fatalf("%s: power cut at operation %d", name, n)
			}
		}
	}
}

// crashFiles are files of which half change from one seed to the next; .
func crashFiles(seed uint64, n, size int) []phoneFile {
	var files []phoneFile
	for i := range n {
		s := uint64(i)
		if i%2 == 0 {
			s += 1000 * seed
		}
		r := rand.NewChaCha8([32]byte{byte(s), byte(s >> 8)})
		p := make([]byte, size)
		if _, err := io.ReadFull(r, p); err != nil {
			panic(err)
		}
		files = append(files, phoneFile{fmt.Sprintf("dir%d/file%d", i%3, i), p, time.Unix(int64(s), 5).UTC()})
	}
	return files
}

// powerCut reports whether the power went before the backup had ended.
func powerCut(t *testing.T, n int, before, after []phoneFile, survives func(string) bool) bool {
	t.Helper()
	m := newMapStore()
	v, words := newVault(t, m)
	// Packs of two files, a Sync for each two packs, an index for each two of those: everything that a long backup does.
	v.pace = rhythm{pack: 60_000, sync: 120_000, maxUnsynced: 180_000, index: 2, merge: 2}
	first := backup(t, v, pixel, before)
	m.ops, m.cutAt = 0, n

	acknowledged := first
	cut := false
	tree, err := v.Begin(t.Context(), pixel)
	if err == nil {
		for _, f := range after {
			if err = tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
				break
			}
		}
		if err == nil {
			var s Snapshot
			if s, err = tree.Commit(t.Context(), Outcome{Complete: true}); err == nil {
				acknowledged = s
			}
		}
		if e := tree.Close(); err == nil {
			err = e
		}
	}
	cut = m.off
	if err != nil && !errors.Is(err, errPower) {
		t.Errorf("an error that says something else: %v", err)
	}
	checkAfterCut(t, m.restart(survives), words, acknowledged, first, before, after)
	return cut
}

func checkAfterCut(t *testing.T, m *mapStore, words string, acknowledged, first Snapshot, before, after []phoneFile) {
	t.Helper()
	v := openVault(t, m, words)
	list, err := v.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range list {
		found = found || s.ID == acknowledged.ID
		fsys, err := v.FS(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if s.ID == first.ID {
			sameFiles(t, fsys, before)
		} else {
			sameFiles(t, fsys, after)
		}
	}
	if !found {
		t.Errorf("snapshot %.8s was acknowledged and is gone", acknowledged.ID)
	}
	s := backup(t, v, pixel, after)
	if s.Generation < acknowledged.Generation+1 {
		t.Errorf("generation %d after %d", s.Generation, acknowledged.Generation)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, after)
	r, err := v.Verify(t.Context(), nil)
	if err != nil || !r.OK() {
		t.Errorf("verify: %v %+v", err, r)
	}
	for name := range m.blobs {
		if strings.HasPrefix(name, "resume/") {
			t.Errorf("%s is left after a commit", name)
		}
	}
}

// TestKilledBackupResumes kills the process (everything put survives) in the middle of a backup of 100 MB and counts what
// the next one reads and stores again.
func TestKilledBackupResumes(t *testing.T) {
	files := crashFiles(3, 40, 2_500_000)
	m := newMapStore()
	v, words := newVault(t, m)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files[:30] {
		if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	// The keeper records as packs are put; wait until both are idle. What is left is the pack being filled.
	waitFor(t, func() bool {
		tree.w.mu.Lock()
		busy := tree.w.busy > 0
		tree.w.mu.Unlock()
		if busy {
			return false
		}
		tree.rec.mu.Lock()
		defer tree.rec.mu.Unlock()
		for _, f := range tree.rec.fresh {
			if tree.wholly(f.e) {
				return false
			}
		}
		return len(tree.rec.said)+len(tree.rec.fresh) == 30
	}, tree)
	killed := m.restart(func(string) bool { return true })
	stored := killed.dataBytes()
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}

	v = openVault(t, killed, words)
	if tree, err = v.Begin(t.Context(), pixel); err != nil {
		t.Fatal(err)
	}
	read, total := int64(0), int64(0)
	for _, f := range files[:30] {
		total += int64(len(f.data))
		if tree.Keep(f.name, int64(len(f.data)), f.mtime) == nil {
			continue
		}
		read += int64(len(f.data))
		if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	again := killed.dataBytes() - total
	t.Logf("%d of %d MB had been stored; %d MB read again, %d bytes stored again", stored>>20, total>>20, read>>20, again)
	if read > packSize+int64(len(files[0].data)) || again > 1<<20 {
		t.Errorf("read %d and stored %d bytes again", read, again)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files[:30])
}

// TestNothingIsLeftOfARunThatEnded: the resume records of a run are gone for good when Commit returns, even if the process
// does nothing else before the power goes.
func TestNothingIsLeftOfARunThatEnded(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	v.pace = rhythm{pack: 60_000, sync: 120_000, maxUnsynced: 180_000, index: 2, merge: 2}
	backup(t, v, pixel, crashFiles(1, 12, 25_000))
	for name := range m.restart(func(string) bool { return true }).blobs {
		if strings.HasPrefix(name, "resume/") {
			t.Errorf("%s is left", name)
		}
	}
}

// waitFor yields to the keeper until done says so.
func waitFor(t *testing.T, done func() bool, tree *Tree) {
	t.Helper()
	for !done() {
		tree.w.mu.Lock()
		failed := tree.w.err
		tree.w.mu.Unlock()
		if failed != nil || t.Context().Err() != nil {
			t.Fatal(failed, t.Context().Err())
		}
		select {
		case tree.w.kick <- struct{}{}:
		default:
		}
	}
}

// TestUnpluggedBackupReadsNothingAgain closes a Tree without Commit: every file that was stored is kept by the next.
func TestUnpluggedBackupReadsNothingAgain(t *testing.T) {
	files := crashFiles(3, 6, 2_500_000)
	m := newMapStore()
	v, words := newVault(t, m)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := v.Snapshots(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%d snapshots, %v", len(list), err)
	}
	v = openVault(t, m.restart(func(string) bool { return false }), words)
	other, err := v.Begin(t.Context(), Phone{ID: "mtp:other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Keep(files[0].name, int64(len(files[0].data)), files[0].mtime); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another phone keeps it: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if tree, err = v.Begin(t.Context(), pixel); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Open(files[0].name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tree starts as the last snapshot, not with the resume records: %v", err)
	}
	for _, f := range files {
		if err := tree.Keep(f.name, int64(len(f.data)), f.mtime.Add(1)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("kept with another time: %v", err)
		}
		if err := tree.Keep(f.name, int64(len(f.data)), f.mtime); err != nil {
			t.Error(err)
		}
	}
	s, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
}
