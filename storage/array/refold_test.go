package array_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// refold names drives, with commas between them.
var refold = flag.String("refold", "", "the `folders` of drives whose ledger is to be in pieces")

// TestRefold leaves the ledger of real drives in pieces, as years of nights would: for the corpora that cmd/boxd makes.
func TestRefold(t *testing.T) {
	if *refold == "" {
		t.Skip("-refold was not given")
	}
	var ms []array.Member
	drives := make(map[string]*vdrive.Drive)
	for i, dir := range strings.Split(*refold, ",") {
		text, err := os.ReadFile(filepath.Join(dir, "phone-backup-box.json"))
		if err != nil {
			t.Fatal(err)
		}
		var is struct{ Drive string }
		if err := json.Unmarshal(text, &is); err != nil {
			t.Fatal(err)
		}
		drives[dir] = loaded(t, uint64(i), dir)
		ms = append(ms, array.Member{ID: is.Drive, Label: filepath.Base(dir), Store: drives[dir]})
	}
	a, err := array.Open(t.Context(), ms, array.Options{})
	if err != nil {
		t.Fatal(err)
	}
	array.SetFold(a, 1)
	n := health(t, a).Survive
	for _, survive := range []int{n + 1, n} { // a checkpoint comes after each
		if err := a.SetSurvive(t.Context(), survive); err != nil {
			t.Fatal(err)
		}
	}
	for dir, d := range drives {
		unloadLedger(t, d, dir)
	}
}

// loaded is a simulated drive with the files of a real one.
func loaded(t *testing.T, seed uint64, dir string) *vdrive.Drive {
	d := vdrive.New(seed)
	for _, top := range []string{"vault", "shards", "parity", "ledger", "ledger-copy"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
				return nil
			}
			if err != nil {
				return err
			}
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			return errors.Join(err, d.Put(t.Context(), filepath.ToSlash(name), p))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// unloadLedger puts a simulated drive's ledger in the place of a real one's.
func unloadLedger(t *testing.T, d *vdrive.Drive, dir string) {
	for _, top := range []string{"ledger/", "ledger-copy/"} {
		if err := os.RemoveAll(filepath.Join(dir, top)); err != nil {
			t.Fatal(err)
		}
		for info, err := range d.List(t.Context(), top) {
			if err != nil {
				t.Fatal(err)
			}
			p, err := storage.ReadAll(t.Context(), d, info.Name, info.Size)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, info.Name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, p, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
