//go:build !rescue

package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The corpus is drives of every layout as boxd once left them, in testdata/vaults, a folder for each time that some were made.
// They open from now on: none is ever removed or made anew. A change of the format adds a folder (see corpus_make_test.go).

// corpusNote lies beside the drives of a corpus and tells what is on them.
type corpusNote struct {
	Layout    string            `json:"layout"` // in words
	Made      string            `json:"made"`   // the day
	Drives    []string          `json:"drives"`
	Keys      []string          `json:"keys"`         // files with passwords that open the vault
	Removed   []string          `json:"removed_keys"` // and with some that once did
	Missing   int               `json:"missing"`      // how many drives may be left out, whichever
	Complete  []string          `json:"complete"`     // drives whose vault/ stock restic opens
	Status    int               `json:"status"`       // exit codes of vault status, of vault scrub, and of vault repair
	Scrub     int               `json:"scrub"`
	Repair    int               `json:"repair"`
	Snapshots []corpusSnapshot  `json:"snapshots"`
	State     map[string]string `json:"state,omitempty"` // SHA-256 of the files of the box's state
	Plain     map[string]string `json:"plain,omitempty"` // SHA-256 of the files on the plain drive
}

type corpusSnapshot struct {
	ID         string   `json:"id"`
	Phone      string   `json:"phone"`
	Generation uint64   `json:"generation"`
	Complete   bool     `json:"complete"`
	Files      int      `json:"files"`
	Sum        string   `json:"sum"`             // SHA-256 of the lines of all its files
	Lines      []string `json:"lines,omitempty"` // the lines, if they are few
}

// fewLines is how many lines a note tells of a snapshot; of more there is only the sum.
const fewLines = 60

// linesOf tells what a tree holds: a line for each file, link and folder.
func linesOf(fsys fs.FS, times bool) ([]string, error) {
	var lines []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%v", d.Type())
		switch {
		case d.Type().IsRegular():
			p, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			line = fmt.Sprintf("%x", sha256.Sum256(p))
			if times {
				line += " " + info.ModTime().UTC().Format(time.RFC3339Nano)
			}
		case d.Type() == fs.ModeSymlink:
			to, err := fs.ReadLink(fsys, name)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", to)
		}
		lines = append(lines, fmt.Sprintf("%s %q", line, name))
		return nil
	})
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, '"'):], b[strings.IndexByte(b, '"'):])
	})
	return lines, err
}

// diskFS is os.DirFS for names of any bytes.
type diskFS string

func (d diskFS) at(name string) string { return filepath.Join(string(d), name) }

func (d diskFS) Open(name string) (fs.File, error)          { return os.Open(d.at(name)) }
func (d diskFS) ReadFile(name string) ([]byte, error)       { return os.ReadFile(d.at(name)) }
func (d diskFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(d.at(name)) }
func (d diskFS) ReadLink(name string) (string, error)       { return os.Readlink(d.at(name)) }
func (d diskFS) Lstat(name string) (fs.FileInfo, error)     { return os.Lstat(d.at(name)) }
func (d diskFS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(d.at(name)) }

func sumOf(lines []string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "\n"))))
}

// rack opens the site's vault for reading.
func (s site) rack(t *testing.T, a access) *rack {
	t.Helper()
	r, err := (&vaultFlags{drives: s.drives, keyFile: s.key}).open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// told reads everything in the site's vault: its snapshots, the box's state among them.
func (s site) told(t *testing.T) (list []corpusSnapshot, state map[string]string) {
	t.Helper()
	r := s.rack(t, reading)
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	snaps, err := r.snapshots(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, snap := range snaps {
		if snap.Err != nil {
			t.Fatal(snap.Err)
		}
		fsys, err := r.vault.FS(t.Context(), snap)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := linesOf(fsys, true)
		if err != nil {
			t.Fatalf("snapshot %.8s: %v", snap.ID, err)
		}
		one := corpusSnapshot{snap.ID, snap.Phone, snap.Generation, snap.Complete, len(lines), sumOf(lines), nil}
		if len(lines) <= fewLines {
			one.Lines = lines
		}
		list = append(list, one)
	}
	files, err := r.newestState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range files {
		if state == nil {
			state = map[string]string{}
		}
		state[name] = fmt.Sprintf("%x", sha256.Sum256(p))
	}
	return list, state
}

func diskSums(t *testing.T, dir string) map[string]string {
	t.Helper()
	lines, err := linesOf(diskFS(dir), false)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, line := range lines {
		sum, name, _ := strings.Cut(line, " ")
		sums[strings.Trim(name, `"`)] = sum
	}
	return sums
}

// unzip puts a corpus into a new folder and returns it as a site with its note.
func unzip(t testing.TB, file string) (site, corpusNote) {
	t.Helper()
	dir := t.TempDir()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		if err := unzipFile(dir, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var note corpusNote
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, "note.json"))), &note); err != nil {
		t.Fatal(err)
	}
	s := site{dir: dir, key: filepath.Join(dir, note.Keys[0])}
	for _, d := range note.Drives {
		s.drives = append(s.drives, filepath.Join(dir, d))
	}
	return s, note
}

