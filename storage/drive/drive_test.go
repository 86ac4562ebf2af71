package drive_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/drive"
)

const vaultID = "0f8fad5b-d9cb-469f-a165-70867728950e"

func create(t *testing.T) *drive.Drive {
	t.Helper()
	d, err := drive.Create(filepath.Join(t.TempDir(), "drive"), vaultID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func reopen(t *testing.T, dir string, o drive.Options) *drive.Drive {
	t.Helper()
	d, err := drive.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); e != nil && !e.IsDir() {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

const own = ".phone-backup-box/lock README.html phone-backup-box.json"

func TestCheck(t *testing.T) {
	d := create(t)
	if err := storage.Check(t.Context(), d); err != nil {
		t.Error(err)
	}
	if got := files(t, d.Dir()); got != own {
		t.Errorf("after the check there are %s", got)
	}
	if e, err := os.ReadDir(d.Dir()); err != nil || len(e) != 3 {
		t.Errorf("after the check the folder holds %v, %v", e, err)
	}
}

func TestNamesAreFiles(t *testing.T) {
	ctx := t.Context()
	d := create(t)
	name := "vault/data/ab/abcd"
	if err := d.Put(ctx, name, []byte("pack")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir(), name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the name is there before Sync: %v", err)
	}
	if err := d.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(d.Dir(), name))
	if err != nil || info.Size() != 4 || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for path, mode := range map[string]fs.FileMode{"": 0o755, "README.html": 0o644, "vault": 0o700} {
		if info, err := os.Stat(filepath.Join(d.Dir(), path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v, %v; want mode %v", path, info, err, mode)
		}
	}
	for _, bad := range []string{"config", "phone-backup-box.json", ".phone-backup-box/lock"} {
		if err := d.Put(ctx, bad, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("put %s: %v", bad, err)
		}
	}
}

func TestOwnersFilesStay(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	for _, name := range []string{"photo.jpg", "README.html"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := drive.Create(dir, vaultID)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := storage.Check(ctx, d); err != nil {
		t.Error(err)
	}
	for info, err := range d.List(ctx, "") {
		t.Errorf("listed: %v, %v", info, err)
	}
	for _, name := range []string{"photo.jpg", "README.html"} {
		if p, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(p) != "mine" {
			t.Errorf("%s: %q, %v", name, p, err)
		}
	}
}

func TestReopen(t *testing.T) {
	ctx := t.Context()
	d := create(t)
	if err := errors.Join(d.Put(ctx, "vault/a", []byte("a")), d.Sync(ctx), d.Put(ctx, "vault/b", []byte("b")), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(ctx, "vault/c", nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("put after close: %v", err)
	}
	e := reopen(t, d.Dir(), drive.Options{})
	if e.ID() != d.ID() || e.Vault() != vaultID {
		t.Errorf("drive %s of vault %s came back as %s of %s", d.ID(), vaultID, e.ID(), e.Vault())
	}
	if got, want := files(t, d.Dir()), own+" vault/a"; got != want {
		t.Errorf("files: %s; want %s", got, want)
	}
}

// A process that dies leaves pending files and its lock; neither is in the way.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("DRIVE_TEST_DIE"); dir != "" {
		d, err := drive.Open(dir, drive.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Put(t.Context(), "vault/torn", make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		defer d.Close() // never runs, and keeps the lock's file from being collected
		fmt.Println("ready")
		select {}
	}
	d := create(t)
	if err := errors.Join(d.Put(t.Context(), "vault/a", []byte("a")), d.Sync(t.Context()), d.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "DRIVE_TEST_DIE="+d.Dir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if _, err := drive.Open(d.Dir(), drive.Options{}); !errors.Is(err, drive.ErrBusy) || !strings.Contains(err.Error(), d.Dir()) {
		t.Errorf("while another process writes: %v", err)
	}
	r := reopen(t, d.Dir(), drive.Options{ReadOnly: true})
	if got, err := storage.ReadAll(t.Context(), r, "vault/a", 9); err != nil || string(got) != "a" {
		t.Errorf("reader beside a writer: %q, %v", got, err)
	}
	if err := r.Put(t.Context(), "vault/x", nil); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("put by a reader: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("killed child exits 0")
	}
	reopen(t, d.Dir(), drive.Options{})
	if got, want := files(t, d.Dir()), own+" vault/a"; got != want {
		t.Errorf("files: %s; want %s", got, want)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "vault"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := create(t)
	damaged := create(t)
	ident := filepath.Join(damaged.Dir(), "phone-backup-box.json")
	p, err := os.ReadFile(ident)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ident, bytes.Replace(p, []byte("0f8fad5b"), []byte("0f8fad5a"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		try  func() (*drive.Drive, error)
		want []string // in the message
		is   error
	}{
		{"open a folder that is none", func() (*drive.Drive, error) { return drive.Open(dir, drive.Options{}) }, []string{dir}, drive.ErrNoIdentity},
		{"open a file", func() (*drive.Drive, error) { return drive.Open(file, drive.Options{}) }, []string{file, "is a file"}, nil},
		{"open nothing", func() (*drive.Drive, error) { return drive.Open(dir+"/no", drive.Options{}) }, []string{dir + "/no", "plugged in"}, storage.ErrUnavailable},
		{"open twice", func() (*drive.Drive, error) { return drive.Open(d.Dir(), drive.Options{}) }, []string{d.Dir()}, drive.ErrBusy},
		{"open with a damaged identity", func() (*drive.Drive, error) { return drive.Open(damaged.Dir(), drive.Options{}) }, []string{ident, "damaged"}, nil},
		{"create in a file", func() (*drive.Drive, error) { return drive.Create(file, vaultID) }, []string{file, "is a file"}, nil},
		{"create twice", func() (*drive.Drive, error) { return drive.Create(d.Dir(), vaultID) }, []string{d.Dir()}, drive.ErrExists},
		{"create over a folder of the same name", func() (*drive.Drive, error) { return drive.Create(taken, vaultID) }, []string{taken, "vault"}, nil},
	} {
		got, err := tt.try()
		if err == nil {
			got.Close()
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		for _, want := range append(tt.want, "drive: ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", tt.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has more than a line", tt.name, err)
		}
	}
}

// A drive that is pulled leaves an empty mount point; nothing may be written below it, and nothing is "not there".
func TestVanished(t *testing.T) {
	ctx := t.Context()
	d := create(t)
	if err := errors.Join(d.Put(ctx, "vault/a", []byte("a")), d.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.Dir(), d.Dir()+"-elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Put(ctx, "vault/b", []byte("b")), d.Sync(ctx)); err != nil {
		t.Error(err)
	}
	if got := files(t, d.Dir()); got != "" {
		t.Errorf("written into the mount point: %s", got)
	}
	if err := os.RemoveAll(d.Dir() + "-elsewhere"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stat(ctx, "vault/a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("stat on a drive that is gone: %v", err)
	}
	if err := d.Put(ctx, "vault/c", nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("put on a drive that is gone: %v", err)
	}
	for _, err := range d.List(ctx, "vault/") {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("list on a drive that is gone: %v", err)
		}
	}
}

// A flush that fails may have lost what was written; a later one that works proves nothing.
func TestFailedFlushIsFinal(t *testing.T) {
	ctx := t.Context()
	d := create(t)
	if err := d.Put(ctx, "vault/a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	pending := filepath.Join(d.Dir(), ".phone-backup-box", "pending")
	e, err := os.ReadDir(pending)
	if err != nil || len(e) != 1 {
		t.Fatal(e, err)
	}
	if err := os.Remove(filepath.Join(pending, e[0].Name())); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(ctx); err == nil {
		t.Error("sync of a file that is gone is fine")
	}
	if err := d.Put(ctx, "vault/b", nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("put after a failed flush: %v", err)
	}
	if err := d.Sync(ctx); err == nil {
		t.Error("sync after a failed flush is fine")
	}
}

func TestSpace(t *testing.T) {
	s, err := create(t).Space(t.Context())
	if err != nil || s.Free <= 0 || s.Free >= s.Total {
		t.Errorf("%+v, %v", s, err)
	}
}
