package array_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// rig is an array over simulated drives on one power supply.
type rig struct {
	t      testing.TB
	power  *vdrive.Power
	drives []*vdrive.Drive
	a      *array.Array
}

func newRig(t testing.TB, seed uint64, n, survive int) *rig {
	t.Helper()
	r := &rig{t: t, power: vdrive.NewPower()}
	for i := range n {
		r.drives = append(r.drives, vdrive.New(seed*100+uint64(i)))
	}
	r.power.Feed(r.drives...)
	a, err := array.Create(t.Context(), r.members(), array.Options{Survive: survive, Writer: "test"})
	if err != nil {
		t.Fatal(err)
	}
	r.a = a
	return r
}

// members are the drives with these numbers, all without any.
func (r *rig) members(nos ...int) []array.Member {
	if nos == nil {
		for i := range r.drives {
			nos = append(nos, i)
		}
	}
	var ms []array.Member
	for _, i := range nos {
		ms = append(ms, array.Member{ID: fmt.Sprintf("drive-%d", i), Label: fmt.Sprintf("disk %c", 'A'+i), Store: r.drives[i]})
	}
	return ms
}

func (r *rig) reopen(nos ...int) *array.Array {
	r.t.Helper()
	a, err := array.Open(r.t.Context(), r.members(nos...), array.Options{})
	if err != nil {
		r.t.Fatalf("open with drives %v: %v", nos, err)
	}
	r.a = a
	return a
}

// pack makes bytes that depend on seed only.
func pack(size int, seed uint64) []byte {
	p := make([]byte, size)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(p) // never fails (math/rand/v2)
	return p
}

// packName is a name as restic gives packs.
func packName(i int) string {
	return fmt.Sprintf("data/%02x/%02x%062x", i%256, i%256, i)
}

func mustPut(t testing.TB, s storage.Store, name string, p []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, p); err != nil {
		t.Fatal(err)
	}
}

func mustSync(t testing.TB, s storage.Store) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func wantBlob(t testing.TB, s storage.Store, name string, want []byte) {
	t.Helper()
	got, err := storage.ReadAll(t.Context(), s, name, 1<<30)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: other bytes than were put", name)
	}
}

func TestCheck(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for survive := range 4 {
			t.Run(fmt.Sprintf("%d drives survive %d", n, survive), func(t *testing.T) {
				r := newRig(t, 1, n, survive)
				if err := storage.Check(t.Context(), r.a); err != nil {
					t.Error(err)
				}
				for i, d := range r.drives {
					for info, err := range d.List(t.Context(), "") {
						if err != nil || info.Name[:6] != "ledger" {
							t.Errorf("drive %d keeps %s, %v", i, info.Name, err)
						}
					}
				}
			})
		}
	}
}

// An array keeps the rules too where a drive travels, and over remotes in the place of drives.
func TestCheckOtherMembers(t *testing.T) {
	for n := 2; n <= 4; n++ {
		r := newRig(t, 2, n, 1)
		travel(t, r.a, n-1, true)
		if err := storage.Check(t.Context(), r.a); err != nil {
			t.Errorf("%d drives, one of which travels: %v", n, err)
		}
		var clouds []array.Member
		for i := range n {
			clouds = append(clouds, array.Member{ID: fmt.Sprint("cloud-", i), Store: vdrive.NewCloud(uint64(i))})
		}
		a, err := array.Create(t.Context(), clouds, array.Options{Survive: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := storage.Check(t.Context(), a); err != nil {
			t.Errorf("%d remotes: %v", n, err)
		}
	}
}

func TestRemoveAnyDrives(t *testing.T) {
	for n := 2; n <= 5; n++ {
		for survive := 1; survive < min(n, 4); survive++ {
			r := newRig(t, 7, n, survive)
			sizes := []int{0, 1, 1000, 256<<10 - 1, 256 << 10, 300_001, 1 << 20, 1<<20 + 65_537}
			for i, size := range sizes {
				mustPut(t, r.a, packName(i), pack(size, uint64(i)))
			}
			mustSync(t, r.a)
			for gone := range 1 << n {
				var left []int
				for i := range n {
					if gone>>i&1 == 0 {
						left = append(left, i)
					}
				}
				if lost := n - len(left); lost > survive || len(left) == 0 {
					continue
				}
				a := r.reopen(left...)
				for i, size := range sizes {
					wantBlob(t, a, packName(i), pack(size, uint64(i)))
				}
				h, err := a.Health(t.Context())
				if err != nil || h.Unreadable > 0 || len(h.Lost) > 0 || !h.Protected() || h.Healthy() != (len(left) == n) {
					t.Fatalf("%d of %d drives: %+v, %v", len(left), n, h, err)
				}
			}
		}
	}
}

func TestTooManyGone(t *testing.T) {
	r := newRig(t, 7, 3, 1)
	big, small := pack(1<<20, 1), pack(100, 2)
	mustPut(t, r.a, packName(1), big)
	mustPut(t, r.a, "config", small)
	mustSync(t, r.a)
	a := r.reopen(2)
	wantBlob(t, a, "config", small)
	if _, err := storage.ReadAll(t.Context(), a, packName(1), 1<<30); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("two of three drives away: %v", err)
	}
	if _, err := a.Stat(t.Context(), packName(2)); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("a name never put: %v", err)
	}
	h, err := a.Health(t.Context())
	if err != nil || h.Unreadable != 1 || len(h.Lost) != 0 {
		t.Errorf("%+v, %v", h, err)
	}
}
