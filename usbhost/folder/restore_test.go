package folder_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

func restore(t *testing.T, dir string, from fs.FS) usbhost.Report {
	t.Helper()
	r, err := open(t, dir).Restore(t.Context(), from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Unaccounted(); n != 0 || r.Removed != 0 {
		t.Errorf("%d files unaccounted for in %+v", n, r)
	}
	return r
}

func snapshot(t *testing.T) *vphone.Tree {
	t.Helper()
	tree := vphone.NewTree()
	backup(t, open(t, fill(t)), tree)
	return tree
}

func TestRestoreGivesEverythingBackAndTwiceIsNothing(t *testing.T) {
	tree, dir := snapshot(t), t.TempDir()
	var last usbhost.Progress
	r, err := open(t, dir).Restore(t.Context(), tree, func(p usbhost.Progress) { last = p })
	if err != nil || !r.Complete() || r.Stored != filled {
		t.Fatalf("report %+v, %v", r, err)
	}
	if last.Files != filled || last.Bytes != last.BytesTotal {
		t.Errorf("last progress %+v", last)
	}
	diff(t, "restored", look(t, dir), tree.Files())
	if r := restore(t, dir, tree); r.Kept != filled || r.Moved != 0 || !r.Complete() {
		t.Errorf("second restore: %+v", r)
	}
	diff(t, "restored twice", look(t, dir), tree.Files())
}

func TestRestoreNeverOverwrites(t *testing.T) {
	tree, dir := snapshot(t), t.TempDir()
	write(t, dir, "DCIM/Camera/big.mp4", "the owner's own", june)
	write(t, dir, "DCIM/Camera/unrelated", "left alone", june)
	write(t, dir, "odd \xfe names", "a file where the snapshot has a folder", june)
	r := restore(t, dir, tree)
	if r.Stored != 3 || len(r.Problems) != 1+len(awkward)+1 {
		t.Errorf("report %+v", r)
	}
	for name, want := range map[string]string{
		"DCIM/Camera/big.mp4":               "the owner's own",
		"DCIM/Camera/unrelated":             "left alone",
		"odd \xfe names":                    "a file where the snapshot has a folder",
		"DCIM/Camera/big (from backup).mp4": string(tree.Nodes["DCIM/Camera/big.mp4"].Data),
	} {
		if got, err := os.ReadFile(dir + "/" + name); err != nil || string(got) != want {
			t.Errorf("%q: %d bytes, %v", name, len(got), err)
		}
	}
	if r := restore(t, dir, tree); r.Stored != 0 || r.Kept != 3 {
		t.Errorf("second restore: %+v", r)
	}
	names := look(t, dir)
	for _, n := range names {
		if strings.Contains(n, "restore-") || strings.Contains(n, "backup 2") {
			t.Errorf("left behind: %s", n)
		}
	}
}

func TestRestoreKnowsAFileWhoseTimeIsUnknownOrCoarse(t *testing.T) {
	tree, dir := vphone.NewTree(), t.TempDir()
	for _, name := range []string{"unknown", "coarse"} {
		if err := tree.Create(name, 1, time.Time{}, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, "x", june.Truncate(2*time.Second))
	}
	tree.Nodes["coarse"].ModTime = june
	if r := restore(t, dir, tree); r.Kept != 2 {
		t.Errorf("report %+v", r)
	}
	write(t, dir, "unknown", "y", june)
	write(t, dir, "coarse", "y", june.Truncate(2*time.Second))
	if r := restore(t, dir, tree); r.Stored != 2 || len(r.Problems) != 2 {
		t.Errorf("report %+v", r)
	}
}

// broken is a snapshot some of whose files do not give what they promise.
type broken struct {
	*vphone.Tree
	wrap func(name string, f *vphone.TreeFile) fs.File
}

func (b broken) Open(name string) (fs.File, error) {
	f, err := b.Tree.Open(name)
	if err != nil {
		return nil, err
	}
	return b.wrap(name, f.(*vphone.TreeFile)), nil
}

type short struct {
	fs.File
	r io.Reader
}

func (s short) Read(p []byte) (int, error) { return s.r.Read(p) }

func TestRestoreReportsWhatTheSnapshotCannotGive(t *testing.T) {
	tree, dir := snapshot(t), t.TempDir()
	r := restore(t, dir, broken{tree, func(name string, f *vphone.TreeFile) fs.File {
		if strings.HasSuffix(name, "big.mp4") {
			return short{f, io.LimitReader(f, 1000)}
		}
		return f
	}})
	if len(r.Problems) != 1 || !r.Problems[0].Listed || r.Stored != filled-1 {
		t.Errorf("report %+v", r)
	}
	for _, n := range look(t, dir) {
		if strings.Contains(n, "big") || strings.Contains(n, "restore-") {
			t.Errorf("half a file: %s", n)
		}
	}
}

// evil is a snapshot with names that would lead out of the folder.
type evil struct{ fs.FS }

type evilEntry struct {
	fs.DirEntry
	name string
}

func (e evilEntry) Name() string { return e.name }

func (e evil) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(e.FS, name)
	for i, bad := range []string{"..", "../escaped", "/tmp/escaped", "nul\x00", ""} {
		entries = append(entries, evilEntry{entries[i%len(entries)], bad})
	}
	return entries, err
}

