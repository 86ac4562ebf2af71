package vault

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage"
)

var _ storage.Store = (*mapStore)(nil)

// stock returns a runner of stock restic on the repository dir.
func stock(t *testing.T, dir, password string) func(args ...string) string {
	t.Helper()
	return stockOf(t, "0.18", dir, password)
}

// stockOf is stock for one of the releases that the repository pins: 0.14, the first with format version 2, and 0.18. It
// builds what is missing; a test that needs stock restic never skips.
func stockOf(t *testing.T, release, dir, password string) func(args ...string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	name, module := "restic", "tools"
	if release == "0.14" {
		name, module = "restic-0.14", "tools014"
	}
	bin := filepath.Join(root, ".cache", "bin", name)
	if _, err := os.Stat(bin); err != nil {
		build := exec.Command("go", "build", "-o", bin, "github.com/restic/restic/cmd/restic")
		build.Dir = filepath.Join(root, ".ci", module)
		build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build stock restic: %v\n%s", err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, append([]string{"-r", dir, "--password-file", file, "--no-cache"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}

// phoneFile is a file that a test puts on a phone.
type phoneFile struct {
	name  string
	data  []byte
	mtime time.Time
}

// somePhone makes files of every kind that matters: empty, one byte, text, media, on and around the chunk size, names of
// any bytes.
func somePhone(seed uint64) []phoneFile {
	r := rand.New(rand.NewPCG(seed, 1))
	bin := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	at := time.Date(2024, 5, 1, 10, 0, 0, 123456789, time.UTC)
	files := []phoneFile{
		{"empty", nil, at},
		{"one", []byte{7}, at.Add(1)},
		{"DCIM/Camera/IMG 0001 (über) 日本 🎉.jpg", bin(3 << 20), at.Add(time.Hour)},
		{"DCIM/Camera/exact.mp4", bin(chunkSize), at},
		{"DCIM/Camera/over.mp4", bin(chunkSize + 1), at},
		{"DCIM/Camera/long.mp4", bin(3*chunkSize + 12345), at},
		{"text/notes \"quoted\" \\ <&>.json", bytes.Repeat([]byte(`{"hello":"world"}, `), 20000), at},
		{"text/zeros", make([]byte, chunkSize+99), at},
		{"bytes/\xff\xfe\x01\n", bin(100), at},
		{"bytes/\xff\xfe", bin(200), at},
		{"case/A", bin(10), at},
		{"case/a", bin(11), at},
		{"inline", bin(inlineSize), at},
		{"inline1", bin(inlineSize + 1), at},
		{"old", bin(5), time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"future", bin(5), time.Date(2155, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	for i := range 300 {
		files = append(files, phoneFile{fmt.Sprintf("many/%d/f%04d", i%7, i), bin(r.IntN(3000)), at.Add(time.Duration(i) * time.Minute)})
	}
	return files
}

func newVault(t *testing.T, s storage.Store) (*Vault, string) {
	t.Helper()
	words, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	v, err := Create(t.Context(), s, words, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v, words
}

func openVault(t *testing.T, s storage.Store, words string) *Vault {
	t.Helper()
	v, err := Open(t.Context(), s, words, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

var pixel = Phone{ID: "mtp:1A2B", Name: "Ann's Pixel"}

// backup stores files as a whole snapshot.
func backup(t *testing.T, v *Vault, phone Phone, files []phoneFile) Snapshot {
	t.Helper()
	tree, err := v.Begin(t.Context(), phone)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if tree.Keep(f.name, int64(len(f.data)), f.mtime) == nil {
			continue
		}
		if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := tree.Commit(t.Context(), Outcome{Complete: true, Listed: len(files), Stored: len(files)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sameFiles checks that fsys holds exactly files.
func sameFiles(t *testing.T, fsys *FS, files []phoneFile) {
	t.Helper()
	want := map[string]phoneFile{}
	for _, f := range files {
		want[f.name] = f
	}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, ok := want[name]
		if !ok {
			t.Errorf("%q is too many", name)
			return nil
		}
		delete(want, name)
		p, err := fsys.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Equal(p, f.data) {
			t.Errorf("%q: other content", name)
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		if !i.ModTime().Equal(f.mtime) || i.Size() != int64(len(f.data)) {
			t.Errorf("%q: %v, %d bytes; want %v, %d", name, i.ModTime(), i.Size(), f.mtime, len(f.data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		t.Errorf("%q is missing", name)
	}
}

func TestStockResticReadsWhatWeWrite(t *testing.T) {
	s := newMapStore()
	v, words := newVault(t, s)
	files := somePhone(1)
	snap := backup(t, v, pixel, files)
	if snap.Generation != 1 || !snap.Complete || snap.Files != len(files) {
		t.Errorf("snapshot %+v", snap)
	}
	fsys, err := v.FS(t.Context(), snap)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)

	dir := t.TempDir()
	s.save(t, dir)
	restic := stock(t, dir, words)
	if out := restic("check", "--read-data"); !strings.Contains(out, "no errors were found") || strings.Contains(out, "rror:") {
		t.Errorf("check: %s", out)
	}
	to := t.TempDir()
	restic("restore", snap.ID, "--target", to)
	for _, f := range files {
		name := filepath.Join(to, f.name)
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		i, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, f.data) || !i.ModTime().Equal(f.mtime) {
			t.Errorf("%q restored by restic: other content or time %v, want %v", f.name, i.ModTime(), f.mtime)
		}
	}
	// Rewriting makes restic encode our trees again; had it any field other than we wrote, it would refuse.
	if out := restic("rewrite", "--exclude", "/one"); !strings.Contains(out, "modified 1 snapshots") {
		t.Errorf("rewrite: %s", out)
	}
}

// TestResticStaysCleanBesideOurs lets stock restic and us write into one repository in turn: resume records do not disturb it,
// its snapshots are listed, its tags and rewrites lose us nothing that we need.
func TestResticStaysCleanBesideOurs(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	files := somePhone(2)
	ours := backup(t, v, pixel, files)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create("not/committed", 4, time.Unix(1, 0), strings.NewReader("half")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m.save(t, dir)
	if entries, err := os.ReadDir(filepath.Join(dir, "resume")); err != nil || len(entries) == 0 {
		t.Fatalf("no resume record to disturb restic: %v", err)
	}
	restic := stock(t, dir, words)
	if out := restic("check", "--read-data"); !strings.Contains(out, "no errors were found") || strings.Contains(out, "not referenced") {
		t.Errorf("check: %s", out)
	}
	if out := restic("cat", "snapshot", ours.ID); strings.Contains(out, "phonebackupbox\": {") {
		t.Errorf("restic shows our field; it was expected to ignore it: %s", out)
	}
	restic("tag", "--add", "holiday", ours.ID)
	own := t.TempDir()
	text := strings.Repeat("stock restic compresses this. ", 100_000)
	if err := os.WriteFile(filepath.Join(own, "text"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("text", filepath.Join(own, "link")); err != nil {
		t.Fatal(err)
	}
	restic("backup", own)
	restic("prune")

	v = openVault(t, loadStore(t, dir), words)
	list, err := v.Snapshots(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	if s := list[0]; s.Phone != pixel.ID || s.Generation != 1 || !s.Complete || s.Files != len(files) || len(s.Tags) != 1 || s.ID == ours.ID {
		t.Errorf("ours, tagged by restic: %+v", s)
	}
	fsys, err := v.FS(t.Context(), list[0])
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
	if !list[1].Foreign {
		t.Errorf("restic's: %+v", list[1])
	}
	if fsys, err = v.FS(t.Context(), list[1]); err != nil {
		t.Fatal(err)
	}
	if p, err := fsys.ReadFile(strings.TrimPrefix(own, "/") + "/text"); err != nil || string(p) != text {
		t.Errorf("restic's file: %d bytes, %v", len(p), err)
	}
	if link, err := fsys.ReadLink(strings.TrimPrefix(own, "/") + "/link"); err != nil || link != "text" {
		t.Errorf("restic's link: %q, %v", link, err)
	}
	if s := backup(t, v, pixel, files); s.Generation != 2 {
		t.Errorf("generation %d", s.Generation)
	}
}

// TestStockRepositoryOpens reads a repository that stock restic made, compressed, with many files and a passphrase.
func TestStockRepositoryOpens(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	var files []phoneFile
	for _, f := range somePhone(3) {
		name := filepath.Join(from, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, f.mtime, f.mtime); err != nil {
			t.Fatal(err)
		}
		f.name = strings.TrimPrefix(name, "/")
		files = append(files, f)
	}
	restic := stock(t, dir, "a passphrase")
	restic("init")
	restic("backup", from)
	v, err := Open(t.Context(), loadStore(t, dir), "a passphrase", Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.Find(t.Context(), "latest")
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
	if r, err := v.Verify(t.Context(), nil); err != nil || !r.OK() {
		t.Errorf("verify: %+v %v", r, err)
	}
	if _, err := v.Begin(t.Context(), pixel); err == nil {
		t.Error("begin in a vault opened for reading")
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}
