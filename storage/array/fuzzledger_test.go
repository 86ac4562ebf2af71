package array

import (
	"errors"
	"fmt"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vdrive"
)

// FuzzLedger opens ledgers that a hostile drive made: segments of a real, forked and folded ledger whose facts and lists were
// changed and sealed anew, with right checksums. Whatever they say of parents, drives, places and sizes, opening, reading,
// scrubbing and writing end, with an error or without.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 10, 7, 1, 1, 40, 200})
	f.Add([]byte{0, 4, 80, 1, 1, 5, 90, 7, 1, 6, 120, 2})
	f.Add([]byte{2, 3, 1, 255, 5, 2, 60, 0, 9, 0, 3, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		ctx := t.Context()
		var members []Member
		var drives []*vdrive.Drive
		for i := range 2 {
			drives = append(drives, vdrive.New(uint64(i)))
			members = append(members, Member{ID: fmt.Sprint("drive-", i), Store: drives[i]})
		}
		a, err := Create(ctx, members, Options{Survive: 1})
		if err != nil {
			t.Fatal(err)
		}
		put := func(i int) {
			if err := errors.Join(a.Put(ctx, fmt.Sprint("resume/", i), make([]byte, 1000*i)), a.Sync(ctx)); err != nil {
				t.Fatal(err)
			}
		}
		for i, fork := range [][]Member{members, members[:1], members[1:], members} {
			if i > 0 {
				if a, err = Open(ctx, fork, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			a.fold, a.room, a.small = 2, 200, 200 // with pieces
			for j := range 3 {
				put(3*i + j)
			}
		}
		var names []string
		for info, err := range drives[0].List(ctx, ledgerDir) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, info.Name)
		}
		for ; len(script) >= 4; script = script[4:] {
			name := names[int(script[1])%len(names)]
			reseal(t, drives[script[0]%2], name, int(script[2]), script[3])
		}
		if a, err = Open(ctx, members, Options{}); err != nil {
			return
		}
		for info, err := range a.List(ctx, "") {
			if err != nil {
				break
			}
			if _, err := storage.ReadAll(ctx, a, info.Name, 1<<20); err != nil {
				continue // it may be anywhere, and of any size
			}
		}
		if _, err := a.Scrub(ctx, nil); err != nil {
			t.Error(err)
		}
		_, err = a.Repair(ctx, nil)
		t.Log(err, a.Put(ctx, "resume/last", []byte("x")), a.Sync(ctx))
	})
}

// reseal changes a byte of a segment's facts and makes its checksums right.
func reseal(t *testing.T, d *vdrive.Drive, name string, at int, to byte) {
	t.Helper()
	b, err := storage.ReadAll(t.Context(), d, name, 1<<20)
	if err != nil {
		return // damaged by an earlier stroke
	}
	if facts := len(b) - headerLen; facts > 0 {
		b[headerLen+at%facts] = to
	}
	_, factsLen, _, err := parseHeader(b[:headerLen], int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	d.Lose(name)
	if err := d.Put(t.Context(), name, sealed(b, int(factsLen))); err != nil {
		t.Fatal(err)
	}
}
