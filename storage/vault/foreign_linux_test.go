package vault

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stockAll tries every kind of stock repository, with 20,000 files in a folder; make soak and make e2e-all do.
var stockAll = flag.Bool("stock-all", false, "try every kind of stock repository, with big folders")

// bigFolder is the folder of someHome that has many files.
const bigFolder = "big"

// someHome fills a folder with what people back up with stock restic and phones do not have: links of both kinds, extended
// attributes, modes, a pipe and a device, deep folders, names of any bytes, a folder with many files.
func someHome(t *testing.T, many int) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, data []byte, mode fs.FileMode, mtime time.Time) {
		t.Helper()
		must(os.MkdirAll(filepath.Dir(at(name)), 0o755))
		must(os.WriteFile(at(name), data, 0o600))
		must(os.Chmod(at(name), mode))
		must(os.Chtimes(at(name), mtime, mtime))
	}
	for _, f := range somePhone(5) {
		put(f.name, f.data, 0o644, f.mtime)
	}
	may := time.Date(2023, 5, 4, 3, 2, 1, 987654321, time.UTC)
	put("modes/secret", []byte("for my eyes only"), 0o600, may)
	put("modes/script", []byte("#!/bin/sh\n"), 0o755, may)
	put("modes/setuid", []byte("x"), 0o755|fs.ModeSetuid, may)
	must(os.Mkdir(at("modes/shared"), 0o755))
	must(os.Chmod(at("modes/shared"), 0o777|fs.ModeSticky))
	put("links/one", bytes.Repeat([]byte("hard "), 1000), 0o644, may)
	must(os.Link(at("links/one"), at("links/two")))
	must(os.Link(at("links/one"), at("bytes/three")))
	for name, target := range map[string]string{"relative": "one", "dangling": "no/where", "absolute": "/etc/passwd", "up": "../modes",
		"bytes\xff\n": "\xfe\x01 \"odd\"\n", "long": strings.Repeat("x/", 1000)} {
		must(os.Symlink(target, at("links/"+name)))
	}
	put("attributes/file", []byte("a"), 0o644, may)
	must(unix.Setxattr(at("attributes/file"), "user.comment", []byte("any \x00\xff bytes"), 0))
	must(unix.Setxattr(at("attributes/file"), "user.empty", nil, 0))
	must(unix.Setxattr(at("attributes"), "user.on-a-folder", []byte("b"), 0))
	must(unix.Mkfifo(at("pipe"), 0o640))
	if err := unix.Mknod(at("device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	put(strings.Repeat("deep/", 200)+"bottom", []byte("b"), 0o644, may)
	for i := range many {
		put(fmt.Sprintf("%s/IMG_%05d.jpg", bigFolder, i), []byte{byte(i % 9)}, 0o644, may.Add(time.Duration(i)*time.Second))
	}
	return dir
}

// described tells everything about a folder that a backup can keep: types, modes, owners, times, content, targets, extended
// attributes, devices, and which names are one file.
func described(t *testing.T, dir string, without string) string {
	t.Helper()
	var b strings.Builder
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil || name == "." {
			return err
		}
		if name == without {
			return fs.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q mode %o owner %d:%d time %d.%09d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		if st.Nlink > 1 && !d.IsDir() {
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			fmt.Fprintf(&b, " is %q", first[st.Ino])
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " sha256 %x", sha256.Sum256(data))
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " to %q", target)
		case unix.S_IFCHR:
			fmt.Fprintf(&b, " device %#x", st.Rdev)
		}
		attrs, err := attributes(p)
		fmt.Fprintf(&b, "%s\n", attrs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func attributes(p string) (string, error) {
	list := make([]byte, 1000)
	n, err := unix.Llistxattr(p, list)
	if err != nil {
		return "", err
	}
	s := ""
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 1000)
		n, err := unix.Lgetxattr(p, name, value)
		if err != nil {
			return "", err
		}
		s += fmt.Sprintf(" %s=%q", name, value[:n])
	}
	return s, nil
}

// mangle is what restic 0.14 makes of the target of a link that is no UTF-8: its format had no field for that yet.
func mangle(target string) string { return strings.ReplaceAll(target, "\xfe", "\ufffd") }

