package array_test

import (
	"fmt"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// A night with a few new blobs writes little of the ledger, however long that is and whatever came in the nights before: a large
// backup, a thousand small ones, a prune. That the whole vault does so is for TestWear of cmd/boxd.
func TestNoNightWritesMuchLedger(t *testing.T) {
	const (
		packs = 9_000 // one checkpoint of them is 500 KB
		limit = 160 << 10
	)
	var drives []*vdrive.Drive
	var ms []array.Member
	for i := range 2 {
		drives = append(drives, vdrive.New(uint64(i)))
		ms = append(ms, array.Member{ID: fmt.Sprint("drive-", i), Store: drives[i]})
	}
	a, err := array.Create(t.Context(), ms, array.Options{Survive: 1})
	if err != nil {
		t.Fatal(err)
	}
	put := func(from, to, sync int) {
		for i := from; i < to; i++ {
			mustPut(t, a, packName(i), []byte{1})
			if i%sync == 0 {
				mustSync(t, a)
			}
		}
		mustSync(t, a)
	}
	var most, segments int64
	nights := func(from, n int, each func(int)) {
		for i := range n {
			before := drives[0].Traffic().Written
			if a, err = array.Open(t.Context(), ms, array.Options{}); err != nil {
				t.Fatal(err)
			}
			put(from+4*i, from+4*i+4, 1)
			each(i)
			mustSync(t, a)
			most = max(most, drives[0].Traffic().Written-before)
		}
		here := int64(0)
		for _, err := range drives[0].List(t.Context(), "ledger/") {
			if here++; err != nil {
				t.Fatal(err)
			}
		}
		segments = max(segments, here)
	}
	put(0, packs, 100)
	nights(packs, 35, func(int) {})
	put(2*packs, 2*packs+2000, 50) // a night with more
	nights(3*packs, 35, func(int) {})
	drop := func(i int) {
		if err := a.Delete(t.Context(), packName(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range packs { // a prune after which nearly a half of each segment is out of date
		if i%100 < 47 {
			drop(i)
		}
	}
	mustSync(t, a)
	nights(4*packs, 65, func(i int) { // and soon more than that of all of them
		for j := range packs / 100 {
			if i < 20 && j%7 != 0 {
				drop(100*j + 50 + i)
			}
		}
	})
	t.Logf("a night wrote %d bytes to a drive at most; at most %d segments", most, segments)
	if most > limit || segments > 200 {
		t.Errorf("a night wrote %d bytes to a drive, want at most %d; %d segments", most, limit, segments)
	}
	if _, err := storage.ReadAll(t.Context(), a, packName(packs-1), 10); err != nil {
		t.Error(err)
	}
}