func unzipFile(dir string, f *zip.File) (err error) {
	p := filepath.Join(dir, filepath.FromSlash(f.Name))
	if strings.HasSuffix(f.Name, "/") {
		return os.MkdirAll(p, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err := io.ReadAll(r)
	if err == nil {
		err = os.WriteFile(p, b, 0o600)
	}
	if err == nil {
		err = os.Chtimes(p, f.Modified, f.Modified)
	}
	return err
}

// TestDrivesOfEveryLayoutOpen opens each corpus as its owner might years later: with all drives and with as few as must do, by
// its keys and not by those that were removed; reads, restores, exports and repairs it, and backs up into it.
func TestDrivesOfEveryLayoutOpen(t *testing.T) {
	files, err := filepath.Glob("testdata/vaults/*/*.zip")
	if err != nil || len(files) < 19 {
		t.Fatalf("%d corpora, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "testdata/vaults/"), ".zip"), func(t *testing.T) {
			t.Parallel()
			s, note := unzip(t, file)
			opensAsNoted(t, s, note)
			comesOutWhole(t, s, note)
			staysInUse(t, s, note)
		})
	}
}

// opensAsNoted compares a vault with its note.
func opensAsNoted(t *testing.T, s site, note corpusNote) {
	t.Helper()
	must(t, note.Status, s.with("vault", "status")...)
	must(t, note.Scrub, s.with("vault", "scrub")...)
	asNoted(t, s, note, "all drives")
	for i := range s.drives {
		if note.Missing > 0 {
			fewer := s
			for n := range note.Missing {
				at := (i + n) % len(s.drives)
				fewer.drives = slices.DeleteFunc(slices.Clone(fewer.drives), func(d string) bool { return d == s.drives[at] })
			}
			asNoted(t, fewer, note, fmt.Sprint(note.Missing, " missing from drive ", i))
		}
	}
	for _, key := range note.Keys {
		other := s
		other.key = filepath.Join(s.dir, key)
		must(t, exitOK, other.with("snapshots")...)
	}
	for _, key := range note.Removed {
		other := s
		other.key = filepath.Join(s.dir, key)
		must(t, exitFailed, other.with("snapshots")...)
	}
}

func asNoted(t *testing.T, s site, note corpusNote, what string) {
	t.Helper()
	list, state := s.told(t)
	if !maps.Equal(state, note.State) {
		t.Errorf("%s: the box's state is %v, want %v", what, state, note.State)
	}
	for _, want := range note.Snapshots {
		i := slices.IndexFunc(list, func(got corpusSnapshot) bool { return got.ID == want.ID })
		if i < 0 {
			t.Errorf("%s: snapshot %.8s is missing", what, want.ID)
			continue
		}
		got := list[i]
		if want.Phone == "" { // stock restic's; what such are called may change
			got.Phone = ""
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: snapshot %.8s holds\n%v\nwant\n%v", what, want.ID, got, want)
		}
	}
}

// comesOutWhole restores a vault's newest snapshot, and lets stock restic check an export, and the complete drives as they are.
func comesOutWhole(t *testing.T, s site, note corpusNote) {
	t.Helper()
	newest := note.Snapshots[slices.IndexFunc(note.Snapshots, func(s corpusSnapshot) bool { return s.Phone != "" })]
	to := filepath.Join(t.TempDir(), "restored")
	must(t, exitOK, s.with("restore", newest.ID, "--to", to)...)
	lines, err := linesOf(diskFS(to), true)
	if err != nil || sumOf(lines) != newest.Sum {
		t.Errorf("restored (%v):\n%s\nwant\n%s", err, strings.Join(lines, "\n"), strings.Join(newest.Lines, "\n"))
	}
	repo := filepath.Join(t.TempDir(), "repo")
	must(t, exitOK, s.with("vault", "export", "--format", "restic", "--to", repo)...)
	for _, d := range note.Complete {
		if note.Scrub == exitOK {
			sh(t, findRestic(t), "-r", filepath.Join(s.dir, d, "vault"), "--password-file", s.key, "--no-cache", "--no-lock", "check", "--read-data")
		}
	}
	sh(t, findRestic(t), "-r", repo, "--password-file", s.key, "--no-cache", "check", "--read-data")
}

// staysInUse repairs a vault, brings its plain drive up to date and backs one more phone up into it.
func staysInUse(t *testing.T, s site, note corpusNote) {
	t.Helper()
	must(t, note.Repair, s.with("vault", "repair")...)
	must(t, note.Repair, s.with("vault", "verify")...)
	asNoted(t, s, note, "repaired")
	if note.Plain != nil {
		dir := filepath.Join(s.dir, "plain")
		must(t, exitOK, s.with("drive", "refresh", dir)...)
		if got := diskSums(t, dir); !maps.Equal(got, note.Plain) {
			t.Errorf("the plain drive holds %v, want %v", got, note.Plain)
		}
	}
	phone := t.TempDir()
	writeFile(t, filepath.Join(phone, "new"), []byte("new"), time.Unix(1_800_000_000, 0))
	must(t, note.Repair, s.with("backup", "folder:"+phone)...)
	asNoted(t, s, note, "after another backup")
	if list, _ := s.told(t); len(list) != len(note.Snapshots)+1 {
		t.Errorf("%d snapshots, want one more than %d", len(list), len(note.Snapshots))
	}
}

// zipTree writes a folder into a new zip file.
func zipTree(ctx context.Context, file, dir string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	defer func() { err = errors.Join(err, z.Close(), f.Close()) }()
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: path.Clean(filepath.ToSlash(rel)), Method: zip.Deflate, Modified: info.ModTime().UTC()})
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}
