//go:build !rescue

package main

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
)

// newBays makes a vault over three drives in bays, and a fourth, empty bay.
func newBays(t *testing.T) (*bays, []string, string) {
	t.Helper()
	s := newSite(t, 3, 1)
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	b := &bays{password: key}
	spare := filepath.Join(s.dir, "spare")
	for _, dir := range append(s.drives, spare) {
		b.plug(dir)
	}
	t.Cleanup(func() {
		if err := b.Eject(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return b, s.drives, spare
}

// states tells the drives as "label:state".
func states(t *testing.T, b *bays) string {
	t.Helper()
	h, err := b.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range h.Drives {
		out = append(out, d.Label+":"+string(d.State))
	}
	return strings.Join(out, " ")
}

func TestBaysSeeDrivesComeAndGo(t *testing.T) {
	b, drives, spare := newBays(t)
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:ok" {
		t.Errorf("at first %s", got)
	}
	away := drives[2] + ".away"
	if err := os.Rename(drives[2], away); err != nil {
		t.Fatal(err)
	}
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:away" {
		t.Errorf("one pulled: %s", got)
	}
	if err := os.Mkdir(spare, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:away spare:unknown" {
		t.Errorf("a blank one in: %s", got)
	}
	if err := b.Adopt(t.Context(), spare); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, drives[2]); err != nil {
		t.Fatal(err)
	}
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:ok spare:ok" {
		t.Errorf("adopted, and the other back: %s", got)
	}
}

// What is backed up while nobody knows the time is marked, so that no dated retention touches it.
func TestBaysDoNotTrustTheClockBlindly(t *testing.T) {
	b, _, _ := newBays(t)
	right := false
	b.clock = func() bool { return right }
	dir := t.TempDir()
	makePhone(t, dir)
	r, err := b.use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}}
	for range 2 {
		phone, err := openPhone(t.Context(), "folder:"+dir, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(backUp(t.Context(), c, r, phone), phone.Close()); err != nil {
			t.Fatal(err)
		}
		right = true
	}
	list, err := r.vault.Snapshots(t.Context())
	if err != nil || len(list) != 2 || list[0].Undated == list[1].Undated || list[0].Undated != (list[0].Generation < list[1].Generation) {
		t.Errorf("%+v, %v", list, err)
	}
}

// The owner's wish for more protection is taken in, needs a heal, and then holds; another box keeps it.
func TestTheOwnerWishesForMoreProtection(t *testing.T) {
	s, phone, two := newSite(t, 4, 1), t.TempDir(), 2
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	b, drives := &bays{password: key, survive: &two}, s.drives
	for _, dir := range drives {
		b.plug(dir)
	}
	h, err := b.Health(t.Context())
	if err != nil || h.Want != 2 || h.Protected() || h.Unhealed == 0 {
		t.Errorf("wished for: %+v, %v", h, err)
	}
	if h, err = b.Heal(t.Context(), func(int64, int64) {}); err != nil || h.Now != 2 || !h.Protected() {
		t.Errorf("healed: %+v, %v", h, err)
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := stamps(t, drives[0])
	again := &bays{password: key, survive: &two}
	for _, dir := range drives {
		again.plug(dir)
	}
	if h, err = again.Health(t.Context()); err != nil || h.Want != 2 || h.Now != 2 {
		t.Errorf("once more: %+v, %v", h, err)
	}
	if err := again.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := stamps(t, filepath.Join(drives[0], "ledger")); !strings.Contains(before, after) {
		t.Errorf("the same wish is written down again:\n%s\n%s", before, after)
	}
}

func TestAForeignDriveIsLeftAloneAndStopsNothing(t *testing.T) {
	b, _, spare := newBays(t)
	if got := states(t, b); !strings.HasPrefix(got, "drive0:ok") {
		t.Fatal(got)
	}
	other := newSite(t, 2, 1)
	if err := os.Rename(other.drives[0], spare); err != nil {
		t.Fatal(err)
	}
	before := contents(t, spare)
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:ok spare:other-box" {
		t.Errorf("%s", got)
	}
	if err := b.Adopt(t.Context(), spare); err == nil {
		t.Error("a drive of another vault was adopted")
	}
	h, err := b.Heal(t.Context(), func(int64, int64) {})
	if err != nil || !h.Protected() || h.Want != 1 {
		t.Errorf("heal beside it: %v, %+v", err, h)
	}
	same(t, before, contents(t, spare))
	if d := h.Drives[len(h.Drives)-1]; d.State != firmware.DriveOther {
		t.Errorf("%+v", d)
	}
}

// A key stick in a bay is told, never offered as a drive, and never made one: key and data would be lost together.
func TestAKeyStickIsNoDrive(t *testing.T) {
	b, _, spare := newBays(t)
	stick := func(words string) {
		t.Helper()
		if err := os.MkdirAll(spare, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(spare, stickKey+".txt"), []byte(words+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	has := func() bool {
		t.Helper()
		h, err := b.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h.KeyStick
	}
	if has() {
		t.Error("a key stick in an empty bay")
	}
	other, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	stick(other)
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:ok" || has() {
		t.Errorf("the key stick of another vault: %s", got)
	}
	stick(b.password)
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:ok" || !has() {
		t.Errorf("the key stick of this vault is not seen: %s", got)
	}
	before := contents(t, spare)
	if err := b.Adopt(t.Context(), spare); err == nil || !strings.Contains(err.Error(), "key stick") {
		t.Errorf("adopting a key stick: %v", err)
	}
	if !maps.Equal(contents(t, spare), before) {
		t.Error("the key stick was changed")
	}
}

// A drive that travels is shown as such, and while it is away and all is well the box has nothing to say about it.
func TestBaysWithADriveThatTravels(t *testing.T) {
	s := newSite(t, 3, 1)
	must(t, exitOK, s.with("drive", "travels", s.drives[2])...)
	words, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	b := &bays{password: words}
	for _, dir := range s.drives {
		b.plug(dir)
	}
	for _, there := range []bool{true, false} {
		if !there {
			if err := os.Rename(s.drives[2], s.drives[2]+"-away"); err != nil {
				t.Fatal(err)
			}
		}
		h, err := b.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := firmware.Drive{State: firmware.DriveAway, Note: "travels"}
		if there {
			want = firmware.Drive{State: firmware.DriveOK, Note: "travels, may leave"}
		}
		if d := h.Drives[2]; d.State != want.State || d.Note != want.Note || !h.Protected() {
			t.Errorf("there: %v: %+v", there, h)
		}
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Error(err)
	}
}
