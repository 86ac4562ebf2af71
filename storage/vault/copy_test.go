package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func copyAll(t *testing.T, to, from *Vault) CopyReport {
	t.Helper()
	list, err := from.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var last, total int64
	r, err := to.CopyFrom(t.Context(), from, list, func(d, n int64) { last, total = d, n })
	if err != nil {
		t.Fatal(err)
	}
	if last != total {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	return r
}

// sameSnapshots checks that both vaults list the same snapshots but for their IDs, with the same files.
func sameSnapshots(t *testing.T, a, b *Vault) {
	t.Helper()
	x, err := a.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(x) != len(y) {
		t.Fatalf("%d snapshots became %d", len(x), len(y))
	}
	for i := range x {
		p, q := x[i], y[i]
		p.ID, q.ID, p.Outcome, q.Outcome = "", "", nil, nil
		if fmt.Sprintf("%+v", p) != fmt.Sprintf("%+v", q) || (x[i].Outcome == nil) != (y[i].Outcome == nil) {
			t.Errorf("snapshot %d:\n%+v became\n%+v", i, p, q)
		}
		if x[i].ID == y[i].ID {
			t.Errorf("snapshot %d kept its ID: it was not sealed anew", i)
		}
	}
	r, err := b.Verify(t.Context(), nil)
	if err != nil || !r.OK() {
		t.Errorf("verify: %v %+v", err, r)
	}
}

func TestCopyKeepsEverything(t *testing.T) {
	m := newMapStore()
	from, _ := newVault(t, m)
	files := somePhone(1)
	for i := range 3 {
		backup(t, from, pixel, files[:len(files)-i])
		backup(t, from, Phone{ID: "ios:X", Name: "Bob's"}, files[i:min(i+5, len(files))])
	}
	save(t, from, someState, true)
	n := newMapStore()
	to, words := newVault(t, n)
	backup(t, to, Phone{ID: "folder:/other"}, files[:3]) // shares some blobs
	list, err := from.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := copyAll(t, to, from)
	if len(r.Copied) != len(list) || r.There != 0 || len(r.Failed) > 0 || r.Blobs == 0 {
		t.Errorf("%d copied, %d there, failed %v, %d blobs", len(r.Copied), r.There, r.Failed, r.Blobs)
	}
	for i := range list { // copied in the order in which they were taken
		if c := r.Copied[len(list)-1-i]; c.Generation != list[i].Generation || c.tree != list[i].tree {
			t.Errorf("generation %d was copied in the place of %d", c.Generation, list[i].Generation)
		}
	}
	blobs := len(n.blobs)
	again := copyAll(t, to, from)
	if len(again.Copied) != 0 || again.There != len(list) || again.Blobs != 0 || len(n.blobs) != blobs {
		t.Errorf("again: %+v, %d blobs more", again, len(n.blobs)-blobs)
	}
	sameState(t, openVault(t, n, words), someState)
	fsys, err := to.FS(t.Context(), r.Copied[0])
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
	// A copy of a copy is known by its first ID, too.
	third, _ := newVault(t, newMapStore())
	copyAll(t, third, from)
	if r := copyAll(t, third, to); r.There != len(list) || len(r.Copied) != 1 {
		t.Errorf("a copy's copies: %d there, %d copied", r.There, len(r.Copied))
	}
	dir := t.TempDir()
	n.save(t, dir)
	restic := stock(t, dir, words)
	restic("check", "--read-data")
	if out := restic("snapshots", "--json"); strings.Count(out, `"original"`) != len(list) {
		t.Errorf("restic finds no originals: %s", out)
	}
	empty, _ := newVault(t, newMapStore())
	copyAll(t, empty, from)
	sameSnapshots(t, from, empty)
}

// TestCopyFromStockRestic takes in repositories of both versions that stock restic wrote, content-defined chunks and all.
func TestCopyFromStockRestic(t *testing.T) {
	src := t.TempDir()
	for _, f := range somePhone(5) {
		p := filepath.Join(src, f.name)
		if os.MkdirAll(filepath.Dir(p), 0o755) != nil || os.WriteFile(p, f.data, 0o600) != nil {
			continue // a name that this file system does not take
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "2"} {
		dir := filepath.Join(t.TempDir(), "repo")
		restic := stock(t, dir, passphrase)
		restic("init", "--repository-version", version)
		restic("backup", "--tag", "holiday", src)
		restic("backup", filepath.Join(src, "many"))
		from := openVault(t, loadStore(t, dir), passphrase)
		n := newMapStore()
		to, words := newVault(t, n)
		if r := copyAll(t, to, from); len(r.Copied) != 2 || len(r.Failed) > 0 {
			t.Errorf("version %s: %+v", version, r)
		}
		sameSnapshots(t, from, to)
		out := t.TempDir()
		n.save(t, out)
		ours := stock(t, out, words)
		ours("check", "--read-data")
		want := filepath.Join(t.TempDir(), "want")
		got := filepath.Join(t.TempDir(), "got")
		restic("restore", "latest:"+src, "--tag", "holiday", "--target", want)
		ours("restore", "latest:"+src, "--tag", "holiday", "--target", got)
		if a, b := tarOf(t, want), tarOf(t, got); a != b || len(a) < 1000 {
			t.Errorf("version %s: restored differently:\n%.2000s\n%.2000s", version, a, b)
		}
	}
}

// tarOf is everything in a folder as text.
func tarOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n%q %v %v ", strings.TrimPrefix(p, dir), info.Mode(), info.ModTime())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(p)
			fmt.Fprintf(&b, "%x", sum(data))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCopyLeavesOutWhatIsNotWhole loses a chunk and a tree of the source: the snapshots that need them are named and not
// copied, the others are.
func TestCopyLeavesOutWhatIsNotWhole(t *testing.T) {
	m := newMapStore()
	from, words := newVault(t, m)
	good := []phoneFile{{"good", []byte("good"), time.Unix(1, 0)}}
	backup(t, from, pixel, good)
	before := map[string]bool{}
	for name := range m.blobs {
		before[name] = true
	}
	bad := backup(t, from, Phone{ID: "mtp:bad"}, []phoneFile{{"x/bad", []byte("bad"), time.Unix(1, 0)}})
	var packs []string
	for name := range m.blobs {
		if !before[name] && strings.HasPrefix(name, "data/") {
			packs = append(packs, name)
		}
	}
	for _, name := range packs {
		for _, how := range []string{"rotten", "away"} {
			harmed := m.restart(func(string) bool { return true })
			if how == "away" {
				harmed.gone[name] = true
			} else {
				p := bytes.Clone(harmed.blobs[name])
				p[3] ^= 1
				harmed.blobs[name] = p
			}
			to, _ := newVault(t, newMapStore())
			r := copyAll(t, to, openVault(t, harmed, words))
			if len(r.Copied) != 1 || len(r.Failed) != 1 || r.Failed[0].Name != "snapshots/"+bad.ID {
				t.Errorf("%s: copied %d, failed %v", how, len(r.Copied), r.Failed)
			}
			if v, err := to.Verify(t.Context(), nil); err != nil || !v.OK() {
				t.Errorf("%s: %v %+v", how, err, v)
			}
			// With the pack back, the rest is copied.
			if r := copyAll(t, to, openVault(t, m, words)); len(r.Copied) != 1 || r.There != 1 || len(r.Failed) != 0 {
				t.Errorf("%s, and again: %+v", how, r)
			}
		}
	}
}

// TestPowerCutWhileCopying cuts the power at every operation; what was acknowledged is there, and the next run does the rest
// and stores no pack again that was named in an index.
func TestPowerCutWhileCopying(t *testing.T) {
	quick := rhythm{pack: 60_000, sync: 120_000, maxUnsynced: 180_000, index: 2, merge: 2}
	from, _ := newVault(t, newMapStore())
	from.pace = quick
	backup(t, from, pixel, crashFiles(1, 12, 25_000))
	backup(t, from, pixel, crashFiles(2, 12, 25_000))
	list, err := from.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		m := newMapStore()
		to, words := newVault(t, m)
		to.pace = quick
		m.ops, m.cutAt = 0, n
		r, err := to.CopyFrom(t.Context(), from, list, nil)
		cut := m.off
		if err != nil && !errors.Is(err, errPower) || err == nil && len(r.Copied) != 2 {
			t.Fatalf("cut at %d: %v %+v", n, err, r)
		}
		rnd := rand.New(rand.NewPCG(uint64(n), 5))
		after := m.restart(func(string) bool { return rnd.IntN(2) == 0 })
		to = openVault(t, after, words)
		if err == nil {
			sameSnapshots(t, from, to)
		}
		copyAll(t, to, from)
		sameSnapshots(t, from, to)
		if t.Failed() {
			t.Fatalf("cut at %d", n)
		}
		if !cut {
			t.Logf("%d operations", n-1)
			if n < 10 {
				t.Error("so few operations?")
			}
			return
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	other, _ := newVault(t, newMapStore())
	if _, err := v.CopyFrom(t.Context(), openVault(t, m, words), nil, nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("from itself: %v", err)
	}
	r, err := Open(t.Context(), m, words, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.CopyFrom(t.Context(), other, nil, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read only: %v", err)
	}
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.CopyFrom(t.Context(), other, nil, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("beside a Tree: %v", err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
}
