package vault

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
)

// TestABeginningIsGoneOnWith: a file's reader fails at different places; the next run goes on from the last byte, whether the
// run was committed or only closed, after a power cut and after a prune, and the file is as if it had come in one piece.
func TestABeginningIsGoneOnWith(t *testing.T) {
	film := crashFiles(8, 1, 11_000_000)[0]
	cable := errors.New("the cable came out")
	size := int64(len(film.data))
	for commit, cuts := range map[bool][]int64{false: {minPart, chunkSize, 2*chunkSize + 5}, true: {chunkSize - 1, chunkSize + 1, size - 1}} {
		for _, cut := range cuts {
			m := newMapStore()
			v, words := newVault(t, m)
			tree, err := v.Begin(t.Context(), pixel)
			if err != nil {
				t.Fatal(err)
			}
			cutOff := io.MultiReader(bytes.NewReader(film.data[:cut]), iotest.ErrReader(cable))
			if err := tree.Create(film.name, size, film.mtime, cutOff); !errors.Is(err, cable) {
				t.Fatal(err)
			}
			if commit {
				if _, err := tree.Commit(t.Context(), Outcome{}); err != nil {
					t.Fatal(err)
				}
			} else if err := tree.Close(); err != nil {
				t.Fatal(err)
			}
			m = m.restart(func(string) bool { return false })
			v = openVault(t, m, words)
			if _, err := v.Prune(t.Context(), PruneOptions{}); err != nil {
				t.Fatal(err)
			}
			before := m.dataBytes()
			if tree, err = v.Begin(t.Context(), pixel); err != nil {
				t.Fatal(err)
			}
			if _, err := tree.Open(film.name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("half a file is in the tree: %v", err)
			}
			part, err := tree.Begun(film.name, size, film.mtime)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			got, err := io.ReadAll(part)
			if err != nil || part.Size() != cut || !bytes.Equal(got, film.data[:cut]) {
				t.Errorf("cut at %d: %d bytes were begun, %v", cut, part.Size(), err)
			}
			if err := tree.Continue(film.name, size, film.mtime, cut-1, bytes.NewReader(film.data[cut:])); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("gone on with from elsewhere: %v", err)
			}
			if err := tree.Continue(film.name, size, film.mtime, cut, bytes.NewReader(film.data[cut:])); err != nil {
				t.Fatal(err)
			}
			s, err := tree.Commit(t.Context(), Outcome{Complete: true})
			if err != nil {
				t.Fatal(err)
			}
			fsys, err := v.FS(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			sameFiles(t, fsys, []phoneFile{film})
			if more := m.dataBytes() - before; more > size-cut+chunkSize+100_000 {
				t.Errorf("cut at %d: going on stored %d bytes", cut, more)
			}
			for name := range m.restart(func(string) bool { return true }).blobs {
				if strings.HasPrefix(name, "resume/") {
					t.Errorf("%s is left", name)
				}
			}
			chunksOfOnePiece(t, v, film)
		}
	}
}

// chunksOfOnePiece stores the file anew in one piece and expects that nothing of it is new.
func chunksOfOnePiece(t *testing.T, v *Vault, f phoneFile) {
	t.Helper()
	tree, err := v.Begin(t.Context(), Phone{ID: "mtp:other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create(f.name, int64(len(f.data)), f.mtime, bytes.NewReader(f.data)); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Commit(t.Context(), Outcome{Complete: true}); err != nil {
		t.Fatal(err)
	}
	if tree.w.added > 10_000 {
		t.Errorf("in one piece it is cut otherwise: %d bytes are new", tree.w.added)
	}
}

// TestABeginningOfAnotherVersion: nothing is offered of a file of another size or time, of one that was not what its size
// said, or whose chunks are gone; and an incomplete commit that never came to the file keeps the offer up.
func TestABeginningOfAnotherVersion(t *testing.T) {
	film := crashFiles(8, 1, 11_000_000)[0]
	const size, cut = 10_000_000, 9_000_000
	m := newMapStore()
	v, words := newVault(t, m)
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]error{"film": errors.New("unplugged"), "short": io.ErrUnexpectedEOF} {
		r := io.MultiReader(bytes.NewReader(film.data[:cut]), iotest.ErrReader(fault))
		if err := tree.Create(name, size, film.mtime, r); !errors.Is(err, fault) {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := tree.Commit(t.Context(), Outcome{}); err != nil {
			t.Fatal(err)
		}
		v = openVault(t, m, words)
		if tree, err = v.Begin(t.Context(), pixel); err != nil {
			t.Fatal(err)
		}
	}
	for _, ask := range []struct {
		name string
		size int64
		at   time.Time
	}{{"film", size + 1, film.mtime}, {"film", size, film.mtime.Add(1)}, {"film", size, time.Time{}}, {"short", size, film.mtime}, {"other", size, film.mtime}} {
		if p, err := tree.Begun(ask.name, ask.size, ask.at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: %v, %v", ask, p, err)
		}
	}
	if _, err := tree.Begun("film", size, film.mtime); err != nil {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	for name := range m.blobs {
		if strings.HasPrefix(name, "data/") {
			if err := m.Delete(t.Context(), name); err != nil && !errors.Is(err, storage.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	v = openVault(t, m, words)
	if tree, err = v.Begin(t.Context(), pixel); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Begun("film", size, film.mtime); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its chunks are gone: %v", err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPowerFailsInTheMiddleOfAFilm: the power goes while a film is being read. What was durable is gone on with, all but
// what a record is not worth.
func TestPowerFailsInTheMiddleOfAFilm(t *testing.T) {
	for seed := range 2 {
		synctest.Test(t, func(t *testing.T) { powerFailsInAFilm(t, seed) })
	}
}

func powerFailsInAFilm(t *testing.T, seed int) {
	film := crashFiles(8, 1, 25*chunkSize-999)[0]
	size, cut := int64(len(film.data)), (20+seed)*chunkSize+77
	m := newMapStore()
	v, words := newVault(t, m)
	v.pace = usual
	v.pace.pack, v.pace.sync = chunkSize+10_000, 1
	tree, err := v.Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	var after *mapStore
	cable := errors.New("the end of the test")
	r := io.MultiReader(bytes.NewReader(film.data[:cut]), readerFunc(func([]byte) (int, error) {
		synctest.Wait() // until all that was read is put, recorded and durable, as far as it ever will be
		after = m.restart(func(string) bool { return false })
		return 0, cable
	}))
	if err := tree.Create(film.name, size, film.mtime, r); !errors.Is(err, cable) {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	durable := int64(after.dataBytes())
	tree, err = openVault(t, after, words).Begin(t.Context(), pixel)
	if err != nil {
		t.Fatal(err)
	}
	part, err := tree.Begun(film.name, size, film.mtime)
	if err != nil {
		t.Fatalf("%d bytes are durable, and nothing is gone on with: %v", durable, err)
	}
	const underWay = 6 * chunkSize // chunks are stored at the same time, and the first may be in the pack that is filled last
	if part.Size() > int64(cut) || part.Size() < durable-minGrown-underWay {
		t.Errorf("%d bytes are durable, and it goes on from %d", durable, part.Size())
	}
	if err := tree.Continue(film.name, size, film.mtime, part.Size(), bytes.NewReader(film.data[part.Size():])); err != nil {
		t.Fatal(err)
	}
	s, err := tree.Commit(t.Context(), Outcome{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := tree.v.FS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, fsys, []phoneFile{film})
	for name := range after.blobs {
		if strings.HasPrefix(name, "resume/") {
			t.Errorf("%s is left", name)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
