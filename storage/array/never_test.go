package array_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// liar drives an array through faults and checks what it says.
type liar struct {
	t    *testing.T
	rng  *rand.Rand
	r    *rig
	a    *array.Array
	hurt []int // drives that faults may touch
	// confined faults touch at most as many drives as the array survives: then everything acknowledged is readable.
	confined bool
	out      map[int]bool // unplugged
	puts     map[string][]byte
	acked    map[string]bool
	deleted  map[string]bool // or tried to: may be there or not
	script   string
}

// TestArrayNeverLies: whatever happens to the drives, a Get gives the bytes that were put, or an error. If it happens
// to no more drives than the array survives, what a Sync acknowledged is always readable, power cuts or not.
func TestArrayNeverLies(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		script := make([]byte, 8+rng.IntN(24))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		arrayNeverLies(t, seed, script)
		if t.Failed() {
			return
		}
	}
}

func FuzzArrayNeverLies(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 5, 6, 12, 10, 0, 5, 11, 12})
	f.Add(uint64(2), []byte{4, 5, 8, 4, 5, 9, 14, 6, 12, 15, 12})
	// The power goes while one of two drives flushes its ledger: found by fuzzing.
	f.Add(uint64(0), []byte("\x04Z80%708,00"))
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		arrayNeverLies(t, seed, script[:min(len(script), 64)])
	})
}

func arrayNeverLies(t *testing.T, seed uint64, script []byte) {
	rng := rand.New(rand.NewPCG(seed, 3))
	n := 1 + rng.IntN(5)
	survive := min(rng.IntN(4), n-1)
	l := &liar{
		t: t, rng: rng, r: newRig(t, seed, n, survive), confined: seed%2 == 0,
		out: make(map[int]bool), puts: make(map[string][]byte), acked: make(map[string]bool), deleted: make(map[string]bool),
	}
	l.a = l.r.a
	l.hurt = rng.Perm(n)
	if l.confined {
		l.hurt = l.hurt[:survive]
	}
	array.SetFold(l.a, 1+rng.IntN(6))
	for _, b := range script {
		l.step(int(b) % 16)
		if t.Failed() {
			break
		}
	}
	l.check()
	if l.t.Failed() {
		t.Logf("seed %d, %d drives, survive %d, confined %v, hurt %v: %s", seed, n, survive, l.confined, l.hurt, l.script)
	}
}

func (l *liar) step(op int) {
	ctx := l.t.Context()
	l.script += fmt.Sprint(op, " ")
	switch op {
	case 0, 1, 2, 3, 4:
		l.put(op == 4)
	case 5:
		if l.a.Sync(ctx) == nil {
			for name := range l.puts {
				l.acked[name] = true
			}
		}
	case 6, 7, 8, 9:
		l.harm(op)
	case 10:
		l.r.power.Cut(1 + l.rng.IntN(12))
	case 11:
		l.reopen()
	case 12:
		l.check()
	case 13:
		for name := range l.puts { // any
			l.deleted[name] = true
			if err := l.a.Delete(ctx, name); err != nil {
				l.expect(err)
			}
			break
		}
	case 14:
		l.tend()
	case 15:
		for i := range l.out {
			l.r.drives[i].Plug()
		}
		clear(l.out)
	}
}

// tend repairs, or says that a drive travels, or does not.
func (l *liar) tend() {
	ctx := l.t.Context()
	var err error
	switch l.rng.IntN(5) {
	case 0:
		err = l.a.Travel(ctx, fmt.Sprint("drive-", l.rng.IntN(len(l.r.drives))), l.rng.IntN(3) > 0)
	case 1:
		_, err = l.a.CatchUp(ctx, nil)
	default:
		if _, err := l.a.Scrub(ctx, nil); err != nil {
			l.t.Error(err)
		}
		_, err = l.a.Repair(ctx, nil)
	}
	if err != nil {
		l.expect(err)
	}
}

// expect refuses errors that no fault explains.
func (l *liar) expect(err error) {
	if errors.Is(err, storage.ErrExist) {
		l.t.Error(err)
	}
}

func (l *liar) put(big bool) {
	size := l.rng.IntN(3000)
	if big {
		size = 256<<10 + l.rng.IntN(30_000)
	}
	name := packName(len(l.puts))
	l.puts[name] = pack(size, l.rng.Uint64())
	if err := l.a.Put(l.t.Context(), name, l.puts[name]); err != nil {
		l.expect(err)
		l.deleted[name] = true // it never was
	}
}

func (l *liar) harm(op int) {
	if len(l.hurt) == 0 {
		return
	}
	i := l.hurt[l.rng.IntN(len(l.hurt))]
	d := l.r.drives[i]
	switch op {
	case 6:
		for range 1 + l.rng.IntN(20) {
			d.RotRandom()
		}
	case 7:
		for info, err := range d.List(l.t.Context(), "") {
			if err == nil && l.rng.IntN(3) == 0 {
				d.Truncate(info.Name, int(info.Size)/2)
			} else if err == nil && l.rng.IntN(3) == 0 {
				d.Lose(info.Name)
			}
		}
	case 8:
		d.Unplug()
		l.out[i] = true
	case 9:
		d.ErrorOn(vdrive.Op(l.rng.IntN(6)), 1+l.rng.IntN(3), storage.ErrUnavailable)
	}
}

// reopen is what happens after a power cut: all drives are back but those that were pulled.
func (l *liar) reopen() {
	l.r.power.Restore()
	for name := range l.puts {
		if !l.acked[name] {
			l.deleted[name] = true // lost or not: it was not acknowledged
		}
	}
	for i := range l.out {
		l.r.drives[i].Unplug()
	}
	a, err := array.Open(l.t.Context(), l.r.members(), array.Options{})
	if err != nil {
		if l.confined {
			l.t.Errorf("open: %v", err)
		}
		l.expect(err)
		return
	}
	l.a = a
	array.SetFold(l.a, 1+l.rng.IntN(6))
}

// check reads everything.
func (l *liar) check() {
	if l.confined {
		l.reopen() // so that power is on
	}
	if l.t.Failed() {
		return
	}
	for name, want := range l.puts {
		got, err := storage.ReadAll(l.t.Context(), l.a, name, 1<<20)
		if err == nil && !bytes.Equal(got, want) {
			l.t.Errorf("%s: other bytes than were put", name)
		}
		if err != nil && l.confined && l.acked[name] && !l.deleted[name] {
			l.t.Errorf("%s was acknowledged: %v", name, err)
		}
	}
}
