package vault

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var someState = State{"box.toml": []byte("unlock = \"card\"\n"), "enrolled.json": []byte(`[{"phone":"mtp:1"}]`), "pairings/a": {0, 1, 2}}

func sameState(t *testing.T, v *Vault, want State) Snapshot {
	t.Helper()
	got, s, err := v.LoadState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("box state is %q, want %q", got, want)
	}
	return s
}

func save(t *testing.T, v *Vault, state State, want bool) {
	t.Helper()
	if changed, err := v.SaveState(t.Context(), state); err != nil || changed != want {
		t.Fatalf("save: changed %v, want %v; %v", changed, want, err)
	}
}

func TestStateIsSavedWhenItChanged(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	if _, _, err := v.LoadState(t.Context()); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("a new vault's state: %v", err)
	}
	photos := backup(t, v, pixel, []phoneFile{{"f", []byte("hello"), time.Unix(1, 0)}})
	save(t, v, someState, true)
	n := len(m.blobs)
	save(t, v, someState, false)
	if len(m.blobs) != n {
		t.Errorf("saving the same state again wrote %d blobs", len(m.blobs)-n)
	}
	// A file that is gone is gone, and another box reads the newest.
	less := maps.Clone(someState)
	delete(less, "pairings/a")
	save(t, v, less, true)
	other := openVault(t, m, words)
	s := sameState(t, other, less)
	if !s.Hidden() || s.Phone != "" || s.Foreign || !s.Complete || s.Generation != 3 {
		t.Errorf("the state's snapshot: %+v", s)
	}
	save(t, other, State{}, true)
	sameState(t, other, State{})
	// It is nobody's newest snapshot, but can be named.
	if got, err := other.Find(t.Context(), "latest"); err != nil || got.ID != photos.ID {
		t.Errorf("latest is %.8s, not %.8s: %v", got.ID, photos.ID, err)
	}
	if got, err := other.Find(t.Context(), s.ID[:12]); err != nil || !got.Hidden() {
		t.Errorf("by its ID: %v", err)
	}
	if photos.Hidden() {
		t.Error("a phone's snapshot is hidden")
	}
	if next := backup(t, other, pixel, nil); next.Generation != 5 {
		t.Errorf("generation %d follows a state's 4", next.Generation)
	}
}

// TestStockResticKeepsTheState lists and restores a box state with stock restic, and has it edit the tags.
func TestStockResticKeepsTheState(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	save(t, v, someState, true)
	dir := t.TempDir()
	m.save(t, dir)
	restic := stock(t, dir, words)
	if out := restic("dump", "--tag", StateTag, "latest", "box.toml"); out != string(someState["box.toml"]) {
		t.Errorf("dump: %q", out)
	}
	restic("tag", "--add", "seen")
	restic("check", "--read-data")
	s := sameState(t, openVault(t, loadStore(t, dir), words), someState)
	if strings.Join(s.Tags, " ") != StateTag+" seen" {
		t.Errorf("tags %q", s.Tags)
	}
}

func TestStateIsBounded(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	many := State{}
	for i := range maxStateFiles + 1 {
		many[strings.Repeat("x", i+1)] = nil
	}
	for want, states := range map[error][]State{
		ErrTooBig:     {many, {"big": make([]byte, maxStateBytes+1)}},
		fs.ErrInvalid: {{"": nil}, {".": nil}, {"../key": nil}, {"/etc/passwd": nil}, {"a//b": nil}},
	} {
		for _, s := range states {
			if changed, err := v.SaveState(t.Context(), s); !errors.Is(err, want) || changed {
				t.Errorf("%v, want %v", err, want)
			}
		}
	}
	// What a hostile holder of the key stored is not taken in either.
	tree, err := v.Begin(t.Context(), Phone{ID: StateTag})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := tree.Create(name, maxStateBytes/2, time.Time{}, rand.NewChaCha8([32]byte{name[0]})); !errors.Is(err, ErrTooLong) {
			t.Fatal(err) // endless
		}
		if err := tree.Create(name, maxStateBytes/2, time.Time{}, bytes.NewReader(make([]byte, maxStateBytes/2))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.SaveState(t.Context(), someState); !errors.Is(err, ErrBusy) {
		t.Errorf("beside a Tree: %v", err)
	}
	if _, err := tree.Commit(t.Context(), Outcome{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.LoadState(t.Context()); !errors.Is(err, ErrTooBig) {
		t.Errorf("a huge state: %v", err)
	}
	save(t, v, someState, true)
	sameState(t, v, someState)
}

// TestDamagedStateFallsBack loses the newest state's pack: the one before is given, and saving writes anew.
func TestDamagedStateFallsBack(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	save(t, v, someState, true)
	kept := maps.Clone(m.blobs)
	newer := State{"box.toml": []byte("unlock = \"keystick\"\n")}
	save(t, v, newer, true)
	for name := range m.blobs {
		if _, old := kept[name]; !old && strings.HasPrefix(name, "data/") {
			m.gone[name] = true
		}
	}
	v = openVault(t, m, words)
	sameState(t, v, someState)
	save(t, v, newer, true)
	sameState(t, v, newer)
}

// TestPowerCutWhileSavingState cuts the power at each operation: the old state or the new one is there, never less.
func TestPowerCutWhileSavingState(t *testing.T) {
	newer := State{"box.toml": []byte("restore_by_button = \"no\"\n"), "journal/1": []byte("…")}
	for n := 1; ; n++ {
		m := newMapStore()
		v, words := newVault(t, m)
		save(t, v, someState, true)
		m.ops, m.cutAt = 0, n
		changed, err := v.SaveState(t.Context(), newer)
		cut := m.off
		if err != nil && !errors.Is(err, errPower) || changed != (err == nil) {
			t.Fatalf("cut at %d: changed %v, %v", n, changed, err)
		}
		r := rand.New(rand.NewPCG(uint64(n), 3))
		v = openVault(t, m.restart(func(string) bool { return r.IntN(2) == 0 }), words)
		got, _, lerr := v.LoadState(t.Context())
		isNew := maps.EqualFunc(got, newer, bytes.Equal)
		if lerr != nil || !isNew && (changed || !maps.EqualFunc(got, someState, bytes.Equal)) {
			t.Errorf("cut at %d: state %q, %v", n, got, lerr)
		}
		if _, err := v.SaveState(t.Context(), newer); err != nil {
			t.Errorf("cut at %d: save again: %v", n, err)
		}
		sameState(t, v, newer)
		if !cut {
			t.Logf("%d operations", n-1)
			break
		}
	}
}