// sameHome compares a snapshot of a stock repository with the folder that it was taken of, as far as an fs.FS tells.
func sameHome(t *testing.T, fsys *FS, dir, without string, mangled bool) {
	t.Helper()
	root, n := strings.TrimPrefix(dir, "/"), 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		if filepath.Base(p) == without {
			return fs.SkipDir
		}
		want, err := d.Info()
		if err != nil {
			return err
		}
		name := root + strings.TrimPrefix(p, dir)
		got, err := fsys.Stat(name)
		if err != nil {
			return err
		}
		n++
		if got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()) {
			t.Errorf("%q: %v %v, want %v %v", name, got.Mode(), got.ModTime(), want.Mode(), want.ModTime())
		}
		switch {
		case want.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			p, err := fsys.ReadFile(name)
			if err != nil || !bytes.Equal(p, data) {
				t.Errorf("%q: other content, %v", name, err)
			}
		case want.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			if mangled {
				target = mangle(target)
			}
			if link, err := fsys.ReadLink(name); err != nil || link != target {
				t.Errorf("%q leads to %q, want %q (%v)", name, link, target, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 500 {
		t.Errorf("only %d files and folders to compare", n)
	}
	total := 0
	err = fs.WalkDir(fsys, root, func(name string, _ fs.DirEntry, err error) error { total++; return err })
	if err != nil || total != n+1 {
		t.Errorf("%d files and folders, want %d (%v)", total, n+1, err)
	}
}

// TestRepositoriesOfStockRestic opens repositories of both formats that an old and a new restic wrote, in every way that they
// compress, and compares them with what was backed up; then takes them over into a vault of ours, from which stock restic
// restores everything as it was, also what a vault of ours has no field for.
func TestRepositoriesOfStockRestic(t *testing.T) {
	many := 2000
	if *stockAll {
		many = 20_000
	}
	home := someHome(t, many)
	whole, most := described(t, home, ""), described(t, home, bigFolder)
	if !strings.Contains(whole, `user.comment="any \x00\xff bytes"`) || strings.Count(whole, `is "bytes/three"`) != 3 {
		t.Fatalf("this file system keeps no attributes or links:\n%.3000s", most)
	}
	for _, tt := range []struct {
		release, version, compression string
		big, always                   bool // with the folder of many files; in every run of the tests
	}{
		{"0.14", "1", "auto", true, true},
		{"0.14", "2", "off", false, false},
		{"0.14", "2", "auto", false, false},
		{"0.14", "2", "max", false, false},
		{"0.18", "1", "auto", false, false},
		{"0.18", "2", "off", false, false},
		{"0.18", "2", "auto", true, false},
		{"0.18", "2", "max", false, true},
	} {
		if !tt.always && !*stockAll {
			continue
		}
		t.Run(fmt.Sprintf("%s, version %s, compression %s", tt.release, tt.version, tt.compression), func(t *testing.T) {
			t.Parallel() // they wait for the disk
			without, want, args := "", whole, []string{"backup", "--compression", tt.compression, home}
			if !tt.big {
				without, want, args = bigFolder, most, append(args, "--exclude", filepath.Join(home, bigFolder))
			}
			if tt.release == "0.14" {
				want = strings.ReplaceAll(want, `"\xfe`, `"�`)
			}
			dir := filepath.Join(t.TempDir(), "repo")
			restic := stockOf(t, tt.release, dir, passphrase)
			restic("init", "--repository-version", tt.version)
			restic(args...)
			store := loadStore(t, dir)
			from := openVault(t, store, passphrase)
			s, err := from.Find(t.Context(), "latest")
			if err != nil || !s.Foreign {
				t.Fatalf("%+v %v", s, err)
			}
			fsys, err := from.FS(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			sameHome(t, fsys, home, without, tt.release == "0.14")
			if r, err := from.Verify(t.Context(), nil); err != nil || !r.OK() || r.Snapshots != 1 {
				t.Errorf("verify: %+v %v", r, err)
			}

			n := newMapStore()
			to, words := newVault(t, n)
			backup(t, to, pixel, somePhone(5)[:4])
			if r := copyAll(t, to, from); len(r.Copied) != 1 || len(r.Failed) > 0 || r.Copied[0].tree != s.tree {
				t.Fatalf("%+v", r)
			}
			out, restored := t.TempDir(), t.TempDir()
			n.save(t, out)
			for _, release := range []string{tt.release, "0.18"} {
				if out := stockOf(t, release, out, words)("check", "--read-data"); !strings.Contains(out, "no errors were found") {
					t.Errorf("check by %s: %s", release, out)
				}
			}
			stockOf(t, "0.18", out, words)("restore", "--target", restored, "latest:"+home, "--path", home)
			if got := described(t, restored, ""); got != want {
				t.Errorf("restored from the copy:\n%s", firstDifference(want, got))
			}
		})
	}
}

// firstDifference shows the first line in which two texts differ.
func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%.300s\nwant\n%.300s", b[i], a[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(b), len(a))
}
