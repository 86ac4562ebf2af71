//go:build !rescue

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vault"
)

// endingStore ends what is under way at its nth read of a pack.
type endingStore struct {
	storage.Store
	left atomic.Int64
	end  context.CancelFunc
}

func (s *endingStore) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if strings.HasPrefix(name, "data/") && s.left.Add(-1) == 0 {
		s.end()
	}
	return s.Store.Get(ctx, name, off, p)
}

// interruptVerify verifies a site's vault with a state folder, as SIGINT at the nth read of a pack would end it.
func interruptVerify(t *testing.T, s site, state string, nth int64) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := openArray(ctx, s.drives, reading)
	if err != nil {
		t.Fatal(err)
	}
	words, err := os.ReadFile(s.key)
	if err != nil {
		t.Fatal(err)
	}
	ending := &endingStore{Store: r.array, end: cancel}
	ending.left.Store(nth)
	if r.vault, err = vault.Open(ctx, ending, strings.TrimSpace(string(words)), vault.Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	_, err = r.verifyOn(ctx, &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}, state: state})
	if cerr := r.close(); cerr != nil {
		t.Fatal(cerr)
	}
	return err
}

// TestVerifyCommandGoesOn interrupts a verification while it decrypts: with a state folder the next one goes on, reading no
// drive anew, and says so. A shard that is gone meanwhile is named by the one after that, which begins anew.
func TestVerifyCommandGoesOn(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	out, _ := must(t, exitOK, s.with("vault", "verify", "--json")...)
	want := decode[verifyResult](t, out)
	state := filepath.Join(s.dir, "state")
	for nth := range int64(4) {
		err := interruptVerify(t, s, state, nth+1)
		var hint hintError
		if !errors.Is(err, context.Canceled) || !errors.As(err, &hint) || !strings.Contains(hint.hint, "goes on") {
			t.Fatalf("interrupted: %v", err)
		}
	}
	places, err := readPlaces[verifyPlace](state, verifyName)
	if err != nil || len(places) != 1 {
		t.Fatalf("%+v, %v", places, err)
	}
	for vaultID, place := range places {
		for id, p := range place.Drives {
			if !p.Done {
				t.Errorf("drive %s is to be read again: %+v", id, p)
			}
		}
		place.Vault = vault.VerifyPass{Done: true, Packs: 77} // as if it had come to the trees
		places[vaultID] = place
	}
	if err := writePlaces(state, verifyName, places); err != nil {
		t.Fatal(err)
	}
	damaged := firstFile(t, filepath.Join(s.drives[2], "shards"))
	if err := os.Remove(damaged); err != nil {
		t.Fatal(err)
	}
	out, _ = must(t, exitOK, s.with("vault", "verify", "--json", "--state", state)...)
	if on := decode[verifyResult](t, out); on.WentOn == nil || on.Vault.Packs != 77 || on.Vault.Snapshots != 1 {
		t.Errorf("it did not go on: %+v", on)
	}
	out, _ = must(t, exitIncomplete, s.with("vault", "verify", "--json", "--state", state)...)
	got := decode[verifyResult](t, out)
	if got.WentOn != nil || got.Vault.Packs != want.Vault.Packs || got.Vault.Bytes != want.Vault.Bytes || len(got.Scrub.Damaged) != 1 {
		t.Errorf("after one that came to its end: %+v; at first %+v", got, want)
	}
	if _, err := os.Stat(filepath.Join(state, verifyName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a verification that is over leaves its place: %v", err)
	}
	if err := os.WriteFile(filepath.Join(state, verifyName), []byte(`{"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, exitIncomplete, s.with("vault", "verify", "--state", state)...)
}
