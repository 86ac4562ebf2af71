package board

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unpack copies what lies on a drive out of its image, as a computer would find it: after its file system's own check.
func (x *box) unpack(d *drive) string {
	x.Helper()
	image, out := d.disk.Path+".copy", filepath.Join(x.dir, "on-"+d.name)
	x.host("cp", "--sparse=always", d.disk.Path, image)
	if said, err := x.try("e2fsck", "-f", "-y", image); err != nil && !strings.Contains(said, "FILE SYSTEM WAS MODIFIED") {
		x.Fatalf("%s: %v\n%s", d.name, err, said)
	}
	if err := os.RemoveAll(out); err != nil {
		x.Fatal(err)
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		x.Fatal(err)
	}
	x.host("debugfs", "-R", "rdump / "+out, image)
	return filepath.Join(out, "phone-backup-box")
}

// stored has stock restic read what one drive holds of the newest snapshot: "SHA-256 size path" of each file.
func (x *box) stored(key, dir string) []string {
	x.Helper()
	b, err := built()
	if err != nil {
		x.Fatal(err)
	}
	words := x.words(key)
	restic := func(args ...string) string {
		return x.host(b.restic, append([]string{"-r", filepath.Join(dir, "vault"), "--password-file", words, "--no-cache", "--no-lock"}, args...)...)
	}
	restic("check", "--read-data")
	out := filepath.Join(x.dir, "restored")
	if err := os.RemoveAll(out); err != nil {
		x.Fatal(err)
	}
	restic("restore", "latest", "--target", out)
	return x.files(out)
}

// words writes the key as restic wants it.
func (x *box) words(key string) string {
	x.Helper()
	b, err := os.ReadFile(key)
	if err != nil {
		x.Fatal(err)
	}
	path := filepath.Join(x.dir, "password")
	if err := os.WriteFile(path, []byte(strings.TrimSpace(string(b))), 0o600); err != nil {
		x.Fatal(err)
	}
	return path
}

// files lists what lies below dir, a phone's storage above all.
func (x *box) files(dir string) (list []string) {
	x.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(h, f)
		name := path[strings.Index(path, "Internal shared storage"):]
		list = append(list, fmt.Sprintf("%x %d %s", h.Sum(nil), n, name))
		return err
	})
	if err != nil {
		x.Fatal(err)
	}
	return list
}

// holds is what a phone holds, in the words of files.
func (x *box) holds(p *phone) (list []string) {
	x.Helper()
	for _, e := range p.storage.Entries() {
		if e.Folder {
			continue
		}
		sum, err := e.SHA256()
		if err != nil {
			x.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%x %d Internal shared storage/%s", sum, e.Size, e.Path))
	}
	return list
}

// same compares lists of files.
func (x *box) same(what string, got, want []string) {
	x.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		x.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
