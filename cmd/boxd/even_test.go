//go:build !rescue

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

// A drive came to a vault that lacks nothing, and the old ones filled up since. The box makes room on them in an idle hour, without
// a person, and then, for days, moves nothing more.
func TestABoxEvensOutItsDrives(t *testing.T) {
	synctest.Test(t, evenOut)
}

func evenOut(t *testing.T) {
	const words = "a passphrase for this vault"
	l := &lab{T: t, site: site{dir: t.TempDir()}}
	l.state = l.dir
	var drives []*vdrive.Drive
	for i := range 4 {
		drives = append(drives, vdrive.New(uint64(40+i)))
		drives[i].Capacity(24<<20, 256<<10)
	}
	member := func(i int) array.Member {
		return array.Member{ID: fmt.Sprintf("d%d", i), Label: fmt.Sprintf("drive %d", i), Store: drives[i]}
	}
	a, err := array.Create(t.Context(), []array.Member{member(0), member(1), member(2)}, array.Options{Survive: 1})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Create(t.Context(), a, words, vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	content, rng := make([]byte, 1<<20), rand.New(rand.NewPCG(1, 1))
	for i := range 36 {
		for j := range content {
			content[j] = byte(rng.Uint32())
		}
		if err := a.Put(t.Context(), fmt.Sprintf("data/%064x", i), content); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Add(t.Context(), member(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	written := func() (n int64) {
		for _, d := range drives {
			n += d.Traffic().Written
		}
		return n
	}
	l.runOn(&bays{password: words, policy: vault.DefaultPolicy, state: l.state, rack: &rack{array: a, vault: v}}, func() {
		s := l.until("the first look", func(s firmware.State) bool { return s.Health.Known })
		if s.Health.Uneven == 0 || s.Health.Unhealed > 0 || !s.Health.Protected() {
			t.Fatalf("%+v", s.Health)
		}
		l.until("evening out", func(s firmware.State) bool { return s.Heal != nil && s.Heal.Even })
		s = l.until("its end", func(s firmware.State) bool { return s.Job.Kind == firmware.NoJob && s.Health.Uneven == 0 })
		var free, total []int64
		for _, d := range s.Health.Drives {
			free, total = append(free, d.Free), append(total, d.Total)
		}
		// Room that protected blobs can use is all but that of the roomiest drive; a quarter of what there could be is enough.
		use := func(room []int64) (n int64) {
			slices.Sort(room)
			for _, one := range room[:3] {
				n += one
			}
			return n
		}
		if use(free) < use(total)/4 || !s.Health.Protected() {
			t.Errorf("%d KiB are of use, of %d that could be: %+v", use(free)>>10, use(total)>>10, s.Health)
		}
		l.until("everything was read", checked)
		before := written()
		time.Sleep(3 * 24 * time.Hour)
		if n := written() - before; n > 0 {
			t.Errorf("%d bytes were written in three days afterwards", n)
		}
	})
}
