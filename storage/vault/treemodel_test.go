package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// phoneTree has the methods of usbhost.Tree, which this package must not import.
type phoneTree interface {
	fs.FS
	Create(name string, size int64, mtime time.Time, r io.Reader) error
	Keep(name string, size int64, mtime time.Time) error
	Mkdir(name string, mtime time.Time) error
	Rename(oldname, newname string) error
	Remove(name string) error
}

// model is what a Tree should hold: a file's content and time, or a folder (content nil).
type model map[string]modelFile

type modelFile struct {
	data  []byte
	mtime time.Time
	dir   bool
}

func (m model) mkdirs(name string) {
	for i := range name {
		if name[i] == '/' {
			if _, ok := m[name[:i]]; !ok {
				m[name[:i]] = modelFile{dir: true}
			}
		}
	}
}

// blocked reports whether a file is in the way of a folder above name.
func (m model) blocked(name string) bool {
	for i := range name {
		if name[i] == '/' {
			if f, ok := m[name[:i]]; ok && !f.dir {
				return true
			}
		}
	}
	return false
}

func (m model) remove(name string) {
	for other := range m {
		if other == name || strings.HasPrefix(other, name+"/") {
			delete(m, other)
		}
	}
}

// TestTreeIsWhatTheModelIs does random operations on Trees and on a map, over several commits and abandoned trees,
// for many fixed seeds.
func TestTreeIsWhatTheModelIs(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	v.pace.pack = 256 << 10
	for seed := range uint64(150) {
		v.pace.held, v.pace.stay = usual.held, usual.stay
		if seed%3 > 0 { // folders leave memory as soon as they can
			v.pace.held, v.pace.stay = int(seed%7), int(seed%3-1)
		}
		treeIsWhatTheModelIs(t, v, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	// All of it can be read by somebody who opens the vault now.
	v = openVault(t, m, words)
	if r, err := v.Verify(t.Context(), nil); err != nil || !r.OK() || r.Snapshots < 150 {
		t.Errorf("verify: %v %+v", err, r)
	}
}

func treeIsWhatTheModelIs(t *testing.T, v *Vault, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	phone := Phone{ID: fmt.Sprint("test:", seed)}
	committed := model{}
	for range 3 {
		now := maps.Clone(committed)
		tree, err := v.Begin(t.Context(), phone)
		if err != nil {
			t.Fatal(err)
		}
		for range r.IntN(40) {
			randomOperation(t, r, tree, now)
		}
		compare(t, "open tree", tree, now)
		if r.IntN(4) == 0 {
			if err := tree.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			s, err := tree.Commit(t.Context(), Outcome{Complete: true})
			if err != nil {
				t.Fatal(err)
			}
			committed = now
			fsys, err := v.FS(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "snapshot", fsys, committed)
			files, bytes := 0, int64(0)
			for _, f := range committed {
				if !f.dir {
					files, bytes = files+1, bytes+int64(len(f.data))
				}
			}
			if s.Files != files || s.Bytes != bytes {
				t.Errorf("the snapshot says %d files and %d bytes, not %d and %d", s.Files, s.Bytes, files, bytes)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// randomName makes few names, so that they meet.
func randomName(r *rand.Rand) string {
	elems := []string{"a", "b", "\xff", "ü", `"`, "c d"}
	n := 1 + r.IntN(3)
	var path []string
	for range n {
		path = append(path, elems[r.IntN(len(elems))])
	}
	return strings.Join(path, "/")
}

func randomOperation(t *testing.T, r *rand.Rand, tree *Tree, m model) {
	t.Helper()
	name, other := randomName(r), randomName(r)
	old, exists := m[name]
	mtime := time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC()
	var err error
	var want error
	switch op := r.IntN(10); op {
	case 0, 1, 2: // Create
		size := r.IntN(2000)
		if r.IntN(10) == 0 {
			size = inlineSize + r.IntN(10)
		}
		data := bytes.Repeat([]byte{byte(r.Uint32())}, size)
		if r.IntN(8) == 0 {
			mtime = time.Time{}
		}
		switch {
		case r.IntN(6) == 0: // the phone is unplugged
			err = tree.Create(name, int64(size)+1, mtime, bytes.NewReader(data))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("create of a short file: %v", err)
			}
			return
		case r.IntN(3) == 0:
			err = tree.Create(name, -1, mtime, iotest.HalfReader(bytes.NewReader(data)))
		default:
			err = tree.Create(name, int64(size), mtime, bytes.NewReader(data))
		}
		if m.blocked(name) || exists && old.dir {
			want = fs.ErrExist
		} else {
			m.mkdirs(name)
			m[name] = modelFile{data: data, mtime: mtime}
		}
	case 3: // Keep
		err = tree.Keep(name, int64(len(old.data)), old.mtime)
		if !exists || old.dir || old.mtime.IsZero() {
			// A resume record of a tree that was abandoned may know the file.
			if err == nil {
				m.mkdirs(name)
				m[name] = modelFile{data: readBack(t, tree, name), mtime: old.mtime}
				return
			}
			want = fs.ErrNotExist
		}
	case 4: // Mkdir
		if r.IntN(2) == 0 {
			mtime = time.Time{}
		}
		err = tree.Mkdir(name, mtime)
		if m.blocked(name) || exists && !old.dir {
			want = fs.ErrExist
		} else {
			m.mkdirs(name)
			if mtime.IsZero() {
				mtime = old.mtime
			}
			m[name] = modelFile{dir: true, mtime: mtime}
		}
	case 5, 6: // Remove
		err = tree.Remove(name)
		if !exists {
			want = fs.ErrNotExist
		}
		m.remove(name)
	default:
		err = tree.Rename(name, other)
		want = m.rename(name, other)
	}
	if !errors.Is(err, want) {
		t.Errorf("%q %q: %v, want %v", name, other, err, want)
	}
}

func (m model) rename(name, other string) error {
	old, exists := m[name]
	target, taken := m[other]
	switch {
	case strings.HasPrefix(other, name+"/"):
		return fs.ErrInvalid
	case !exists:
		return fs.ErrNotExist
	case name == other:
		return nil
	case taken && (target.dir || old.dir), m.blocked(other):
		return fs.ErrExist
	}
	m.mkdirs(other)
	for from, f := range maps.Clone(m) {
		if from == name || strings.HasPrefix(from, name+"/") {
			delete(m, from)
			m[other+from[len(name):]] = f
		}
	}
	return nil
}

func readBack(t *testing.T, fsys fs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// compare checks that fsys holds what m holds. Paths of any bytes rule out fs.WalkDir's path.Join only for odd elements,
// which these are not.
func compare(t *testing.T, what string, fsys fs.FS, m model) {
	t.Helper()
	seen := map[string]bool{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		seen[name] = true
		f, ok := m[name]
		if !ok || f.dir != d.IsDir() {
			t.Errorf("%s: %q: in the model %v", what, name, ok)
			return nil
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		if !i.ModTime().Equal(f.mtime) {
			t.Errorf("%s: %q: time %v, want %v", what, name, i.ModTime(), f.mtime)
		}
		if !f.dir && !bytes.Equal(readBack(t, fsys, name), f.data) {
			t.Errorf("%s: %q: other content", what, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !seen[name] {
			t.Errorf("%s: %q is missing", what, name)
		}
	}
}
