package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage"
)

const someWords = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon " +
	"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art"

func TestWords(t *testing.T) {
	w, err := NewWords()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseWords(w); err != nil || got != w {
		t.Errorf("new words are not canonical: %v", err)
	}
	if again, err := NewWords(); err != nil || again == w {
		t.Errorf("the same words twice: %v", err)
	}
	for _, s := range []string{someWords, "  " + strings.ToUpper(someWords) + "\r\n", strings.ReplaceAll(someWords, " ", "\n"),
		"1. " + strings.Replace(someWords, " ", " 2) ", 1)} {
		if got, err := ParseWords(s); err != nil || got != someWords {
			t.Errorf("%.30q: %v", s, err)
		}
	}
	for s, want := range map[string]string{
		strings.Replace(someWords, "abandon", "abandn", 1): `word 1, "abandn", is not in the list`,
		strings.Replace(someWords, "art", "artt", 1):       `word 24, "artt", is not in the list`,
		someWords + " art": "there are 25 words, not 24",
		"abandon art":      "there are 2 words, not 24",
		"":                 "there are 0 words, not 24",
		strings.Replace(someWords, "art", "zoo", 1): "the checksum does not fit",
		strings.Repeat("a", 5000):                   "too many",
	} {
		if _, err := ParseWords(s); !errors.Is(err, ErrWords) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", s, err, want)
		}
	}
}

func TestIrreduciblePolynomials(t *testing.T) {
	// x^2+x+1, x^3+x+1 and the polynomial that restic's chunker uses in its tests are irreducible; x^2+1 = (x+1)^2 and
	// x^4+x^2+1 = (x^2+x+1)^2 are not.
	for f, want := range map[polynomial]bool{7: true, 11: true, 0x3DA3358B4DC173: true, 5: false, 21: false, 0x3DA3358B4DC171: false} {
		if f.irreducible() != want {
			t.Errorf("%x: %v", uint64(f), !want)
		}
	}
	// Of degree 10 there are 99 (Gauss's formula).
	n := 0
	for f := polynomial(1 << 10); f < 1<<11; f++ {
		if f.irreducible() {
			n++
		}
	}
	if n != 99 {
		t.Errorf("%d irreducible polynomials of degree 10, not 99", n)
	}
}

// TestOpenTellsErrorsApart harms each part of a vault and reads what Open says.
func TestOpenTellsErrorsApart(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	backup(t, v, pixel, []phoneFile{{"f", []byte("hello"), time.Unix(1, 0)}})
	only := func(prefix string) string {
		for name := range m.blobs {
			if strings.HasPrefix(name, prefix) {
				return name
			}
		}
		t.Fatal("no ", prefix)
		return ""
	}
	flip := func(name string) func(*mapStore) {
		return func(m *mapStore) {
			p := bytes.Clone(m.blobs[name])
			p[len(p)/2] ^= 1
			m.blobs[name] = p
		}
	}
	cut := func(name string) func(*mapStore) {
		return func(m *mapStore) { m.blobs[name] = m.blobs[name][:3] }
	}
	newer := func(m *mapStore) {
		m.blobs["config"] = v.key.sealed([]byte(`{"version":3,"id":"` + v.ID() + `","chunker_polynomial":"25b468838dcb75"}`))
	}
	key, index := only("keys/"), only("index/")
	for what, c := range map[string]struct {
		words string
		harm  func(*mapStore)
		want  error
		says  string
	}{
		"other words":    {someWords, func(*mapStore) {}, ErrWrongKey, "these words do not open this vault"},
		"a passphrase":   {"secret", func(*mapStore) {}, ErrWrongKey, "these words do not open this vault"},
		"empty":          {words, func(m *mapStore) { clear(m.blobs) }, ErrNotVault, "there is no vault here"},
		"no config":      {words, func(m *mapStore) { delete(m.blobs, "config") }, ErrDamaged, "config"},
		"config flipped": {words, flip("config"), ErrDamaged, "config"},
		"config cut":     {words, cut("config"), ErrDamaged, "config"},
		"no key":         {words, func(m *mapStore) { delete(m.blobs, key) }, ErrDamaged, "key"},
		"key flipped":    {words, flip(key), ErrDamaged, key},
		"key cut":        {words, cut(key), ErrDamaged, key},
		"index flipped":  {words, flip(index), ErrDamaged, index},
		"index cut":      {words, cut(index), ErrDamaged, index},
		"away":           {words, func(m *mapStore) { m.gone["config"] = true }, storage.ErrUnavailable, "config"},
		"newer":          {words, newer, ErrNewer, "version 3"},
	} {
		n := m.restart(func(string) bool { return true })
		c.harm(n)
		_, err := Open(t.Context(), n, c.words, Options{})
		if !errors.Is(err, c.want) || err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %q, %v", what, err, c.says, c.want)
		}
	}
	if _, err := Create(t.Context(), m, words, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a vault: %v", err)
	}
}