func TestRestoreStaysInTheFolder(t *testing.T) {
	tree, outside := vphone.NewTree(), t.TempDir()
	if err := tree.Create("good", 4, june, strings.NewReader("good")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Create("link/file", 4, june, strings.NewReader("evil")); err != nil {
		t.Fatal(err)
	}
	dir := outside + "/in"
	if err := errors.Join(os.MkdirAll(outside+"/elsewhere", 0o755), os.Mkdir(dir, 0o755), os.Symlink("../elsewhere", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, dir).Restore(t.Context(), tree, nil)
	if err != nil || r.Stored != 1 || r.Unaccounted() != 0 || len(r.Problems) != 2 {
		t.Errorf("report %+v, %v", r, err)
	}
	if left, err := os.ReadDir(outside + "/elsewhere"); err != nil || len(left) != 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
	r, err = open(t, t.TempDir()).Restore(t.Context(), evil{tree}, nil)
	if err != nil || r.Unaccounted() != 0 || r.Stored+len(r.Problems) < 7 {
		t.Errorf("report %+v, %v", r, err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 2 {
		t.Errorf("outside: %v, %v", left, err)
	}
}

func TestRestoreSaysHowMuchRoomItLacks(t *testing.T) {
	tree := vphone.NewTree()
	if err := tree.Create("huge", 1, june, bytes.NewReader([]byte{1})); err != nil {
		t.Fatal(err)
	}
	tree.Nodes["huge"].Size = 1 << 60
	_, err := open(t, t.TempDir()).Restore(t.Context(), tree, nil)
	if !errors.Is(err, usbhost.ErrNoSpace) || !strings.Contains(err.Error(), "1152921504606846976") {
		t.Errorf("error %v", err)
	}
}

// TestRestoreReadsBack spoils what was written before it is read back: no such file gets its name.
func TestRestoreReadsBack(t *testing.T) {
	tree := snapshot(t)
	for name, spoil := range map[string]func(file string) error{
		"a byte is another": func(file string) error {
			p, err := os.ReadFile(file)
			p[len(p)/2] ^= 1
			return errors.Join(err, os.WriteFile(file, p, 0o600))
		},
		"a byte is missing": func(file string) error { return os.Truncate(file, 1_599_999) },
		"it is gone":        os.Remove,
		"its folder is gone": func(file string) error {
			return os.RemoveAll(filepath.Dir(file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, spoiled, camera := t.TempDir(), false, 0
			r, err := open(t, dir).Restore(t.Context(), tree, func(p usbhost.Progress) {
				if p.Phase != usbhost.Checking || spoiled {
					return
				}
				spoiled = true
				temps, err := filepath.Glob(filepath.Join(dir, "DCIM/Camera/.phonebackupbox-restore-*"))
				for _, f := range temps {
					if info, serr := os.Stat(f); serr == nil && info.Size() == 1_600_000 {
						err = errors.Join(err, spoil(f))
					}
				}
				if camera = len(temps); err != nil || camera == 0 {
					t.Errorf("%d temporary files: %v", camera, err)
				}
			})
			want := 1
			if name == "its folder is gone" {
				want = camera
			}
			named := 0
			for _, p := range r.Problems {
				if p.Listed && strings.HasPrefix(p.Name, "DCIM/Camera/") {
					named++
				}
			}
			if err != nil || r.Stored != filled-want || r.Unaccounted() != 0 || named != want {
				t.Errorf("report %+v, %v", r, err)
			}
			for _, n := range look(t, dir) {
				if strings.Contains(n, "big.mp4") || strings.Contains(n, "restore-") {
					t.Errorf("a spoiled file: %s", n)
				}
			}
		})
	}
}
