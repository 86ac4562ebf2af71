package vault

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// syntheticIndex makes an index of packs of random blobs, as loading index files would.
func syntheticIndex(packs, blobs int) *index {
	x, r := newIndex(), rand.New(rand.NewPCG(1, 2))
	list := make([]packedBlob, blobs)
	for range packs {
		off := uint32(0)
		for i := range list {
			list[i] = packedBlob{id: randomHash(r), typ: blobType(i % 2), off: off, length: overhead + 1 + r.Uint32N(1<<20)}
			off += list[i].length
		}
		x.addPack(randomHash(r), 0, list)
	}
	return x
}

func randomHash(r *rand.Rand) (h hash) {
	for i := 0; i < len(h); i += 8 {
		binary.LittleEndian.PutUint64(h[i:], r.Uint64())
	}
	return h
}

// heap is the memory in use, in bytes. What earlier tests left in pools is gone at the second collection only.
func heap() float64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// TestIndexMemory: 1.5 million blobs in 200,000 packs must leave room for a backup in 200 MB.
func TestIndexMemory(t *testing.T) {
	before := heap()
	x := syntheticIndex(13_000, 8)
	perBlob := (heap() - before) / float64(x.count())
	t.Logf("%.1f bytes a blob, its share of the pack included", perBlob)
	if perBlob > 62 {
		t.Errorf("%.1f bytes a blob, want at most 62", perBlob)
	}
	runtime.KeepAlive(x)
}

// TestIndexAgainstMap compares the index with a plain list, through packs open, stored, lost, dropped, known twice and at
// odds with each other.
func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		x := newIndex()
		ids := make([]hash, 40)
		for i := range ids {
			ids[i] = randomHash(r)
			ids[i][31] = 0
			if i%2 == 1 {
				ids[i] = ids[i-1] // the same but for its last byte
				ids[i][31] = 1
			}
		}
		model := map[uint32][]packedBlob{}
		random := func() (blobs []packedBlob) {
			off := uint32(0)
			for range 1 + r.IntN(6) {
				if r.IntN(8) == 0 {
					off += 100 // a gap: only strange index files have any
				}
				b := packedBlob{id: ids[r.IntN(len(ids))], typ: blobType(r.IntN(2)), off: off, length: overhead + r.Uint32N(1000), plain: r.Uint32N(2) * (1 + r.Uint32N(1000))}
				off += b.length
				blobs = append(blobs, b)
			}
			return blobs
		}
		for range 60 {
			switch blobs := random(); r.IntN(6) {
			case 0: // written by us
				num := x.openPack()
				for _, b := range blobs {
					if len(x.find(b.typ, b.id, nil)) == 0 { // as the writer does
						x.add(num, b)
						model[num] = append(model[num], b)
					}
				}
				checkIndex(t, x, ids, model)
				if r.IntN(4) == 0 {
					x.closePack(num, hash{}, 0, packLost)
					delete(model, num)
				} else {
					x.closePack(num, randomHash(r), 5, packStored)
				}
			case 1: // a pack that is known, or at odds with what is known
				if n := x.packCount(); n > 0 {
					num := r.Uint32N(n)
					if p := x.pack(num); p.state == packStored && len(model[num]) > 0 {
						if r.IntN(2) == 0 {
							blobs = slices.Clone(model[num])
						}
						for _, b := range blobs {
							if !slices.Contains(model[num], b) {
								model[num] = append(model[num], b)
							}
						}
						if again := x.addPack(p.id, 0, blobs); again != num {
							t.Fatalf("seed %d: pack %d is %d when it comes again", seed, num, again)
						}
					}
				}
			case 2:
				if n := x.packCount(); n > 0 && r.IntN(3) == 0 {
					num := r.Uint32N(n)
					if x.pack(num).state == packStored {
						x.drop([]uint32{num})
						delete(model, num)
					}
				}
			default:
				id := randomHash(r)
				want := slices.Clone(blobs)
				model[x.addPack(id, 0, blobs)] = want
				if _, ok := x.storedPack(id); !ok {
					t.Fatalf("seed %d: a pack is not found by its name", seed)
				}
			}
			checkIndex(t, x, ids, model)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkIndex(t *testing.T, x *index, ids []hash, model map[uint32][]packedBlob) {
	t.Helper()
	all := 0
	for num := range x.packCount() {
		want := slices.Clone(model[num])
		slices.SortFunc(want, packedBlob.compare)
		all += len(want)
		if got := x.blobs(num); x.pack(num).state == packStored && !slices.Equal(got, want) {
			t.Errorf("pack %d holds %v, want %v", num, got, want)
		}
	}
	found := 0
	for _, id := range ids {
		for _, typ := range []blobType{dataBlob, treeBlob} {
			places := x.find(typ, id, nil)
			for _, p := range places {
				if p.id != id || p.typ != typ || !slices.Contains(model[p.pack], p.packedBlob) {
					t.Errorf("find %v gives %v, which is not there", id, p)
				}
			}
			found += len(places)
			if size, ok := x.size(typ, id); ok != (len(places) > 0) || ok && size != places[len(places)-1].packedBlob.size() {
				t.Errorf("size of %v is %d, %v; places %v", id, size, ok, places)
			}
		}
	}
	if found != all {
		t.Errorf("%d places are found of %d", found, all)
	}
}