// TestDamagedIndexIsRebuilt opens a vault without its index, for reading and for writing.
func TestDamagedIndexIsRebuilt(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	files := somePhone(4)
	s := backup(t, v, pixel, files)
	for name, p := range m.blobs {
		if strings.HasPrefix(name, "index/") {
			m.blobs[name] = append(bytes.Clone(p), 0)
		}
	}
	v, err := Open(t.Context(), m, words, Options{IgnoreDamagedIndex: true})
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHostileKeyFiles(t *testing.T) {
	good := keyFile{KDF: "scrypt", N: 1024, R: 8, P: 1, Salt: make([]byte, 64), Data: make([]byte, 200)}
	for what, change := range map[string]func(*keyFile){
		"kdf":          func(k *keyFile) { k.KDF = "argon2" },
		"huge N":       func(k *keyFile) { k.N = 1 << 40 },
		"N times r":    func(k *keyFile) { k.N, k.R = 1<<20, 64 },
		"p":            func(k *keyFile) { k.P = 1 << 20 },
		"N of no kind": func(k *keyFile) { k.N = 1000 },
		"zero":         func(k *keyFile) { k.N, k.R, k.P = 0, 0, 0 },
		"negative":     func(k *keyFile) { k.R = -8 },
		"salt":         func(k *keyFile) { k.Salt = nil },
		"data":         func(k *keyFile) { k.Data = k.Data[:10] },
	} {
		k := good
		change(&k)
		p, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseKeyFile(p); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestOrderIsByGeneration takes snapshots while the clock runs backwards.
func TestOrderIsByGeneration(t *testing.T) {
	m := newMapStore()
	words := someWords
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	v, err := Create(t.Context(), m, words, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	var last Snapshot
	other := Phone{ID: "folder:/media/\xff card", Name: "card"}
	for i, p := range []Phone{pixel, other, pixel} {
		now = now.AddDate(-20*i, 0, 0)
		s := backup(t, v, p, []phoneFile{{"f", []byte{byte(i)}, time.Unix(1, 0)}})
		if s.Generation != uint64(i+1) || !s.Time.After(last.Time) {
			t.Errorf("generation %d at %v after %v", s.Generation, s.Time, last.Time)
		}
		last = s
	}
	v = openVault(t, m, words)
	list, err := v.Snapshots(t.Context())
	if err != nil || len(list) != 3 || list[0].ID != last.ID || list[1].Phone != other.ID {
		t.Fatalf("%+v, %v", list, err)
	}
	if list[0].Name != pixel.Name || list[0].Files != 1 || list[0].Bytes != 1 || list[0].Foreign {
		t.Errorf("%+v", list[0])
	}
	for ref, want := range map[string]string{"latest": last.ID, "latest:" + other.ID: list[1].ID, "latest:" + pixel.ID: last.ID,
		last.ID: last.ID, last.ID[:12]: last.ID} {
		if s, err := v.Find(t.Context(), ref); err != nil || s.ID != want {
			t.Errorf("%q: %.8s %v", ref, s.ID, err)
		}
	}
	for ref, want := range map[string]error{"": ErrNoSnapshot, "zz": ErrNoSnapshot, "latest:nobody": ErrNoSnapshot} {
		if _, err := v.Find(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// TestOutcomeIsKept stores a report with names of any bytes and more problems than fit.
func TestOutcomeIsKept(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	o := Outcome{Listed: 7, Kept: 2, Moved: 99}
	for i := range maxProblems + 3 {
		o.Problems = append(o.Problems, Problem{Name: fmt.Sprintf("\xff/%d", i), Reason: "locked", Listed: true, Stale: i == 0})
	}
	if _, err := tree.Commit(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s, err := openVault(t, m, words).Find(t.Context(), "latest")
	if err != nil {
		t.Fatal(err)
	}
	if s.Complete || s.Outcome == nil || len(s.Outcome.Problems) != maxProblems || s.Outcome.More != 3 || s.Outcome.Moved != 99 {
		t.Fatalf("%+v", s)
	}
	if p := s.Outcome.Problems[0]; p.Name != "\xff/0" || !p.Stale || p.Reason != "locked" {
		t.Errorf("%+v", p)
	}
}

// TestVerifyNamesTheDamage flips a bit in every place of a small vault in turn; Verify never says that all is well.
func TestVerifyNamesTheDamage(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	s := backup(t, v, pixel, []phoneFile{{"d/f", bytes.Repeat([]byte("hello"), 3), time.Unix(1, 0)}, {"g", []byte("x"), time.Unix(1, 0)}})
	if r, err := v.Verify(t.Context(), nil); err != nil || !r.OK() || r.Snapshots != 1 || r.Blobs != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	hits := map[string]bool{}
	for name, p := range m.blobs {
		if !strings.HasPrefix(name, "data/") && !strings.HasPrefix(name, "snapshots/") {
			continue
		}
		for i := range p {
			n := m.restart(func(string) bool { return true })
			n.blobs[name] = bytes.Clone(p)
			n.blobs[name][i] ^= 0x10
			v := openVault(t, n, words)
			r, err := v.Verify(t.Context(), nil)
			if err != nil || len(r.Damaged) == 0 || !strings.Contains(r.Damaged[0].Name, name) {
				t.Errorf("%s byte %d: %+v, %v", name, i, r, err)
			}
			for _, h := range r.Hit {
				hits[h.Path] = true
				if h.Snapshot != s.ID {
					t.Errorf("hit %+v", h)
				}
			}
		}
	}
	for _, want := range []string{".", "d", "d/f", "g"} {
		if !hits[want] {
			t.Errorf("%s never named", want)
		}
	}
	for name := range m.blobs {
		if strings.HasPrefix(name, "data/") {
			delete(m.blobs, name)
			break
		}
	}
	if r, err := openVault(t, m, words).Verify(t.Context(), nil); err != nil || r.OK() {
		t.Errorf("a pack is missing: %+v, %v", r, err)
	}
}

// TestFullStore: the backup fails and says so, what was there stays, and the next backup with room succeeds.
func TestFullStore(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	files := crashFiles(1, 4, 2_500_000)
	first := backup(t, v, pixel, files)
	m.full = m.put + 20<<20
	more := append(files, crashFiles(9, 40, 2_500_001)...)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range more {
		if err = tree.Create("new/"+f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			break
		}
	}
	if _, e := tree.Commit(t.Context(), Outcome{Complete: true}); !errors.Is(e, storage.ErrFull) {
		t.Errorf("commit into a full store: %v (create: %v)", e, err)
	}
	if err := tree.Close(); !errors.Is(err, storage.ErrFull) {
		t.Errorf("close: %v", err)
	}
	fsys, err := v.FS(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
	m.full = 0
	s := backup(t, v, pixel, more)
	if fsys, err = v.FS(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, append(files, more...)[len(files):])
}

// TestCancelledBackupIsSaved ends Begin's context in the middle; Close still saves what was stored.
func TestCancelledBackupIsSaved(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	tree, err := v.Begin(ctx, pixel)
	if err != nil {
		t.Fatal(err)
	}
	f := phoneFile{"f", []byte("hello"), time.Unix(1, 0)}
	if err := tree.Create(f.name, 5, f.mtime, bytes.NewReader(f.data)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := tree.Create("g", 5, f.mtime, bytes.NewReader(f.data)); !errors.Is(err, context.Canceled) {
		t.Errorf("create after cancel: %v", err)
	}
	if _, err := tree.Commit(ctx, Outcome{}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit after cancel: %v", err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
	tree, err = openVault(t, m, words).Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Keep("f", 5, f.mtime); err != nil {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
}

// TestExportGoesOn cuts an export short, spoils what it wrote, changes the vault, and lets it go on: what is there then is
// what a fresh export has, and what was there and good was not read again.
func TestExportGoesOn(t *testing.T) {
	m := newMapStore()
	v, _ := newVault(t, m)
	v.pace = rhythm{pack: 60_000, sync: 120_000, maxUnsynced: 180_000, index: 2, merge: 2}
	backup(t, v, pixel, crashFiles(1, 20, 25_000))
	dir := filepath.Join(t.TempDir(), "repo")
	ctx, cancel := context.WithCancel(t.Context())
	err := Export(ctx, m, dir, func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "config")); err == nil {
		t.Error("an export cut short is a repository")
	}
	packs, err := filepath.Glob(filepath.Join(dir, "data", "*", "*"))
	if err != nil || len(packs) < 3 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	torn := packs[0]
	if info, err := os.Stat(torn); err != nil || os.WriteFile(torn, make([]byte, info.Size()), 0o600) != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "index", strings.Repeat("0", 64)) // of an index that a prune removed meanwhile
	mine := filepath.Join(dir, "notes.txt")
	if os.WriteFile(gone, []byte("old"), 0o600) != nil || os.WriteFile(mine, []byte("mine"), 0o600) != nil || os.WriteFile(packs[1]+".part", nil, 0o600) != nil {
		t.Fatal("cannot write")
	}
	other := newMapStore()
	newVault(t, other)
	if err := Export(t.Context(), other, dir, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an export of another vault goes on here: %v", err)
	}
	backup(t, v, pixel, crashFiles(2, 20, 25_000))
	m.gone[strings.TrimPrefix(filepath.ToSlash(packs[2]), filepath.ToSlash(dir)+"/")] = true // must not be read again
	if err := Export(t.Context(), m, dir, nil); err != nil {
		t.Fatal(err)
	}
	clear(m.gone)
	fresh := t.TempDir()
	if err := Export(t.Context(), m, fresh, nil); err != nil {
		t.Fatal(err)
	}
	if p, err := os.ReadFile(mine); err != nil || string(p) != "mine" {
		t.Errorf("a file of the owner's: %q, %v", p, err)
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	if a, b := loadStore(t, fresh), loadStore(t, dir); !maps.EqualFunc(a.blobs, b.blobs, bytes.Equal) {
		t.Error("an export that went on is not as one that was never cut short")
	}
}

func TestExport(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	files := somePhone(8)
	s := backup(t, v, pixel, files)
	tree, err := v.Begin(t.Context(), pixel) // leaves a resume record behind
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create("half", 4, time.Unix(1, 0), strings.NewReader("half")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "made", "here")
	var last, total int64
	if err := Export(t.Context(), m, dir, func(d, n int64) { last, total = d, n }); err != nil {
		t.Fatal(err)
	}
	if last != total || total == 0 {
		t.Errorf("watched %d of %d", last, total)
	}
	if _, err := os.Stat(filepath.Join(dir, "resume")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("resume records were exported: %v", err)
	}
	if err := Export(t.Context(), m, dir, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("export into a folder that is not empty: %v", err)
	}
	if err := Export(t.Context(), newMapStore(), t.TempDir(), nil); !errors.Is(err, ErrNotVault) {
		t.Errorf("export of nothing: %v", err)
	}
	restic := stock(t, dir, words)
	if out := restic("check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Errorf("check: %s", out)
	}
	if out := restic("dump", s.ID, "/text/notes \"quoted\" \\ <&>.json"); out != strings.Repeat(`{"hello":"world"}, `, 20000) {
		t.Errorf("dump: %d bytes", len(out))
	}
	for name, p := range m.blobs {
		if strings.HasPrefix(name, "data/") {
			m.blobs[name] = append(bytes.Clone(p[:len(p)-1]), p[len(p)-1]^1)
			break
		}
	}
	if err := Export(t.Context(), m, t.TempDir(), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("export of a damaged pack: %v", err)
	}
}
