//go:build !rescue

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

// Flash wears out by what is written. A night in which one file came to a hundred thousand may write wearLimit to each
// drive, beside the file; one in which nothing changed sameLimit.
const (
	wearFiles = 100_000
	wearLimit = 256 << 10 // bytes
	sameLimit = 16 << 10  // bytes
	// wearPacks is how many packs so many photos of 3 MB fill: the ledger speaks of each.
	wearPacks = 18_000
)

// wearNights: in 40 there is one in which the ledger is folded. That alone is tried over many nights by
// TestNoNightWritesMuchLedger of storage/array.
var wearNights = flag.Int("wear-nights", 3, "nights with one new file")

// wornDrives are the drives of a vault, and what was written to them.
type wornDrives struct {
	t      *testing.T
	words  string
	drives []*vdrive.Drive
}

func (w *wornDrives) members() (ms []array.Member) {
	for i, d := range w.drives {
		ms = append(ms, array.Member{ID: fmt.Sprint("00000000-0000-4000-8000-00000000000", i), Label: fmt.Sprint("drive ", i), Store: d})
	}
	return ms
}

// night opens the vault, makes one backup by add, and lets go of it. It returns the most bytes that a drive was given.
func (w *wornDrives) night(add func(*vault.Tree) error) int64 {
	w.t.Helper()
	before := make([]int64, len(w.drives))
	for i, d := range w.drives {
		before[i] = d.Traffic().Written
	}
	ctx := w.t.Context()
	a, err := array.Open(ctx, w.members(), array.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := vault.Open(ctx, a, w.words, vault.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(backup(ctx, v, add), v.Close(), a.Close()); err != nil {
		w.t.Fatal(err)
	}
	most := int64(0)
	for i, d := range w.drives {
		most = max(most, d.Traffic().Written-before[i])
	}
	return most
}

func backup(ctx context.Context, v *vault.Vault, add func(*vault.Tree) error) error {
	tree, err := v.Begin(ctx, vault.Phone{ID: "test:wear", Name: "phone"})
	if err != nil {
		return err
	}
	if err := add(tree); err != nil {
		return err
	}
	_, err = tree.Commit(ctx, vault.Outcome{Complete: true})
	return err
}

// fill makes the vault: its ledger is that of a hundred thousand photos, and its trees are, but the photos are small.
func (w *wornDrives) fill(r *rand.Rand) {
	ctx := w.t.Context()
	a, err := array.Create(ctx, w.members(), array.Options{Survive: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := vault.Create(ctx, a, w.words, vault.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range wearPacks { // as good as packs to the ledger
		var id [32]byte
		for j := range id {
			id[j] = byte(r.Uint32())
		}
		err := a.Put(ctx, fmt.Sprintf("data/%x/%x", id[:1], id), []byte{1})
		if err == nil && i%1000 == 0 {
			err = a.Sync(ctx)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if err := errors.Join(a.Sync(ctx), v.Close(), a.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.night(func(tree *vault.Tree) error {
		for i := range wearFiles {
			if err := createPhoto(tree, i/1000, i); err != nil {
				return err
			}
		}
		return nil
	})
}

func createPhoto(tree *vault.Tree, folder, file int) error {
	return tree.Create(fmt.Sprintf("DCIM/folder-%03d/IMG_%08d.jpg", folder, file), 8, time.Unix(int64(1_700_000_000+file), 0),
		bytes.NewReader(fmt.Appendf(nil, "%08d", file)))
}

func TestWear(t *testing.T) {
	words, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	w := &wornDrives{t: t, words: words}
	for i := range 3 {
		w.drives = append(w.drives, vdrive.New(uint64(i)))
	}
	r := rand.New(rand.NewPCG(1, 1))
	w.fill(r)
	var sum, most int64
	for i := range *wearNights {
		n := w.night(func(tree *vault.Tree) error { return createPhoto(tree, r.IntN(wearFiles/1000), wearFiles+i) })
		sum, most = sum+n, max(most, n)
	}
	same := w.night(func(*vault.Tree) error { return nil })
	t.Logf("bytes written to a drive in a night with one new file: %d on average, %d at most; with none: %d", sum/int64(*wearNights), most, same)
	if most > wearLimit {
		t.Errorf("a night with one new file writes %d bytes to a drive, want at most %d", most, wearLimit)
	}
	if same > sameLimit {
		t.Errorf("a night without a change writes %d bytes to a drive, want at most %d", same, sameLimit)
	}
}
