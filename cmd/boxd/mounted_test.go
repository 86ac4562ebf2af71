//go:build !rescue

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/storage"
	"phonebackupbox/storage/attach"
	"phonebackupbox/storage/vault"
)

// desk is what is mounted, as folders.
type desk struct {
	drives  []attach.Drive
	broken  string // the folder that cannot be written
	wrote   []string
	rested  []string
	settled bool
	stays   bool // cannot be unmounted
}

func (d *desk) Drives() []attach.Drive { return slices.Clone(d.drives) }

func (d *desk) Write(_ context.Context, dir string) error {
	d.wrote = append(d.wrote, dir)
	if dir == d.broken {
		return errors.Join(errors.New("cannot be mended"), storage.ErrReadOnly)
	}
	return nil
}

func (d *desk) Rest(dir string) error {
	d.rested = append(d.rested, dir)
	return nil
}

func (d *desk) Settle() error {
	d.settled = true
	if d.stays {
		return errors.New("busy")
	}
	return nil
}

// Drives of the vault are made writable before they are used, strangers' are not touched until they are adopted, into a folder of
// their own; one that cannot be written is told; one that was pulled out and put back in is opened anew.
func TestBaysOnDrivesThatTheBoxMounts(t *testing.T) {
	s := newSite(t, 3, 1)
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	spare := filepath.Join(s.dir, "spare")
	if err := errors.Join(os.MkdirAll(spare, 0o755), os.WriteFile(filepath.Join(spare, "holiday.jpg"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	table := &desk{broken: s.drives[2]}
	for i, dir := range append(slices.Clone(s.drives), spare) {
		table.drives = append(table.drives, attach.Drive{N: i + 1, Dir: dir, Name: filepath.Base(dir)})
	}
	table.drives = append(table.drives, attach.Drive{N: 9, Device: "/dev/sdx1", Name: "Windows", Problem: errors.New("is formatted NTFS")})
	b := &bays{password: key, mounts: table}
	if err := b.begin(t.Context()); err != nil || len(table.wrote) > 0 {
		t.Errorf("before there is a light that could tell, drives were checked: %q, %v", table.wrote, err)
	}
	if b.early(t.Context()); b.rack == nil {
		t.Error("the vault is not opened before the box asks for it")
	}
	if got, want := states(t, b), "Windows:foreign drive0:ok drive1:ok drive2:away drive2:read-only spare:unknown"; got != want {
		t.Errorf("at first %s", got)
	}
	if slices.Contains(table.wrote, spare) {
		t.Error("a stranger's drive was made writable")
	}
	table.broken = ""
	if err := b.Adopt(t.Context(), spare); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(table.wrote, spare) || !isDrive(filepath.Join(spare, boxFolder)) || isDrive(spare) {
		t.Error("it was not given a folder of its own")
	}
	if got, want := states(t, b), "Windows:foreign drive0:ok drive1:ok drive2:ok spare:ok"; got != want {
		t.Errorf("adopted, and the other one mended: %s", got)
	}
	before := b.rack
	table.drives[0].N = 20
	if b.early(t.Context()); b.rack != before {
		t.Error("the vault was opened anew under the box, which uses it")
	}
	if states(t, b); b.rack == before {
		t.Error("a drive that was pulled out and put back in is used as it was")
	}
	if before = b.rack; states(t, b) == "" || b.rack != before {
		t.Error("the vault is opened anew though nothing happened")
	}
	h, err := b.Health(t.Context())
	if err != nil || !slices.ContainsFunc(h.Drives, func(d firmware.Drive) bool { return strings.Contains(d.Note, "NTFS") }) {
		t.Errorf("%+v, %v", h, err)
	}
	if err := b.Eject(t.Context()); err != nil || !table.settled {
		t.Errorf("ejected: %v, %v", table.settled, err)
	}
}

// While no drive of the vault is there, that is what is told, and not that the key is missing, which is here.
func TestDrivesThatAreAwayAreNoMissingKey(t *testing.T) {
	s := newSite(t, 2, 1)
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	table := &desk{}
	b := &bays{password: key, mounts: table}
	look := func(drives int) error {
		table.drives = nil
		for i, dir := range s.drives[:drives] {
			table.drives = append(table.drives, attach.Drive{N: i + 1, Dir: dir, Name: filepath.Base(dir)})
		}
		_, err := b.Health(t.Context())
		return err
	}
	for _, when := range []string{"before they came", "after they went"} {
		if err := look(0); !errors.Is(err, firmware.ErrDrivesAway) || errors.Is(err, firmware.ErrVaultLocked) {
			t.Errorf("%s: %v", when, err)
		}
		if err := look(2); err != nil {
			t.Errorf("with them: %v", err)
		}
	}
	table.stays = true
	if err := b.Eject(t.Context()); err == nil {
		t.Error("a drive that could not be let go is not told")
	}
	if err := look(2); err != nil {
		t.Errorf("after that: %v", err)
	}
	table.stays = false
	if err := b.Eject(t.Context()); err != nil {
		t.Error(err)
	}
	if err := look(2); !errors.Is(err, firmware.ErrDrivesAway) {
		t.Errorf("let go: %v", err)
	}
}

// A box need not find out at each start which vault is its own. It believes what it wrote down only where there is nothing to choose,
// and no longer than until the key does not fit.
func TestABoxKnowsItsVaultFromTheLastTime(t *testing.T) {
	s, other := newSite(t, 2, 1), newSite(t, 1, 0)
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	card, table := t.TempDir(), &desk{}
	for i, dir := range s.drives {
		table.drives = append(table.drives, attach.Drive{N: i + 1, Dir: dir, Name: filepath.Base(dir)})
	}
	b := &bays{password: key, mounts: table, card: card}
	if got, want := states(t, b), "drive0:ok drive1:ok"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	home := b.home
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrong, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	b = &bays{password: wrong, mounts: table, card: card} // which nobody could open
	b.mountedNow()
	if err := b.findHome(t.Context()); err != nil || b.home != home {
		t.Errorf("it looks for its vault: %q, %v", b.home, err)
	}
	if _, err := b.Health(t.Context()); !errors.Is(err, firmware.ErrWrongKey) || b.home != "" {
		t.Errorf("with another key: %v, and its vault is %q", err, b.home)
	}
	table.drives = append(table.drives, attach.Drive{N: 9, Dir: other.drives[0], Name: "other"})
	b.mountedNow()
	if err := b.findHome(t.Context()); !errors.Is(err, firmware.ErrWrongKey) {
		t.Errorf("it does not look which of two vaults is its own: %v", err)
	}
}
