package mtp

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// phoneOf makes an index of objects: handle, parent, name; a name that ends in "/" is a folder.
func phoneOf(objects ...[3]any) *index {
	x := newIndex([]storageInfo{{id: 0x10001, description: "S"}, {id: 0x20001, description: "S"}}, time.UTC)
	for _, o := range objects {
		name := o[2].(string)
		format := uint64(formatUndefined)
		if strings.HasSuffix(name, "/") {
			name, format = strings.TrimSuffix(name, "/"), formatAssociation
		}
		h := uint32(o[0].(int))
		for _, p := range []property{
			{h, propParent, uint64(o[1].(int)), ""}, {h, propFileName, 0, name}, {h, propFormat, format, ""}, {h, propSize, uint64(h), ""}, {h, propStorageID, 0x20001, ""},
		} {
			x.set(p)
		}
	}
	return x
}

func paths(x *index) (all []string) {
	dirs, _ := x.dirs()
	for _, d := range dirs {
		all = append(all, d.path+"/")
		for _, f := range d.files {
			all = append(all, d.path+"/"+f.name)
		}
	}
	slices.Sort(all)
	return all
}

func TestParentsThatMakeNoTree(t *testing.T) {
	x := phoneOf([3]any{1, 0, "top/"}, [3]any{2, 1, "file"},
		[3]any{3, 4, "loop a/"}, [3]any{4, 3, "loop b/"}, [3]any{5, 4, "in the loop"},
		[3]any{6, 6, "own parent/"}, [3]any{7, 99, "orphan"}, [3]any{8, 2, "child of a file"},
		[3]any{9, 0x20001, "parent is the storage"}, [3]any{10, 0, "file"}, [3]any{11, 0, "file"},
		[3]any{0x10001, 1, "numbered as a storage/"}, [3]any{12, 0x10001, "in it"})
	want := []string{
		"S (2)/", "S (2)/(without folder)/", "S (2)/(without folder)/child of a file", "S (2)/(without folder)/loop a/",
		"S (2)/(without folder)/loop a/loop b/", "S (2)/(without folder)/loop a/loop b/in the loop", "S (2)/(without folder)/orphan",
		"S (2)/file", "S (2)/file (2)", "S (2)/own parent/", "S (2)/parent is the storage", "S (2)/top/", "S (2)/top/file",
		"S (2)/top/numbered as a storage/", "S (2)/top/numbered as a storage/in it", "S/",
	}
	if got := paths(x); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestEveryObjectIsThereOnce: whatever a phone says of its objects' parents, storages and names.
func TestEveryObjectIsThereOnce(t *testing.T) {
	for seed := range uint64(5000) {
		everyObjectOnce(t, seed)
	}
}

func FuzzEveryObjectIsThereOnce(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(everyObjectOnce)
}

func everyObjectOnce(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	x := newIndex([]storageInfo{{id: 0x10001, description: "S"}, {id: 0x20001, description: "S"}}, time.UTC)
	for range r.IntN(30) { // some are told again, and lie elsewhere then
		h := uint32(1 + r.IntN(20))
		if r.IntN(30) == 0 {
			h = 0x10001
		}
		parent := []uint32{handleNone, handleAll, 0x10001, 0x20001, h, 99, uint32(1 + r.IntN(20)), uint32(1 + r.IntN(20))}[r.IntN(8)]
		name := []string{"a", "b", "..", "", "a (2)", lost, lost + " (2)", "a/b"}[r.IntN(8)]
		format := uint64(formatUndefined + r.IntN(2))
		storage := []uint64{0x10001, 0x20001, 0x30001}[r.IntN(3)]
		for _, p := range []property{{h, propParent, uint64(parent), ""}, {h, propFileName, 0, name}, {h, propFormat, format, ""}, {h, propSize, 1, ""}, {h, propStorageID, storage, ""}} {
			x.set(p)
		}
		x.object(h).dead = r.IntN(10) == 0
	}
	want := map[uint32]bool{} // handles
	for _, o := range x.objects {
		if !o.dead {
			want[o.handle] = true
		}
	}
	dirs, _ := x.dirs()
	stands, subs := map[string]bool{}, map[string]bool{}
	once := func(path string, handle uint32) {
		if stands[path] {
			t.Errorf("seed %d: %q stands twice", seed, path)
		}
		if stands[path] = true; !want[handle] && handle != handleAll && x.broken[handle] == "" {
			t.Errorf("seed %d: %q is object %#x, which is dead or there already", seed, path, handle)
		}
		delete(want, handle)
	}
	for _, d := range dirs {
		once(d.path, d.handle)
		if d.handle != handleAll && !subs[d.path] {
			t.Errorf("seed %d: %q is in no folder before it", seed, d.path)
		}
		for _, f := range d.files {
			once(d.path+"/"+f.name, f.handle)
		}
		for _, sub := range d.subs {
			subs[d.path+"/"+sub] = true
		}
	}
	if len(want) > 0 {
		t.Errorf("seed %d: nowhere: %v", seed, want)
	}
}
