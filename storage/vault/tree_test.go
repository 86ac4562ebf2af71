package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"
)

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
