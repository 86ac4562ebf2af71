package array

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vdrive"
)

// folder drives an array whose ledger is folded all the time, and knows what it should say.
type folder struct {
	t       *testing.T
	rng     *rand.Rand
	members []Member
	a       *Array
	live    map[int]bool // committed
	next    map[int]bool // once Sync returns
	pieces  int          // the most that a checkpoint had
	graves  int
}

// A ledger that is folded piece by piece says the same as one that was read anew, whatever is put, deleted, put again, repaired
// or done on drives used apart.
func TestFoldedLedgerSaysTheSame(t *testing.T) {
	pieces, graves := 0, 0
	for seed := range uint64(40) {
		f := &folder{t: t, rng: rand.New(rand.NewPCG(seed, 9)), live: map[int]bool{}, next: map[int]bool{}}
		for i := range 3 {
			f.members = append(f.members, Member{ID: fmt.Sprint("drive-", i), Store: vdrive.New(seed*10 + uint64(i))})
		}
		a, err := Create(t.Context(), f.members, Options{Survive: 1})
		if err != nil {
			t.Fatal(err)
		}
		f.use(a)
		for range 40 {
			f.step()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		pieces, graves = max(pieces, f.pieces), max(graves, f.graves)
	}
	if pieces < 4 || graves < 4 {
		t.Errorf("at most %d pieces and %d tombstones in them", pieces, graves)
	}
}

func (f *folder) use(a *Array) {
	f.a = a
	SetFold(a, 1+f.rng.IntN(4))
	a.room, a.small = 100*f.rng.Int64N(12), 100*f.rng.Int64N(8)
	f.next = maps.Clone(f.live)
}

func (f *folder) open(nos ...int) {
	f.t.Helper()
	var ms []Member
	for _, i := range nos {
		ms = append(ms, f.members[i])
	}
	a, err := Open(f.t.Context(), ms, Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.use(a)
}

func (f *folder) step() {
	switch f.rng.IntN(12) {
	case 0:
		f.open(0, 1, 2)
	case 1:
		f.apart()
	case 2:
		if _, err := f.a.Repair(f.t.Context(), nil); err != nil {
			f.t.Error(err)
		}
		f.live = maps.Clone(f.next)
		f.check()
	default:
		f.change()
		f.sync()
	}
}

// change puts and deletes a few blobs, some of them twice.
func (f *folder) change() {
	ctx := f.t.Context()
	for range 1 + f.rng.IntN(5) {
		i := f.rng.IntN(30)
		name := f.name(i)
		if f.next[i] && f.rng.IntN(3) > 0 {
			if err := f.a.Delete(ctx, name); err != nil {
				f.t.Error(err)
			}
			delete(f.next, i)
			continue
		}
		if err := f.a.Put(ctx, name, make([]byte, i%3*i)); err != nil {
			f.t.Error(err)
		}
		f.next[i] = true
	}
}

func (f *folder) name(i int) string {
	if i%5 == 0 {
		return fmt.Sprint("resume/", i)
	}
	return fmt.Sprintf("data/%02x/%02x%062x", i, i, i)
}

func (f *folder) sync() {
	f.a.commit.Lock()
	err := f.a.sync(f.t.Context(), true) // so that each drive alone knows what there is
	f.a.commit.Unlock()
	if err != nil {
		f.t.Error(err)
	}
	f.live = maps.Clone(f.next)
	f.check()
}

// apart uses drives apart, and then together again: no delete crosses the fork.
func (f *folder) apart() {
	f.open(0, 1, 2)
	f.sync()
	all, before := map[int]bool{}, f.live
	for _, nos := range [][]int{{0, 1}, {2}} {
		f.live = before
		f.open(nos...)
		for range 1 + f.rng.IntN(4) {
			f.change()
			if err := f.a.Put(f.t.Context(), fmt.Sprint("resume/", f.rng.Uint64()), nil); err != nil { // or it may be no fork
				f.t.Error(err)
			}
			f.sync()
		}
		maps.Copy(all, f.live)
	}
	f.live = all
	f.open(0, 1, 2)
	f.says(f.a)
	f.change()
	f.sync()
}

// check compares the array with one that reads the ledger of one of its drives now, and both with what is expected.
func (f *folder) check() {
	f.t.Helper()
	one := f.a.members[f.rng.IntN(len(f.a.members))].ID
	fresh, err := Open(f.t.Context(), slices.DeleteFunc(slices.Clone(f.members), func(m Member) bool { return m.ID != one }), Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	got, want := f.says(f.a), f.says(fresh)
	if !maps.EqualFunc(got, want, slices.Equal) {
		f.t.Errorf("it says\n%v\nand when it is read\n%v", got, want)
	}
	f.pieces = max(f.pieces, len(f.a.led.pieces))
	f.graves = max(f.graves, len(fresh.led.graves))
	if f.a.led.since.segments == 0 {
		for name := range fresh.led.files {
			if f.a.led.files[name] == nil {
				f.t.Errorf("segment %s should be gone", name)
			}
		}
	}
}

// says lists all facts, and whether their checksums are where they are said to be.
func (f *folder) says(a *Array) map[string][]string {
	f.t.Helper()
	list := make(map[string][]string)
	for i := range 30 {
		name := f.name(i)
		for _, x := range a.facts(name) {
			table, err := a.table(f.t.Context(), x)
			if err != nil || a.coders.sum(table) != x.sum {
				f.t.Errorf("%s: checksums: %v", name, err)
			}
			var holders []string
			for _, no := range x.place.holders {
				holders = append(holders, a.led.driveIDs[no])
			}
			list[name] = append(list[name], fmt.Sprint(x.size, x.k, x.m, x.side, holders, x.sum))
		}
		slices.Sort(list[name])
		if (list[name] != nil) != f.live[i] {
			f.t.Errorf("%s is %v, want it: %v", name, list[name], f.live[i])
		}
	}
	if a.led.incomplete {
		f.t.Error("the ledger is incomplete")
	}
	return list
}

// Many pieces become one again once so much was stored that it does not matter what that writes.
func TestManyPiecesBecomeOne(t *testing.T) {
	ctx := t.Context()
	ms := []Member{{ID: "drive-0", Label: "disk A", Store: vdrive.New(1)}}
	a, err := Create(ctx, ms, Options{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string) {
		t.Helper()
		if err := errors.Join(a.Put(ctx, name, []byte(name)), a.Sync(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	a.fold, a.room, a.small = 1, 0, 0
	for i := range manyPieces + 5 {
		put(fmt.Sprint("resume/", i))
	}
	if n := len(a.led.pieces); n < manyPieces {
		t.Fatalf("only %d pieces", n)
	}
	a.stored = largeSession - 100
	put("resume/" + strings.Repeat("x", 100))
	if n := len(a.led.pieces); n != 1 || a.stored != 0 {
		t.Errorf("%d pieces, and %d bytes stored since", n, a.stored)
	}
	if a, err = Open(ctx, ms, Options{}); err != nil {
		t.Fatal(err)
	}
	if n := len(a.led.idx.names("resume/")); n != manyPieces+6 || a.led.incomplete {
		t.Errorf("%d blobs, incomplete: %v", n, a.led.incomplete)
	}
}

// A ledger of a format that came after this program is not taken for a damaged one: nothing is opened, nothing is changed.
func TestLedgerOfANewerBoxd(t *testing.T) {
	ctx := t.Context()
	d := vdrive.New(1)
	ms := []Member{{ID: "drive-0", Label: "disk A", Store: d}}
	a, err := Create(ctx, ms, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Put(ctx, "config", []byte("x")), a.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	for name, f := range a.led.files {
		if f.id.counter != a.led.highest {
			continue
		}
		for _, dir := range []string{ledgerDir, copyDir} {
			b, err := storage.ReadAll(ctx, d, dir+name, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parseSegment(b, int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			b[8] = piecesVersion + 1
			d.Lose(dir + name)
			if err := d.Put(ctx, dir+name, sealed(b, int(s.tablesAt)-headerLen)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Open(ctx, ms, Options{}); !errors.Is(err, errNewer) || !strings.Contains(err.Error(), "disk A") {
		t.Errorf("open: %v", err)
	}
}
