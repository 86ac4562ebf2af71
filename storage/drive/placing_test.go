package drive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"phonebackupbox/storage"
)

// fat stands for a file system without a journal, whatever the test's folder is on, and too full for all folders.
var fat = Options{format: &Format{Name: "FAT32", Fragile: true, cluster: 1 << 50}}

func fragile(t *testing.T) *Drive {
	t.Helper()
	dir := t.TempDir()
	made, err := Create(dir, newUUID())
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	return reopened(t, dir, fat)
}

func reopened(t *testing.T, dir string, o Options) *Drive {
	t.Helper()
	d, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func isClean(t *testing.T, dir string) bool {
	t.Helper()
	r := reopened(t, dir, Options{ReadOnly: true, format: fat.format})
	clean, err := r.Clean()
	if err != nil {
		t.Fatal(err)
	}
	return clean
}

func TestCheckOnFragile(t *testing.T) {
	if err := storage.Check(t.Context(), fragile(t)); err != nil {
		t.Error(err)
	}
}

// Stock restic may rely on a FAT or exFAT drive only while nobody is in the middle of writing to it.
func TestCleanOnceClosed(t *testing.T) {
	ctx := t.Context()
	d := fragile(t)
	if !isClean(t, d.dir) {
		t.Error("opened, and nothing written: not clean")
	}
	if err := d.Put(ctx, "vault/a", []byte("a")); err != nil || isClean(t, d.dir) {
		t.Errorf("put: %v; clean while written to", err)
	}
	if err := d.Sync(ctx); err != nil || isClean(t, d.dir) {
		t.Errorf("sync: %v; clean while written to", err)
	}
	if err := d.Close(); err != nil || !isClean(t, d.dir) {
		t.Errorf("close: %v; not clean afterwards", err)
	}
	d = reopened(t, d.dir, fat)
	if err := d.Delete(ctx, "vault/a"); err != nil || isClean(t, d.dir) {
		t.Errorf("delete: %v; clean while written to", err)
	}
	if err := d.Close(); err != nil || !isClean(t, d.dir) {
		t.Errorf("close: %v; not clean afterwards", err)
	}
}

// cut leaves the drive as a power cut does: nothing is flushed, removed or marked.
func cut(t *testing.T, d *Drive) {
	t.Helper()
	if err := errors.Join(d.lock.Close(), d.whole.Close(), d.root.Close()); err != nil {
		t.Fatal(err)
	}
	d.lock, d.whole = nil, nil
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A power cut in the middle of the renames leaves each file in one of these states.
func TestSettle(t *testing.T) {
	ctx := t.Context()
	d := fragile(t)
	if err := errors.Join(d.Put(ctx, "vault/old", []byte("acknowledged")), d.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	err := d.writePlacing([]placed{
		{"1", "vault/waits", 5}, {"2", "vault/torn", 5}, {"3", "vault/there", 5}, {"4", "vault/twice", 5}, {"5", "vault/gone", 5},
	})
	if err != nil {
		t.Fatal(err)
	}
	cut(t, d)
	in := func(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }
	write(t, in(pendingDir, "1"), "waits")
	write(t, in("vault/torn"), "")
	write(t, in("vault/there"), "there")
	write(t, in("vault/twice"), "twice")
	write(t, in(pendingDir, "9"), "never flushed")
	// What two names for the same bytes are on FAT is a second link here: removing it shows as a link less.
	if err := os.Link(in("vault/twice"), in(pendingDir, "4")); err != nil {
		t.Fatal(err)
	}

	e := reopened(t, d.dir, fat)
	var names []string
	for info, err := range e.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if want := []string{"vault/old", "vault/there", "vault/twice"}; !slices.Equal(names, want) {
		t.Errorf("after the cut there are %v; want %v", names, want)
	}
	aside, err := os.ReadDir(in(asideDir))
	if err != nil || len(aside) != 2 {
		t.Fatalf("aside: %v, %v; want the second name and what was never flushed", aside, err)
	}
	one, err := os.Stat(in("vault/twice"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(aside, func(e os.DirEntry) bool {
		two, err := e.Info()
		return err == nil && os.SameFile(one, two)
	}) {
		t.Error("the second name of a file went")
	}
	if left, err := os.ReadDir(in(pendingDir)); err != nil || len(left) > 0 {
		t.Errorf("pending: %v, %v", left, err)
	}
	if isClean(t, d.dir) {
		t.Error("clean before it was closed")
	}
	if err := e.Close(); err != nil || !isClean(t, d.dir) {
		t.Errorf("close: %v; not clean afterwards", err)
	}
}

// A list that tore was being written: no rename had begun, and what is there was acknowledged earlier.
func TestTornPlacing(t *testing.T) {
	ctx := t.Context()
	d := fragile(t)
	if err := errors.Join(d.Put(ctx, "vault/old", []byte("acknowledged")), d.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	p, err := encodePlacing([]placed{{"1", "vault/old", 5}, {"2", "vault/new", 5}})
	if err != nil {
		t.Fatal(err)
	}
	cut(t, d)
	for n := range len(p) {
		write(t, filepath.Join(d.dir, placingName), string(p[:n]))
		e := reopened(t, d.dir, fat)
		if _, err := e.Stat(ctx, "vault/old"); err != nil {
			t.Fatalf("list cut at %d: %v", n, err)
		}
		cut(t, e)
	}
	write(t, filepath.Join(d.dir, placingName), string(p))
	if _, err := reopened(t, d.dir, fat).Stat(ctx, "vault/old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the whole list names vault/old with another size, yet: %v", err)
	}
}

func FuzzParsePlacing(f *testing.F) {
	p, err := encodePlacing([]placed{{"1", "vault/data/ab/abcd", 1 << 24}, {"2", "ledger/x", 0}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		list := parsePlacing(p)
		for _, l := range list {
			if checkName("place", l.Name) != nil || filepath.Base(l.Temp) != l.Temp || l.Temp == ".." {
				t.Errorf("%+v leads elsewhere", l)
			}
		}
		if len(list) == 0 {
			return
		}
		again, err := encodePlacing(list)
		if err != nil || !slices.Equal(parsePlacing(again), list) {
			t.Errorf("%v is not read back: %v", list, err)
		}
	})
}
