package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"phonebackupbox/storage"
)

// readsOf remembers which packs are read.
type readsOf struct {
	storage.Store
	mu    sync.Mutex
	packs map[string]bool
}

func (s *readsOf) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if strings.HasPrefix(name, "data/") {
		s.mu.Lock()
		s.packs[name] = true
		s.mu.Unlock()
	}
	return s.Store.Get(ctx, name, off, p)
}

// manyPacks is a vault of n packs, each with a file of 20,000 bytes, or of size bytes, and with the trees.
func manyPacks(t *testing.T, n, size int) (m *mapStore, words string) {
	t.Helper()
	m = newMapStore()
	v, words := newVault(t, m)
	v.pace = quick
	v.pace.pack = size + 200
	backup(t, v, pixel, crashFiles(3, n, size))
	return m, words
}

// TestVerifyGoesOn cuts the power after each pack that a Verify read: the next one, which knows only what was saved, reads
// the rest and what was damaged, and finds what one in one piece finds.
func TestVerifyGoesOn(t *testing.T) {
	m, words := manyPacks(t, 12, 20_000)
	packs := slices.Sorted(maps.Keys(m.blobs))
	packs = slices.DeleteFunc(packs, func(name string) bool { return !strings.HasPrefix(name, "data/") })
	files := slices.DeleteFunc(slices.Clone(packs), func(name string) bool { return len(m.blobs[name]) < 20_000 }) // not the trees'
	for _, i := range []int{1, 2, len(files) - 2} {
		m.blobs[files[i]] = bytes.Clone(m.blobs[files[i]])
		m.blobs[files[i]][9_000] ^= 1
	}
	whole, err := openVault(t, m, words).Verify(t.Context(), nil)
	if err != nil || len(whole.Damaged) != 3 || len(whole.Hit) == 0 {
		t.Fatalf("%+v, %v", whole, err)
	}
	for cut := 1; cut <= len(packs); cut++ {
		saved, left := []byte("{}"), cut
		_, err := openVault(t, m, words).VerifyFrom(t.Context(), VerifyOptions{Save: func(p VerifyPass) error {
			if left--; left < 0 {
				return errPower
			}
			saved, err = json.Marshal(p)
			return err
		}})
		if !errors.Is(err, errPower) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		var from VerifyPass
		if err := json.Unmarshal(saved, &from); err != nil {
			t.Fatal(err)
		}
		r := &readsOf{Store: m, packs: map[string]bool{}}
		again, err := openVault(t, r, words).VerifyFrom(t.Context(), VerifyOptions{From: from})
		if err != nil || !reflect.DeepEqual(texts(again), texts(whole)) {
			t.Errorf("cut at %d, %+v:\n%v, %v; want\n%v", cut, from, texts(again), err, texts(whole))
		}
		for i, name := range packs {
			unread := !from.Done && name >= from.Next || slices.Contains(from.Bad, name)
			if unread && !r.packs[name] {
				t.Errorf("cut at %d: pack %d was read by nobody", cut, i)
			}
		}
		// Trees are read once more for the snapshots; of files nothing is.
		if n := len(r.packs); n > len(packs)-from.Packs+1 {
			t.Errorf("cut at %d: %d packs were read again after %d of %d", cut, n, from.Packs, len(packs))
		}
	}
}

// texts is a report in comparable form.
func texts(r VerifyReport) []string {
	list := []string{fmt.Sprint(r.Packs, r.Blobs, r.Bytes, r.Snapshots, r.Hit, r.MoreHit)}
	for _, d := range r.Damaged {
		list = append(list, d.Name)
	}
	return list
}

// TestVerifyForgetsWhatWasMended: what an earlier part of a pass found damaged is looked at again.
func TestVerifyForgetsWhatWasMended(t *testing.T) {
	m, words := manyPacks(t, 6, 20_000)
	var first string
	for _, name := range slices.Sorted(maps.Keys(m.blobs)) {
		if strings.HasPrefix(name, "data/") {
			first = name
			break
		}
	}
	good := m.blobs[first]
	m.blobs[first] = append(bytes.Clone(good[:50]), make([]byte, len(good)-50)...)
	var pass VerifyPass
	if _, err := openVault(t, m, words).VerifyFrom(t.Context(), VerifyOptions{Save: func(p VerifyPass) error { pass = p; return nil }}); err != nil || !slices.Equal(pass.Bad, []string{first}) || !pass.Done {
		t.Fatalf("%+v, %v", pass, err)
	}
	m.blobs[first] = good
	r, err := openVault(t, m, words).VerifyFrom(t.Context(), VerifyOptions{From: pass, Save: func(p VerifyPass) error { pass = p; return nil }})
	if err != nil || !r.OK() || len(pass.Bad) > 0 || !pass.Done || r.Packs != pass.Packs {
		t.Errorf("%+v, %+v, %v", r, pass, err)
	}
}

// TestVerifyRemembersSoMuchDamage: where more packs are bad than a pass remembers, it goes no further than it can tell.
func TestVerifyRemembersSoMuchDamage(t *testing.T) {
	m, words := manyPacks(t, maxBad+40, 300)
	for name := range m.blobs {
		if strings.HasPrefix(name, "data/") {
			m.gone[name] = true
		}
	}
	var pass VerifyPass
	whole, err := openVault(t, m, words).VerifyFrom(t.Context(), VerifyOptions{Save: func(p VerifyPass) error { pass = p; return nil }})
	if err != nil || len(whole.Damaged) < maxBad+40 || len(pass.Bad) != maxBad || pass.Done {
		t.Fatalf("%d damaged, %d remembered, done %v, %v", len(whole.Damaged), len(pass.Bad), pass.Done, err)
	}
	again, err := openVault(t, m, words).VerifyFrom(t.Context(), VerifyOptions{From: pass})
	if err != nil || len(again.Damaged) != len(whole.Damaged) {
		t.Errorf("%d damaged, at first %d, %v", len(again.Damaged), len(whole.Damaged), err)
	}
	clear(m.gone)
	if r, err := openVault(t, m, words).VerifyFrom(t.Context(), VerifyOptions{From: pass}); err != nil || !r.OK() || r.Packs != whole.Packs {
		t.Errorf("%+v, %v", r, err)
	}
}
