package vault

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// cachedVault is a vault with two index files that are large enough to be cached, of packs that are made up, and a folder
// with the cache of them.
func cachedVault(t *testing.T) (m *mapStore, words, dir string) {
	t.Helper()
	m = newMapStore()
	v, words := newVault(t, m)
	r := rand.New(rand.NewPCG(5, 5))
	for range 2 {
		var nums []uint32
		for range 90 {
			var blobs []packedBlob
			off := uint32(0)
			for range 20 {
				b := packedBlob{id: randomHash(r), typ: blobType(r.IntN(2)), off: off, length: overhead + 1 + r.Uint32N(1<<18), plain: r.Uint32N(2) * r.Uint32N(1<<20)}
				blobs, off = append(blobs, b), off+b.length
			}
			nums = append(nums, v.index.addPack(randomHash(r), 0, blobs))
		}
		if err := v.writeIndexes(t.Context(), nums); err != nil {
			t.Fatal(err)
		}
	}
	dir = t.TempDir()
	if n := len(cachedFiles(t, dir)); n != 0 {
		t.Fatal(n)
	}
	openCached(t, m, words, dir)
	if n := len(cachedFiles(t, dir)); n != 2 {
		t.Fatalf("%d index files are cached, want 2", n)
	}
	return m, words, dir
}

func openCached(t *testing.T, m *mapStore, words, dir string) *Vault {
	t.Helper()
	v, err := Open(t.Context(), m, words, Options{Cache: dir})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func cachedFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// contents is all that an index knows, by pack.
func contents(x *index) map[hash][]packedBlob {
	all := map[hash][]packedBlob{}
	for n := range x.packCount() {
		all[x.pack(n).id] = x.blobs(n)
	}
	return all
}

func wantSameIndex(t *testing.T, got, want *Vault) {
	t.Helper()
	a, b := contents(got.index), contents(want.index)
	if len(a) != len(b) || len(a) != 180 {
		t.Errorf("%d packs, want %d", len(a), len(b))
	}
	for id, blobs := range b {
		if !slices.Equal(a[id], blobs) {
			t.Errorf("pack %s holds %d blobs, want %d others", id, len(a[id]), len(blobs))
		}
	}
}

func TestIndexCache(t *testing.T) {
	m, words, dir := cachedVault(t)
	cold := openVault(t, m, words)
	reads := func(f func()) int {
		before := m.getOps
		f()
		return m.getOps - before
	}
	all := reads(func() { wantSameIndex(t, openVault(t, m, words), cold) })
	warm := reads(func() { wantSameIndex(t, openCached(t, m, words, dir), cold) })
	if warm != all-2 {
		t.Errorf("with the cache %d reads, without %d: want two less", warm, all)
	}
	files := cachedFiles(t, dir)
	for _, hurt := range []func(p, other []byte) []byte{
		func(p, _ []byte) []byte { return nil },
		func(p, _ []byte) []byte { return p[:len(p)/2] },
		func(p, _ []byte) []byte { return append(p, 0) },
		func(_, other []byte) []byte { return other }, // of another index file: sealed with the right key
		func(p, _ []byte) []byte { p[len(p)/3] ^= 4; return p },
	} {
		good := readTestFile(t, files[0])
		if err := os.WriteFile(files[0], hurt(bytes.Clone(good), readTestFile(t, files[1])), 0o600); err != nil {
			t.Fatal(err)
		}
		wantSameIndex(t, openCached(t, m, words, dir), cold)
		if n := reads(func() { openCached(t, m, words, dir) }); n != warm {
			t.Errorf("a damaged cache was not written anew: %d reads, want %d", n, warm)
		}
	}
}

func readTestFile(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestIndexCacheEveryByte flips every bit of a cached index file and cuts it off everywhere: it is as good as missing.
func TestIndexCacheEveryByte(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	c, err := v.openCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, blobs := hash{7}, []packedBlob{{id: hash{1}, length: 100}, {id: hash{2}, typ: treeBlob, off: 100, length: 50, plain: 900}}
	c.save(id, appendCached(appendCached(nil, hash{9}, blobs), hash{8}, blobs[:1]))
	file := filepath.Join(c.dir, id.String())
	packs := 0
	add := func(hash, []packedBlob) { packs++ }
	if !c.load(id, add) || packs != 2 {
		t.Fatalf("%d packs", packs)
	}
	good := readTestFile(t, file)
	try := func(what string, i int, p []byte) {
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
		if packs = 0; c.load(id, add) || packs > 0 {
			t.Fatalf("%s %d: %d packs are believed", what, i, packs)
		}
	}
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		try("flipped bit", i, bad)
	}
	for i := range good {
		try("cut off at", i, good[:i])
	}
}

// TestIndexCacheOfWhatIsThere: what other programs do to the index files counts, and the cache of those that are gone goes.
func TestIndexCacheOfWhatIsThere(t *testing.T) {
	m, words, dir := cachedVault(t)
	gone := filepath.Base(cachedFiles(t, dir)[0])
	if err := m.Delete(t.Context(), "index/"+gone); err != nil {
		t.Fatal(err)
	}
	v := openCached(t, m, words, dir)
	if n := len(contents(v.index)); n != 90 {
		t.Errorf("%d packs are known, want the 90 of the index file that is left", n)
	}
	if files := cachedFiles(t, dir); len(files) != 1 || filepath.Base(files[0]) == gone {
		t.Errorf("cached are %v", files)
	}
	// Another vault's files, and the folder itself not to be had, do not matter.
	other := newMapStore()
	v2, words2 := newVault(t, other)
	c2, err := v2.openCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.openCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	left, err := parseHash(filepath.Base(cachedFiles(t, dir)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if c2.dir = c.dir; c2.load(left, func(hash, []packedBlob) {}) {
		t.Error("another vault's cache is believed")
	}
	if n := len(contents(openCached(t, other, words2, "/proc/no/such").index)); n != 0 {
		t.Errorf("%d packs", n)
	}
	openCached(t, m, words, "/proc/no/such")
}

// TestVerifyReadsIndexesDespiteCache: an index file that is damaged on the drives is found although the cache is good.
func TestVerifyReadsIndexesDespiteCache(t *testing.T) {
	m, words, dir := cachedVault(t)
	name := "index/" + filepath.Base(cachedFiles(t, dir)[0])
	m.blobs[name] = bytes.Clone(m.blobs[name])
	m.blobs[name][1000] ^= 1
	r, err := openCached(t, m, words, dir).Verify(t.Context(), nil)
	if err != nil || !slices.ContainsFunc(r.Damaged, func(d Damage) bool { return d.Name == name }) {
		t.Errorf("verify: %v, and %d things damaged, without %s", err, len(r.Damaged), name)
	}
}

func FuzzCached(f *testing.F) {
	blobs := []packedBlob{{id: hash{1}, length: 100}, {id: hash{2}, typ: treeBlob, off: 100, length: 50, plain: 900}, {id: hash{3}, off: 40, length: 60}}
	f.Add(appendCached(appendCached(nil, hash{9}, blobs), hash{8}, blobs[:1]))
	f.Add(append(make([]byte, 32), 0xff, 0xff, 0xff, 0xff, 0x0f))
	f.Fuzz(func(t *testing.T, p []byte) {
		var again []byte
		ok := parseCached(p, func(pack hash, blobs []packedBlob) {
			for _, b := range blobs {
				if !b.valid() {
					t.Errorf("impossible blob %+v", b)
				}
			}
			again = appendCached(again, pack, blobs)
		})
		if ok && !bytes.Equal(again, p) {
			t.Errorf("%x is encoded as %x", p, again)
		}
	})
}
