package drive_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/drive"
)

const nextID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

var (
	oldBlobs = []string{"heal/x", "ledger/1", "shards/data/ab/s.0.2.1", "vault/config", "vault/data/ab/one"}
	newBlobs = []string{"ledger-copy/2", "ledger/2", "parity/data/cd/two", "vault/config", "vault/data/cd/two"}
)

func fill(t *testing.T, d *drive.Drive, blobs []string) {
	t.Helper()
	for _, name := range blobs {
		if err := d.Put(t.Context(), name, []byte(d.Vault()+" "+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// holds checks that the drive in dir is one of a vault, with these blobs and no others.
func holds(t *testing.T, dir string, o drive.Options, vault string, blobs []string) {
	t.Helper()
	d, err := drive.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Vault() != vault {
		t.Errorf("a drive of vault %s, not %s", d.Vault(), vault)
	}
	for _, prefix := range []string{"", "vault/", "ledger/"} {
		var got, want []string
		for info, err := range d.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Name)
		}
		for _, name := range blobs {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q lists %v, not %v", prefix, got, want)
		}
	}
	for _, name := range blobs {
		p, err := storage.ReadAll(t.Context(), d, name, 1000)
		if err != nil || string(p) != vault+" "+name {
			t.Errorf("%s: %q, %v", name, p, err)
		}
		if info, err := d.Stat(t.Context(), name); err != nil || info.Size != int64(len(p)) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// switched is a drive with things of its owner's that holds one vault and has another inside, marked if it is to be.
func switched(t *testing.T, mark bool) (dir, uuid string) {
	t.Helper()
	d := create(t)
	if err := os.WriteFile(filepath.Join(d.Dir(), "photo.jpg"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(t, d, oldBlobs)
	next, err := d.Next(nextID)
	if err != nil {
		t.Fatal(err)
	}
	if next.ID() != d.ID() {
		t.Errorf("drive %s has drive %s inside", d.ID(), next.ID())
	}
	fill(t, next, newBlobs)
	err = next.Close()
	if mark {
		err = errors.Join(err, d.Switch())
	}
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	return d.Dir(), d.ID()
}

// TestSwitchCutAtEveryStep ends a switch before each of its steps. For a reader the drive is the new one from the mark on,
// and the next one who opens it for writing finishes.
func TestSwitchCutAtEveryStep(t *testing.T) {
	cut := errors.New("cut")
	for n := 0; ; n++ {
		dir, uuid := switched(t, true)
		holds(t, dir, drive.Options{ReadOnly: true}, nextID, newBlobs)
		var steps []string
		d, err := drive.Open(dir, drive.Options{Step: func(what string) error {
			if len(steps) == n {
				return cut
			}
			steps = append(steps, what)
			return nil
		}})
		if err == nil {
			if d.ID() != uuid || d.Vault() != nextID {
				t.Errorf("it became drive %s of vault %s", d.ID(), d.Vault())
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, cut) {
			t.Fatal(err)
		}
		holds(t, dir, drive.Options{ReadOnly: true}, nextID, newBlobs)
		holds(t, dir, drive.Options{}, nextID, newBlobs)
		want := append([]string{".phone-backup-box/lock", "README.html"}, newBlobs...)
		want = append(want, "phone-backup-box.json", "photo.jpg")
		slices.Sort(want)
		if got := strings.Fields(files(t, dir)); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("files:\n%v, want\n%v", got, want)
		}
		if t.Failed() {
			t.Fatalf("cut after %d steps: %v", n, steps)
		}
		if err == nil {
			t.Logf("%d steps: %v", len(steps), steps)
			if len(steps) < 12 {
				t.Error("so few?")
			}
			return
		}
	}
}

// TestSwitchNotMarked: a drive inside changes nothing until it is marked, and can be taken up again or thrown away.
func TestSwitchNotMarked(t *testing.T) {
	dir, _ := switched(t, false)
	holds(t, dir, drive.Options{ReadOnly: true}, vaultID, oldBlobs)
	holds(t, dir, drive.Options{}, vaultID, oldBlobs)
	inside, err := drive.OpenNext(dir)
	if err != nil || inside.Vault() != nextID {
		t.Fatal(err)
	}
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	d := reopen(t, dir, drive.Options{})
	if id, err := d.NextVault(); id != nextID || err != nil {
		t.Errorf("inside is a drive of vault %q, %v", id, err)
	}
	if _, err := d.Next("11111111-2222-4333-8444-555555555555"); !errors.Is(err, drive.ErrExists) {
		t.Errorf("next for a third vault: %v", err)
	}
	next, err := d.Next(nextID)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(next.Close(), d.DropNext(), d.DropNext()); err != nil {
		t.Fatal(err)
	}
	if id, err := d.NextVault(); id != "" || err != nil {
		t.Errorf("inside is a drive of vault %q, %v", id, err)
	}
	if err := d.Switch(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("switch to nothing: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, drive.Options{}, vaultID, oldBlobs)
}

// TestSwitchDamagedMark: a mark that is torn counts if something was done about it, and only then.
func TestSwitchDamagedMark(t *testing.T) {
	for n := range 14 {
		dir, _ := switched(t, true)
		if n > 0 {
			left := n
			_, err := drive.Open(dir, drive.Options{Step: func(string) error {
				if left--; left == 0 {
					return errors.New("cut")
				}
				return nil
			}})
			if err == nil {
				t.Fatal("not cut")
			}
		}
		mark := filepath.Join(dir, ".phone-backup-box", "switch.json")
		if err := os.Truncate(mark, 40); err != nil {
			t.Fatal(err)
		}
		want, blobs := nextID, newBlobs
		if n <= 1 { // cut before the first step: nothing was done
			want, blobs = vaultID, oldBlobs
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			holds(t, dir, drive.Options{ReadOnly: true}, want, blobs)
			holds(t, dir, drive.Options{}, want, blobs)
		})
	}
}

// TestSwitchHalfMoved: a folder that lies in two places after a power cut, as FAT may leave it, is nothing to go on with: deleting
// one could free the bytes of the other.
func TestSwitchHalfMoved(t *testing.T) {
	dir, _ := switched(t, true)
	if err := os.MkdirAll(filepath.Join(dir, ".phone-backup-box", "old", "vault"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := drive.Open(dir, drive.Options{}); err == nil || !strings.Contains(err.Error(), "leave this drive out") {
			t.Errorf("opened: %v", err)
		}
	}
	holds(t, dir, drive.Options{ReadOnly: true}, nextID, newBlobs)
}
