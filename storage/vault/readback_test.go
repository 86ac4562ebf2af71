package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestReadBackFindsWhatTheStoreSpoiled flips a bit in each pack of a run in turn: reading the run back never says that
// all is well. Packs of earlier runs are not its business.
func TestReadBackFindsWhatTheStoreSpoiled(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	backup(t, v, pixel, []phoneFile{{"old", []byte("from an earlier run"), time.Unix(1, 0)}})
	earlier := map[string]bool{}
	for name := range m.blobs {
		earlier[name] = true
	}
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	p := []byte("new bytes")
	if err := tree.Create("new", int64(len(p)), time.Unix(2, 0), bytes.NewReader(p)); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Commit(t.Context(), Outcome{Complete: true}); err != nil {
		t.Fatal(err)
	}
	var last, total int64
	if err := tree.Verify(t.Context(), func(d, n int64) { last, total = d, n }); err != nil || last != total || total == 0 {
		t.Fatalf("%d of %d, %v", last, total, err)
	}
	spoiled := 0
	for name, b := range m.blobs {
		if !strings.HasPrefix(name, "data/") {
			continue
		}
		b[len(b)/2] ^= 1
		err := tree.Verify(t.Context(), nil)
		if earlier[name] {
			if err != nil {
				t.Errorf("%s is from an earlier run: %v", name, err)
			}
		} else if spoiled++; !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is damaged: %v", name, err)
		}
		b[len(b)/2] ^= 1
	}
	if spoiled == 0 {
		t.Error("the run stored no pack")
	}
}
