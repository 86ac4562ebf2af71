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
	"sync"
	"testing"
	"testing/fstest"
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

var (
	_ phoneTree     = (*Tree)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
	_ io.ReaderAt   = (*file)(nil)
	_ io.Seeker     = (*file)(nil)
	_ io.WriterTo   = (*file)(nil)
)

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

func TestSnapshotAndTreePassTestFS(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	var files []phoneFile
	var names []string
	for _, f := range somePhone(5) {
		// TestFS wants names that fs.ValidPath takes; and without a backslash.
		if fs.ValidPath(f.name) && !strings.HasPrefix(f.name, "DCIM") && !strings.Contains(f.name, `\`) && !strings.Contains(f.name, "zeros") {
			files, names = append(files, f), append(names, f.name)
		}
	}
	s := backup(t, v, pixel, files)
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(fsys, names...); err != nil {
		t.Error(err)
	}
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create("new/file", 3, time.Unix(1, 0), strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, append(names, "new/file")...); err != nil {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
}

// TestBigFileReads reads a file of several chunks in every way.
func TestBigFileReads(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	data := make([]byte, 9*chunkSize+777)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{9}), data); err != nil {
		t.Fatal(err)
	}
	s := backup(t, v, pixel, []phoneFile{{"big", data, time.Unix(5, 0)}})
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := fsys.Open("big")
	if err != nil {
		t.Fatal(err)
	}
	f := opened.(*file)
	if err := iotest.TestReader(io.NewSectionReader(f, 2*chunkSize-500, 1000), data[2*chunkSize-500:][:1000]); err != nil {
		t.Error(err)
	}
	var buf bytes.Buffer
	if n, err := io.Copy(&buf, f); err != nil || n != int64(len(data)) || !bytes.Equal(buf.Bytes(), data) {
		t.Errorf("copy: %d %v", n, err)
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, seed))
			p := make([]byte, 100_000)
			for range 50 {
				off := r.IntN(len(data))
				n, err := f.ReadAt(p, int64(off))
				if !bytes.Equal(p[:n], data[off:][:n]) || n < len(p) && err != io.EOF || n == len(p) && err != nil {
					t.Errorf("ReadAt %d: %d %v", off, n, err)
				}
			}
		})
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

// TestCreateFailsAndTheOldVersionStays is the rule for everything that a phone can do wrong.
func TestCreateFailsAndTheOldVersionStays(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(77, 0)
	errPhone := errors.New("the cable came out")
	big := make([]byte, 2*chunkSize)
	if err := tree.Create("f", 3, at, strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		size int64
		r    io.Reader
		want error
	}{
		"small, fails":              {10, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(errPhone)), errPhone},
		"small, fails at its end":   {3, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(errPhone)), errPhone},
		"small, short":              {10, strings.NewReader("abc"), io.ErrUnexpectedEOF},
		"empty, but is not":         {0, strings.NewReader("abc"), ErrTooLong},
		"small, long":               {2, strings.NewReader("abc"), ErrTooLong},
		"large, fails":              {1 << 40, io.MultiReader(bytes.NewReader(big), iotest.ErrReader(errPhone)), errPhone},
		"large, fails at its end":   {int64(len(big)), io.MultiReader(bytes.NewReader(big), iotest.ErrReader(errPhone)), errPhone},
		"large, short":              {int64(len(big)) + 1, bytes.NewReader(big), io.ErrUnexpectedEOF},
		"large, long":               {int64(len(big)) - 1, bytes.NewReader(big), ErrTooLong},
		"unknown size, fails":       {-1, io.MultiReader(bytes.NewReader(big), iotest.ErrReader(errPhone)), errPhone},
		"unexpected EOF of its own": {3, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	} {
		if err := tree.Create("f", c.size, at.Add(1), c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if err := tree.Keep("f", 3, at); err != nil {
			t.Errorf("%s: the former version is gone: %v", what, err)
		}
	}
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "..", "a/../b", "a/.", "a\x00b", strings.Repeat("a/", 2000) + "a"} {
		if err := tree.Create(name, 0, at, strings.NewReader("")); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("create %.20q: %v", name, err)
		}
	}
	if _, err := v.Begin(t.Context(), pixel); !errors.Is(err, ErrBusy) {
		t.Errorf("a second tree: %v", err)
	}
	if _, err := tree.Commit(t.Context(), Outcome{}); err != nil {
		t.Error(err)
	}
	if err := tree.Create("g", 0, at, strings.NewReader("")); !errors.Is(err, ErrClosed) {
		t.Errorf("create after commit: %v", err)
	}
}

// TestConcurrentCreates stores from four goroutines, many equal chunks among them.
func TestConcurrentCreates(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	var files []phoneFile
	for i := range 400 {
		r := rand.NewChaCha8([32]byte{byte(i % 50)})
		p := make([]byte, 1000*(i%300)+1)
		if _, err := io.ReadFull(r, p); err != nil {
			t.Fatal(err)
		}
		files = append(files, phoneFile{fmt.Sprintf("d%d/f%d", i%13, i), p, time.Unix(int64(i), 0).UTC()})
	}
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := k; i < len(files); i += 4 {
				f := files[i]
				if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if p := readBack(t, tree, f.name); !bytes.Equal(p, f.data) {
						t.Errorf("%s read back differs", f.name)
					}
				}
			}
		})
	}
	wg.Wait()
	s, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	v = openVault(t, m, words)
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files)
}

// TestKeepAsksForTheChunks takes a pack's holders away: what is in it must be read from the phone again.
func TestKeepAsksForTheChunks(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	files := crashFiles(1, 12, 2_500_000)
	backup(t, v, pixel, files)
	away := ""
	for name := range m.blobs {
		if strings.HasPrefix(name, "data/") && len(m.blobs[name]) > 10<<20 {
			away = name
		}
	}
	m.gone[away] = true
	v = openVault(t, m, words)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, f := range files {
		err := tree.Keep(f.name, int64(len(f.data)), f.mtime)
		if err == nil {
			kept++
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		} else if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
			t.Error(err)
		}
	}
	if kept == 0 || kept == len(files) {
		t.Errorf("%d of %d kept with one pack away", kept, len(files))
	}
	s, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, files) // while the pack is still away
}

// TestTreeForgetsFolders keeps every file of a phone as an unchanged backup does: what is in memory does not grow with it.
func TestTreeForgetsFolders(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	const folders, files = 40, 25
	name := func(d, f int) string { return fmt.Sprintf("DCIM/d%02d/f%02d", d, f) }
	at := func(d, f int) time.Time { return time.Unix(int64(1000*d+f), 0) }
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	for d := range folders {
		for f := range files {
			if err := tree.Create(name(d, f), 4, at(d, f), strings.NewReader(fmt.Sprintf("%04d", 100*d+f))); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	v = openVault(t, m, words)
	v.pace.held = 200
	if tree, err = v.Begin(t.Context(), pixel); err != nil {
		t.Fatal(err)
	}
	most := 0
	for d := range folders {
		for f := range files {
			if err := tree.Keep(name(d, f), 4, at(d, f)); err != nil {
				t.Fatal(err)
			}
			most = max(most, tree.open.held)
		}
	}
	if limit := v.pace.held + v.pace.stay*files; most > limit {
		t.Errorf("%d entries in memory, want at most %d", most, limit)
	}
	reads := m.getOps
	tree.src = v.newSource() // what it has read last does not help it
	second, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil || second.tree != first.tree || second.Files != folders*files || second.Bytes != first.Bytes {
		t.Errorf("the same files are %+v, %v; they were %+v", second, err, first)
	}
	if n := m.getOps - reads; n > 0 {
		t.Errorf("Commit read %d times, though the run had read every folder", n)
	}
}

// TestRunsAreCountedAndTimesSet: a phone's runs are counted apart from other phones', and a file gets another time without
// being stored anew.
func TestRunsAreCountedAndTimesSet(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	at := time.Unix(1_700_000_000, 0).UTC()
	for i, phone := range []Phone{pixel, {ID: "mtp:other"}, pixel, pixel} {
		v = openVault(t, m, words)
		tree, err := v.Begin(t.Context(), phone)
		if err != nil {
			t.Fatal(err)
		}
		if want := []uint64{0, 0, 1, 2}[i]; tree.Run() != want {
			t.Errorf("run %d of %s calls itself %d", i, phone.ID, tree.Run())
		}
		if i == 0 {
			err = tree.Create("a/b", 5, at, strings.NewReader("hello"))
		} else if phone == pixel {
			err = tree.Retime("a/b", at.Add(time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Retime("a/none", at); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if err := tree.Retime("a", at); err == nil {
			t.Error("a folder is no file")
		}
		if _, err := tree.Commit(t.Context(), Outcome{Complete: true}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := v.Find(t.Context(), "latest:"+pixel.ID)
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	info, err := fs.Stat(fsys, "a/b")
	if err != nil || !info.ModTime().Equal(at.Add(time.Hour)) || string(readBack(t, fsys, "a/b")) != "hello" {
		t.Errorf("%v, %v", info, err)
	}
}
