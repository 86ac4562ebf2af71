//go:build !rescue

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// childMark as the first argument makes the test binary run as boxd, so that a test can kill it.
const childMark = "run-as-boxd"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childMark {
		os.Exit(process(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == stuckMark {
		os.Exit(backUpStuck(os.Args[2], os.Args[3], os.Args[4:]))
	}
	if len(os.Args) > 1 && os.Args[1] == firstMark {
		os.Exit(adoptAndDie(os.Args[2:]))
	}
	os.Exit(inOwnCache(m.Run))
}

// inOwnCache runs the tests with a folder for caches that is not the user's.
func inOwnCache(run func() int) int {
	dir, err := os.MkdirTemp("", "boxd-cache-")
	if err == nil {
		err = os.Setenv("XDG_CACHE_HOME", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// boxd runs one command line in this process.
func boxd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, stdio{strings.NewReader(""), &out, &err})
	return code, out.String(), err.String()
}

// must runs a command line that has to exit with code.
func must(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	got, out, errs := boxd(t, args...)
	if got != code {
		t.Fatalf("boxd %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	return out, errs
}

// decode reads the one JSON document that a command printed.
func decode[T any](t *testing.T, s string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	if err := d.Decode(&v); err != nil || d.More() {
		t.Fatalf("not one JSON document (%v):\n%s", err, s)
	}
	return v
}

// site is a vault on folders, with the flags that name it.
type site struct {
	dir, key string
	drives   []string
}

// newSite makes a vault over n drives that survives m.
func newSite(t *testing.T, n, m int) site {
	t.Helper()
	s := site{dir: t.TempDir()}
	s.key = filepath.Join(s.dir, "key")
	for i := range n {
		s.drives = append(s.drives, filepath.Join(s.dir, fmt.Sprintf("drive%d", i)))
	}
	must(t, exitOK, s.with("vault", "create", "--survive", fmt.Sprint(m))...)
	return s
}

// with adds the site's flags to a command line.
func (s site) with(args ...string) []string { return append(args, s.flags(-1)...) }

// without is with, one drive left out.
func (s site) without(i int, args ...string) []string { return append(args, s.flags(i)...) }

func (s site) flags(without int) []string {
	flags := []string{"--key-file", s.key}
	for i, d := range s.drives {
		if i != without {
			flags = append(flags, "--drive", d)
		}
	}
	return flags
}

// awkward are names that Linux allows and backup programs trip over.
var awkward = []string{
	"plain.txt", "Été à Nice.txt", "写真.jpg", "😀.png", "two\nlines", "tab\there", "quote\"s and \\ back", "bad\xff\xfeutf8",
	"case", "CASE", "-rf", " lead and trail ", "con.", "a/b/c/deep", "empty/.keep", "\x01ctrl\x1b[31m",
}

// makePhone fills a folder as a phone would: awkward names, an empty file, small and large ones, odd times.
func makePhone(t *testing.T, dir string) {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{7})
	put := func(name string, n int, i int) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, n)
		if _, err := rnd.Read(b); err != nil {
			t.Fatal(err)
		}
		writeFile(t, p, b, time.Unix(1_600_000_000+int64(i)*1009, int64(i)*1_000_003))
	}
	for i, name := range awkward {
		put(name, i*1000, i)
	}
	for i := range 200 {
		put(fmt.Sprintf("small/%d/%03d.bin", i%7, i), int(rnd.Uint64()%3000), i)
	}
	put("DCIM/big.mp4", 9<<20+17, 5) // three chunks
	if err := os.Mkdir(filepath.Join(dir, "empty folder"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, p string, b []byte, mtime time.Time) {
	t.Helper()
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(p, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

// contents reads a folder: every file's bytes and time, every folder's presence.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			all[rel] = "folder"
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		all[rel] = fmt.Sprintf("%d %x", info.ModTime().UnixNano(), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// same fails the test where two folders differ, and names what does.
func same(t *testing.T, want, got map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[name]; !ok {
			t.Errorf("%q is missing", name)
		} else if g != want[name] {
			t.Errorf("%q differs: %.60s, want %.60s", name, g, want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q was not there before", name)
		}
	}
}

func TestBackupAndRestoreWithAnyDriveMissing(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	out, _ := must(t, exitOK, s.with("backup", "folder:"+phone, "--json")...)
	res := decode[backupResult](t, out)
	if !res.Complete || res.Listed != res.Stored || res.Listed != len(awkward)+201 {
		t.Errorf("backup: %+v", res)
	}
	want := contents(t, phone)
	for missing := range 3 {
		to := filepath.Join(t.TempDir(), "restored")
		must(t, exitOK, s.without(missing, "restore", "latest", "--to", to)...)
		same(t, want, contents(t, to))
	}
	if code, _, errs := boxd(t, append(s.without(0), "--help")...); code == exitOK {
		t.Errorf("flags alone are no command: %s", errs)
	}
}

func TestSecondBackupKeepsWhatDidNotChange(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	writeFile(t, filepath.Join(phone, "new.txt"), []byte("new"), time.Unix(1_700_000_000, 0))
	if err := os.Remove(filepath.Join(phone, "plain.txt")); err != nil {
		t.Fatal(err)
	}
	out, _ := must(t, exitOK, s.with("backup", "folder:"+phone, "--json")...)
	if res := decode[backupResult](t, out); res.Stored != 1 || res.Moved != 3 || res.Removed != 1 {
		t.Errorf("second backup: %+v", res)
	}
	out, _ = must(t, exitOK, s.with("snapshots", "--json")...)
	list := decode[[]snapshotJSON](t, out)
	if len(list) != 2 || list[0].Generation != 2 || list[1].Generation != 1 || list[0].Phone != "folder:"+phone || !list[0].Complete {
		t.Errorf("snapshots: %+v", list)
	}
	// The first snapshot is what it was.
	out, _ = must(t, exitOK, s.with("cat", list[1].ID[:10], "a/b/c/deep")...)
	if len(out) != 13000 {
		t.Errorf("cat gave %d bytes", len(out))
	}
	to := t.TempDir()
	must(t, exitOK, s.with("restore", list[1].ID, "--to", to)...)
	if _, err := os.Stat(filepath.Join(to, "plain.txt")); err != nil {
		t.Error(err)
	}
}

func TestListing(t *testing.T) {
	s, phone := newSite(t, 2, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	out, _ := must(t, exitOK, s.with("ls", "latest:folder:"+phone, "--json")...)
	names := map[string]entryJSON{}
	for _, e := range decode[[]entryJSON](t, out) {
		names[e.Name] = e
	}
	for _, quoted := range []string{`bad\xff\xfeutf8`, `two\nlines`, `quote\"s and \\ back`, "写真.jpg"} {
		if _, ok := names[quoted]; !ok {
			t.Errorf("no %s in %v", quoted, slices.Sorted(maps.Keys(names)))
		}
	}
	if names["DCIM"].Type != "dir" {
		t.Errorf("DCIM: %+v", names["DCIM"])
	}
	out, _ = must(t, exitOK, s.with("ls", "latest")...)
	if strings.ContainsAny(out, "\x01\x1b") || !strings.Contains(out, `\x1b[31m`) {
		t.Errorf("control characters reach the terminal: %q", out)
	}
	out, _ = must(t, exitOK, s.with("ls", "latest", "/DCIM/")...)
	if !strings.Contains(out, "big.mp4") {
		t.Errorf("ls /DCIM/: %s", out)
	}
	_, errs := must(t, exitFailed, s.with("ls", "latest", "nowhere")...)
	if !strings.Contains(errs, `"nowhere"`) {
		t.Errorf("error: %s", errs)
	}
}

func TestStockResticReadsIt(t *testing.T) {
	restic := findRestic(t)
	phone := t.TempDir()
	makePhone(t, phone)
	want := contents(t, phone)
	check := func(t *testing.T, repo, key string) {
		t.Helper()
		to := t.TempDir()
		sh(t, restic, "-r", repo, "--password-file", key, "--no-cache", "check", "--read-data")
		sh(t, restic, "-r", repo, "--password-file", key, "--no-cache", "restore", "latest", "--target", to)
		same(t, want, contents(t, to))
	}
	t.Run("export from any two of three drives", func(t *testing.T) {
		s := newSite(t, 3, 1)
		must(t, exitOK, s.with("backup", "folder:"+phone)...)
		for missing := range 3 {
			repo := filepath.Join(t.TempDir(), "repo")
			must(t, exitOK, s.without(missing, "vault", "export", "--format", "restic", "--to", repo)...)
			check(t, repo, s.key)
		}
	})
	t.Run("one drive of two, as it is", func(t *testing.T) {
		s := newSite(t, 2, 1)
		must(t, exitOK, s.with("backup", "folder:"+phone)...)
		for _, d := range s.drives {
			check(t, filepath.Join(d, "vault"), s.key)
		}
	})
}

// findRestic is the stock restic that "make test" built.
func findRestic(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs("../../.cache/bin/restic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err == nil {
		return p
	}
	if p, err = exec.LookPath("restic"); err != nil {
		t.Fatal("stock restic is missing: make test builds it")
	}
	return p
}

func sh(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
