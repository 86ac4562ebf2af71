//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

func newWorld(t *testing.T, seed uint64, words string) *world {
	w := emptyWorld(t, seed, words)
	n := 1 + w.rng.IntN(5)
	w.survive = min(w.rng.IntN(4), n-1)
	for range n {
		w.newDrive()
	}
	w.create()
	return w
}

func emptyWorld(t *testing.T, seed uint64, words string) *world {
	return &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 77)), words: words, power: vdrive.NewPower(), drives: map[string]*vdrive.Drive{},
		hurt: map[string]bool{}, snaps: map[string]*modelSnap{}, phones: []map[string]modelFile{{}, {}},
	}
}

// create makes a vault on the drives.
func (w *world) create() {
	w.t.Helper()
	a, err := array.Create(w.t.Context(), w.members(w.all()), array.Options{Survive: w.survive})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := vault.Create(w.t.Context(), a, w.words, vault.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(v.Close(), a.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.heads = [][]string{w.all()}
}

func modelTime(clock int) time.Time { return time.Unix(int64(clock)*1009, 0) }

// newDrive makes a drive on the box's power supply and returns its ID.
func (w *world) newDrive() string {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", w.rng.IntN(1e12))
	w.drives[id] = vdrive.New(w.rng.Uint64())
	w.power.Feed(w.drives[id])
	return id
}

func (w *world) all() []string { return slices.Sorted(maps.Keys(w.drives)) }

func (w *world) members(ids []string) []array.Member {
	var list []array.Member
	for _, id := range ids {
		list = append(list, array.Member{ID: id, Label: id[30:], Store: w.drives[id]})
	}
	return list
}

// some picks drives: all of them, or any.
func (w *world) some() []string {
	ids := w.all()
	if w.rng.IntN(3) > 0 {
		return ids
	}
	w.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:1+w.rng.IntN(len(ids))]
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(&w.script, "  "+format+"\n", args...) }

// dark reports whether the power failed: then nothing can be asked of the drives.
func (w *world) dark() bool { return w.cutAt > 0 && w.power.Ops() >= w.cutAt }

// session is an open vault.
type session struct {
	ctx context.Context
	ids []string // attached
	a   *array.Array
	v   *vault.Vault
}

// session opens the vault over some drives, if they are enough for it, and does something.
func (w *world) session(ids []string, do func(session)) {
	w.say("attached %s", short12(ids))
	ctx := w.t.Context()
	a, err := array.Open(ctx, w.members(ids), array.Options{})
	if err != nil {
		w.say("no array: %v", err)
		w.mustOpen(ids, err)
		return
	}
	v, err := vault.Open(ctx, a, w.words, vault.Options{})
	if err != nil {
		w.say("no vault: %v", err)
		w.mustOpen(ids, errors.Join(err, a.Close()))
		return
	}
	do(session{ctx, ids, a, v})
	w.heads = append(slices.DeleteFunc(w.heads, func(h []string) bool { return meet(h, ids) }), ids)
	if err := errors.Join(v.Close(), a.Close()); err != nil {
		w.say("close: %v", err)
	}
}

func short12(ids []string) string {
	var s []string
	for _, id := range ids {
		s = append(s, id[30:])
	}
	return strings.Join(s, " ")
}

// mustOpen fails the test if a vault that cannot be opened was promised to be readable.
func (w *world) mustOpen(ids []string, err error) {
	for id, s := range w.snaps {
		if w.promised(s, ids) && !w.dark() {
			w.t.Errorf("with %s the vault does not open, and snapshot %.8s was promised: %v", short12(ids), id, err)
			return
		}
	}
}

// promised reports whether what Health said last covers the drives attached now: those that are not, and those with hidden
// damage, are no more than may be missing.
func (w *world) promised(s *modelSnap, attached []string) bool {
	missing := 0
	for _, id := range s.known {
		if w.hurt[id] || !slices.Contains(attached, id) {
			missing++
		}
	}
	return !s.maybe && missing <= s.spare
}

// safe reports whether all that was promised stays so if a drive goes bad.
func (w *world) safe(without string) bool {
	left := slices.DeleteFunc(w.all(), func(id string) bool { return id == without })
	for _, s := range w.snaps {
		if w.promised(s, w.all()) && !w.promised(s, left) {
			return false
		}
	}
	return len(left) > 0
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
