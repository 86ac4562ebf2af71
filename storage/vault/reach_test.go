package vault

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"phonebackupbox/storage"
)

// What a backup wrote onto one drive alone may be known to the others and not be on them yet. Without that drive, all that
// came before is there, backups go on, and nothing is deleted; with it, everything is.
func TestIndexOnADriveThatIsAway(t *testing.T) {
	s := newMapStore()
	v, words := newVault(t, s)
	v.pace = quick
	held := map[string][]phoneFile{}
	before := crashFiles(1, 12, 25_000)
	held[backup(t, v, pixel, before).ID] = before
	old := maps.Clone(s.blobs)
	alone := crashFiles(2, 12, 25_000)
	held[backup(t, v, pixel, alone).ID] = alone
	for name := range s.blobs {
		if _, ok := old[name]; !ok && !strings.HasPrefix(name, "snapshots/") {
			s.gone[name] = true
		}
	}
	reopen := func() {
		t.Helper()
		var err error
		if err = v.Close(); err == nil {
			v, err = Open(t.Context(), s, words, Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
		v.pace = quick
	}
	reopen()
	list, err := v.Snapshots(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if fsys, err := v.FS(t.Context(), list[1]); err != nil {
		t.Errorf("the snapshot from before: %v", err)
	} else {
		sameFiles(t, fsys, before)
	}
	if fsys, err := v.FS(t.Context(), list[0]); err == nil {
		_, err = fsys.Open(alone[0].name)
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, ErrDamaged) {
			t.Errorf("the snapshot whose index is away: %v", err)
		}
	}
	if _, err := v.Prune(t.Context(), PruneOptions{Policy: Policy{Last: 1}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("prune without all indexes: %v", err)
	}
	after := crashFiles(3, 12, 25_000)
	held[backup(t, v, pixel, after).ID] = after
	clear(s.gone)
	reopen()
	wantHeld(t, v, held, 3)
}
