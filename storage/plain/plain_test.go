package plain

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"phonebackupbox/storage/vdrive/old"
)

const (
	home  = "6f6b0e5c-0000-4000-8000-000000000001"
	phone = "mtp:1234"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// file is one of a snapshot; its version is a hash of its content.
func file(content string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(content), ModTime: noon, Mode: 0o644, Sys: crc32.ChecksumIEEE([]byte(content))}
}

func options(date string) Options {
	return Options{Phone: phone, Name: "Pixel 8", Date: date, Version: func(i fs.FileInfo) string { return fmt.Sprint(i.Sys()) }}
}

func create(t *testing.T) (dir string, d *Drive) {
	t.Helper()
	dir = t.TempDir()
	d, err := Create(dir, home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return dir, d
}

func bring(t *testing.T, d *Drive, from fs.FS, o Options) Report {
	t.Helper()
	r, err := d.Update(t.Context(), from, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shown is what people see on the drive: path → content.
func shown(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		switch {
		case err != nil:
			return err
		case rel == privateDir:
			return fs.SkipDir
		case e.IsDir() || rel == noteName || rel == identityName:
			return nil
		}
		b, err := os.ReadFile(p)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func want(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	got := shown(t, dir)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if c, ok := got[name]; !ok || c != files[name] {
			t.Errorf("%q: %q (there: %v), want %q", name, c, ok, files[name])
		}
		delete(got, name)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		t.Errorf("%q is on the drive and should not be", name)
	}
}

func TestNamesThatNoComputerRefuses(t *testing.T) {
	dir, d := create(t)
	r := bring(t, d, fstest.MapFS{
		"DCIM/a.jpg": file("1"), "DCIM/A.JPG": file("2"), "DCIM/what?.jpg": file("3"), "dcim/x": file("4"),
		"con.txt": file("5"), "ends.": file("6"), strings.Repeat("ü", 200) + ".jpeg": file("7"),
	}, options("2026-07-01"))
	if r.Folder != "Pixel 8" || r.Written != 7 || len(r.Problems) > 0 {
		t.Errorf("report %+v", r)
	}
	want(t, dir, map[string]string{
		"Pixel 8/DCIM/A.JPG": "2", "Pixel 8/DCIM/a (2).jpg": "1", "Pixel 8/DCIM/what？.jpg": "3", "Pixel 8/dcim (2)/x": "4",
		"Pixel 8/_con.txt": "5", "Pixel 8/ends．": "6", "Pixel 8/" + strings.Repeat("ü", 117) + ".jpeg": "7",
	})
	if i, err := os.Stat(filepath.Join(dir, "Pixel 8/DCIM/A.JPG")); err != nil || !i.ModTime().Equal(noon) {
		t.Errorf("the date is %v (%v), want the phone's, %v", i.ModTime(), err, noon)
	}
}

func TestNothingChangedNothingWritten(t *testing.T) {
	dir, d := create(t)
	from := fstest.MapFS{"DCIM/a.jpg": file("1"), "b/c/d": file("2")}
	bring(t, d, from, options("2026-07-01"))
	stamps := func() (s []string) {
		err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			i, err := e.Info()
			if err != nil {
				return err
			}
			s = append(s, fmt.Sprint(p, i.ModTime(), i.Sys().(*syscall.Stat_t).Ino))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := stamps()
	if r := bring(t, d, from, options("2026-07-02")); r.Kept != 2 || r.Written+r.Removed > 0 {
		t.Errorf("report %+v, want two files kept", r)
	}
	if after := stamps(); !slices.Equal(before, after) {
		t.Errorf("written to although nothing changed:\n%q\n%q", before, after)
	}
}

func TestChangesAndRemovals(t *testing.T) {
	dir, d := create(t)
	bring(t, d, fstest.MapFS{
		"DCIM/a": file("1"), "DCIM/b": file("2"), "old/x/y": file("3"), "turns": file("4"), "was/dir": file("5"), "Img": file("6"),
	}, options("2026-07-01"))
	if err := os.WriteFile(filepath.Join(dir, "Pixel 8/old/mine"), []byte("owner's"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := bring(t, d, fstest.MapFS{"DCIM/a": file("1b"), "turns/in": file("7"), "was": file("8"), "img": file("9")}, options("2026-07-02"))
	if r.Written != 4 || r.Removed != 5 || r.Kept != 0 {
		t.Errorf("report %+v", r)
	}
	gone := removedDir + "/2026-07-02/Pixel 8/"
	want(t, dir, map[string]string{
		"Pixel 8/DCIM/a": "1b", "Pixel 8/turns/in": "7", "Pixel 8/was": "8", "Pixel 8/img": "9", "Pixel 8/old/mine": "owner's",
		gone + "DCIM/b": "2", gone + "old/x/y": "3", gone + "turns": "4", gone + "was/dir": "5", gone + "Img": "6",
	})
	partial := options("2026-07-03")
	partial.KeepAbsent = true
	if r := bring(t, d, fstest.MapFS{"DCIM/new": file("n")}, partial); r.Removed != 0 || r.Written != 1 {
		t.Errorf("a partial snapshot: report %+v, want one file written and none removed", r)
	}
	if got := shown(t, dir)["Pixel 8/DCIM/a"]; got != "1b" {
		t.Errorf("what a partial snapshot lacks is %q, want it as it was", got)
	}
}

func TestTheOwnersFilesStay(t *testing.T) {
	dir, d := create(t)
	for name, content := range map[string]string{"Pixel 8/DCIM/a": "mine", "letters.txt": "dear"} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	bring(t, d, fstest.MapFS{"DCIM/a": file("phone"), "DCIM/b": file("b1")}, options("2026-07-01"))
	if err := os.WriteFile(filepath.Join(dir, "Pixel 8/DCIM/b"), []byte("b edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	bring(t, d, fstest.MapFS{"DCIM/a": file("phone"), "DCIM/b": file("b1")}, options("2026-07-02"))
	files := map[string]string{
		"letters.txt": "dear", "Pixel 8/DCIM/a": "mine", "Pixel 8/DCIM/a (2)": "phone", "Pixel 8/DCIM/b": "b edited", "Pixel 8/DCIM/b (2)": "b1",
	}
	want(t, dir, files)
	bring(t, d, fstest.MapFS{}, options("2026-07-03"))
	delete(files, "Pixel 8/DCIM/a (2)")
	delete(files, "Pixel 8/DCIM/b (2)")
	files[removedDir+"/2026-07-03/Pixel 8/DCIM/a (2)"], files[removedDir+"/2026-07-03/Pixel 8/DCIM/b (2)"] = "phone", "b1"
	want(t, dir, files)
}

// A file keeps being ours when only its date is another, which FAT does in another time zone, and when the lists are lost
// or damaged.
func TestOursIsKnownByItsContent(t *testing.T) {
	dir, d := create(t)
	from := fstest.MapFS{"DCIM/a": file("1"), "b": file("2")}
	bring(t, d, from, options("2026-07-01"))
	p := filepath.Join(dir, "Pixel 8/b")
	if err := os.Chtimes(p, noon.Add(time.Hour), noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if r := bring(t, d, from, options("2026-07-02")); r.Written != 0 {
		t.Errorf("another date: report %+v, want nothing written", r)
	}
	if err := os.RemoveAll(filepath.Join(dir, listsDir)); err != nil {
		t.Fatal(err)
	}
	if r := bring(t, d, from, options("2026-07-02")); r.Written != 0 || r.Kept != 2 {
		t.Errorf("without lists: report %+v, want both kept", r)
	}
	want(t, dir, map[string]string{"Pixel 8/DCIM/a": "1", "Pixel 8/b": "2"})
}

// TestInterruptedAnywhere stops an update before each of its renames. Every file is as it was or as it is to be, and the
// next update finishes without a trace of the first.
func TestInterruptedAnywhere(t *testing.T) {
	one := fstest.MapFS{"DCIM/a": file("1"), "DCIM/b": file("2"), "x/y": file("3")}
	two := fstest.MapFS{"DCIM/a": file("1b"), "DCIM/c": file("4"), "x": file("5"), "new/z": file("6")}
	stop := errors.New("stop")
	final := map[string]string{
		"Pixel 8/DCIM/a": "1b", "Pixel 8/DCIM/c": "4", "Pixel 8/x": "5", "Pixel 8/new/z": "6",
		removedDir + "/d/Pixel 8/DCIM/b": "2", removedDir + "/d/Pixel 8/x/y": "3",
	}
	for n := 0; ; n++ {
		dir, d := create(t)
		bring(t, d, one, options("c"))
		left := n
		d.crash = func() error {
			if left--; left < 0 {
				return stop
			}
			return nil
		}
		_, err := d.Update(t.Context(), two, options("d"))
		if err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
		a := shown(t, dir)["Pixel 8/DCIM/a"]
		if a != "1" && a != "1b" {
			t.Errorf("stopped before rename %d: DCIM/a is %q", n, a)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		bring(t, again, two, options("d"))
		want(t, dir, final)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if left >= 0 {
			if n < 8 {
				t.Errorf("only %d renames: what did this test stop?", n)
			}
			return
		}
		if t.Failed() {
			t.Fatalf("stopped before rename %d", n)
		}
	}
}

func TestNoRoom(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small file system to fill: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d, err := Create(dir, home)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	big := func(c string) *fstest.MapFile { return file(strings.Repeat(c, 600<<10)) }
	bring(t, d, fstest.MapFS{"a": big("a")}, options("2026-07-01"))
	bring(t, d, fstest.MapFS{}, options("2026-07-02"))
	if r := bring(t, d, fstest.MapFS{"b": big("b")}, options("2026-07-03")); r.Written != 1 {
		t.Errorf("report %+v: what was removed did not make room", r)
	}
	r := bring(t, d, fstest.MapFS{"b": big("b"), "c": big("c"), "d": file("small")}, options("2026-07-04"))
	if r.Written != 1 || len(r.Problems) != 1 || r.Problems[0].Name != "c" {
		t.Errorf("report %+v, want the small file written and the other named", r)
	}
	want(t, dir, map[string]string{"Pixel 8/b": strings.Repeat("b", 600<<10), "Pixel 8/d": "small"})
}

func TestOpenAndCreate(t *testing.T) {
	dir, d := create(t)
	if _, err := Open(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("a second process: %v, want %v", err, ErrBusy)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, "another"); !errors.Is(err, ErrTaken) {
		t.Errorf("another vault's: %v, want %v", err, ErrTaken)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotPlain) {
		t.Errorf("any folder: %v, want %v", err, ErrNotPlain)
	}
	protected := t.TempDir()
	if err := os.WriteFile(filepath.Join(protected, vaultDrive), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(protected, home); !errors.Is(err, ErrTaken) {
		t.Errorf("a drive of a vault: %v, want %v", err, ErrTaken)
	}
}

func TestTwoPhonesOfOneName(t *testing.T) {
	dir, d := create(t)
	bring(t, d, fstest.MapFS{"a": file("1")}, options("2026-07-01"))
	other := options("2026-07-01")
	other.Phone = "mtp:5678"
	bring(t, d, fstest.MapFS{"a": file("2")}, other)
	private := options("2026-07-01")
	private.Phone, private.Name = "mtp:9", removedDir
	bring(t, d, fstest.MapFS{"a": file("3")}, private)
	want(t, dir, map[string]string{"Pixel 8/a": "1", "Pixel 8 (2)/a": "2", removedDir + " (2)/a": "3"})
}

func FuzzReadList(f *testing.F) {
	f.Add([]byte(`{"from":"YQ==","as":"a","size":1,"mtime":5,"version":"v","sum":"00"}` + "\n\n{torn"))
	seeds, err := old.Files(func(name string) bool { return strings.HasPrefix(name, "plain/"+listsDir+"/") })
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range seeds {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		list, err := readList(strings.NewReader(string(p)))
		if err != nil {
			t.Fatal(err)
		}
		again, err := readList(strings.NewReader(string(encodeList(list))))
		if err != nil || !sameList(list, again) {
			t.Errorf("%v became %v (%v)", list, again, err)
		}
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`{"format":1,"role":"plain","vault":"v"}`))
	f.Add([]byte(`{"format":2,"role":"plain","vault":"v"}`))
	seeds, err := old.Files(func(name string) bool { return name == "plain/"+identityName })
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range seeds {
		if _, err := parseIdentity(p); err != nil {
			f.Errorf("%s: %v", p, err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		id, err := parseIdentity(p)
		if err != nil {
			if !errors.Is(err, ErrNotPlain) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		q, err := json.Marshal(id)
		if again, perr := parseIdentity(q); err != nil || perr != nil || again != id || id.Format != format {
			t.Errorf("%+v became %+v (%v, %v)", id, again, err, perr)
		}
	})
}

func FuzzFit(f *testing.F) {
	for _, s := range []string{"a", "con", "a:b", "...", " ", "\xff", "LPT1.txt", strings.Repeat("é", 300), "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return
		}
		got := fit(s)
		if !validName(got) || strings.ContainsAny(got, `<>:"/\|?*`) || strings.HasSuffix(got, ".") || strings.HasSuffix(got, " ") {
			t.Errorf("fit(%q) = %q", s, got)
		}
		if again := fit(got); again != got {
			t.Errorf("fit(%q) = %q, and then %q", s, got, again)
		}
	})
}

// On FAT a video of more than 4 GB stays away, and is named; all else arrives.
func TestTooLargeForFAT(t *testing.T) {
	dir, d := create(t)
	o := options("2026-07-01")
	o.MaxFile = 8
	r := bring(t, d, fstest.MapFS{"a.jpg": file("small"), "film.mp4": file("much too large"), "z.jpg": file("just fits"[:8])}, o)
	if r.Written != 2 || len(r.Problems) != 1 || r.Problems[0].Name != "film.mp4" || !strings.Contains(r.Problems[0].Reason, "FAT32: 4 GB") {
		t.Errorf("%+v", r)
	}
	want(t, dir, map[string]string{"Pixel 8/a.jpg": "small", "Pixel 8/z.jpg": "just fit"})
}
