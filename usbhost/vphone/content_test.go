package vphone

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2024, 5, 6, 12, 34, 56, 0, time.UTC)

func TestGeneratedBytesFollowFromTheirOffset(t *testing.T) {
	const size = 100_003
	c := Generated(7, size)
	whole := make([]byte, size)
	if n, err := c.ReadAt(whole, 0); n != size || err != nil {
		t.Fatal(n, err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		off := r.Int64N(size)
		p := make([]byte, r.IntN(300))
		n, err := c.ReadAt(p, off)
		if want := min(int64(len(p)), size-off); int64(n) != want || (err == io.EOF) != (off+int64(len(p)) > size) {
			t.Fatalf("ReadAt(%d, %d): %d, %v", len(p), off, n, err)
		}
		if !bytes.Equal(p[:n], whole[off:off+int64(n)]) {
			t.Fatalf("bytes at %d differ from the whole", off)
		}
	}
	if _, err := c.ReadAt(make([]byte, 1), size); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(whole)
	w.Close()
	if z.Len() < size {
		t.Fatalf("%d bytes shrank to %d", size, z.Len())
	}
	other := make([]byte, size)
	Generated(8, size).ReadAt(other, 0)
	if bytes.Equal(whole[:64], other[:64]) {
		t.Fatal("two seeds, one content")
	}
}

func TestGeneratedHugeFileCostsNothing(t *testing.T) {
	const size = 5 << 30
	c := Generated(1, size)
	a, b := make([]byte, 4096), make([]byte, 4096)
	for _, off := range []int64{0, 1<<32 - 2048, size - 4096} {
		if n, err := c.ReadAt(a, off); n != 4096 || err != nil {
			t.Fatal(n, err)
		}
		c.ReadAt(b[:2048], off)
		c.ReadAt(b[2048:], off+2048)
		if !bytes.Equal(a, b) {
			t.Fatalf("at %d", off)
		}
	}
}

func TestNamesKeepLoneSurrogates(t *testing.T) {
	for _, units := range [][]uint16{
		{'a'}, {0xd83d, 0xde00}, {0xd83d}, {0xde00}, {0xde00, 0xd83d}, {'x', 0xd83d, 'y'}, {0xdfff, 0xd800}, {0xffff}, {},
		{0xd83d, 0xd83d, 0xde00},
	} {
		if got := Units(Name(units)); !slices.Equal(got, units) {
			t.Errorf("%x came back as %x", units, got)
		}
	}
	if Name([]uint16{0xd83d, 0xde00}) != "😀" {
		t.Error("a pair is not UTF-8")
	}
}

func FuzzNames(f *testing.F) {
	f.Add([]byte{0, 0xd8, 0, 0xdc})
	f.Add([]byte{0x3d, 0xd8, 'a', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var units []uint16
		for ; len(b) >= 2; b = b[2:] {
			units = append(units, uint16(b[0])|uint16(b[1])<<8)
		}
		if got := Units(Name(units)); !slices.Equal(got, units) {
			t.Fatalf("%x came back as %x", units, got)
		}
		Units(string(b))
	})
}

func TestStorageHoldsWhatItIsGiven(t *testing.T) {
	s := NewStorage("card", 10_000, nil)
	var told []ChangeKind
	stop := s.Watch(func(c Change) { told = append(told, c.Kind) })
	check := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("err %v, want %v", err, want)
		}
	}
	check(s.Put("a/b/é😀.jpg", noon, Text("hello")), nil)
	check(s.Put("a/b/É😀.jpg", noon, Text("HELLO!")), nil)
	check(s.Put("a/b/é😀.jpg", noon.Add(time.Second), Text("hello, world")), nil)
	check(s.Put("a/b", noon, Text("")), fs.ErrExist)
	check(s.Put("a/b/É😀.jpg/x", noon, Text("")), ErrNotFolder)
	check(s.Put("a/../x", noon, Text("")), fs.ErrInvalid)
	check(s.Put(strings.Repeat("é", 128), noon, Text("")), fs.ErrInvalid) // 256 bytes
	check(s.Remove("nothing"), fs.ErrNotExist)
	if want := []ChangeKind{Added, Added, Added, Added, Changed}; !slices.Equal(told, want) {
		t.Fatalf("told %v, want %v", told, want)
	}
	if free := s.Free(); free != 10_000-12-6 {
		t.Fatalf("free %d", free)
	}
	var paths []string
	for _, e := range s.Entries() {
		paths = append(paths, e.Path)
		if e.Path == "a/b/é😀.jpg" {
			sum, err := e.SHA256()
			if err != nil || sum != sha256.Sum256([]byte("hello, world")) || !e.ModTime.Equal(noon.Add(time.Second)) {
				t.Fatal(e, err)
			}
		}
	}
	if want := []string{"a", "a/b", "a/b/É😀.jpg", "a/b/é😀.jpg"}; !slices.Equal(paths, want) {
		t.Fatalf("holds %q", paths)
	}
	stop()
	check(s.Remove("a"), nil)
	if len(told) != 5 || s.Free() != 10_000 || len(s.Entries()) != 0 {
		t.Fatal("removing the folder left something")
	}
}

func TestLoadReadsADirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	write("DCIM/x.jpg", "picture")
	write("notes.txt", "")
	if err := os.Symlink("notes.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s := NewStorage("s", 1<<20, nil)
	if err := s.Load(dir, "from disk"); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range s.Entries() {
		paths = append(paths, e.Path)
		if e.Path == "from disk/DCIM/x.jpg" {
			if sum, err := e.SHA256(); err != nil || sum != sha256.Sum256([]byte("picture")) || !e.ModTime.Equal(noon) {
				t.Fatal(sum, err, e.ModTime)
			}
		}
	}
	if want := []string{"from disk", "from disk/DCIM", "from disk/DCIM/x.jpg", "from disk/notes.txt"}; !slices.Equal(paths, want) {
		t.Fatalf("%q", paths)
	}
	if err := s.Load(filepath.Join(dir, "absent"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// Whatever arrives in whatever pieces, and wherever it is kept, is what Content gives back.
func TestReceivedContentIsWhatCame(t *testing.T) {
	const known = 3 << 20
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		spool := &Spool{Memory: 2 << 20, Known: []Content{Generated(1, known), Generated(2, known), Generated(1, known+5)}}
		if seed%2 == 0 {
			spool.Dir = t.TempDir()
			spool.Memory = 1 << 20
		}
		var want [][]byte
		var got []Content
		for range 3 {
			p := make([]byte, r.IntN(600_000))
			Generated(seed+100, 1<<20).ReadAt(p, 0)
			switch r.IntN(4) {
			case 0: // equal to something known
				p = make([]byte, known)
				Generated(2, known).ReadAt(p, 0)
			case 1: // begins like something known
				if spool.Dir != "" {
					Generated(1, known).ReadAt(p, 0)
					if len(p) > 0 && seed%3 == 0 {
						p[len(p)-1] ^= 1
					}
				}
			}
			in := &Incoming{spool: spool}
			for q := p; len(q) > 0; {
				n := min(1+r.IntN(300_000), len(q))
				if _, err := in.Write(q[:n]); err != nil {
					t.Fatal(err)
				}
				q = q[n:]
			}
			c, err := in.Content()
			if err != nil {
				t.Fatal(err)
			}
			want, got = append(want, p), append(got, c)
			dropped := &Incoming{spool: spool} // interleaved, and thrown away
			if _, err := dropped.Write(p[:len(p)/2]); err != nil {
				t.Fatal(err)
			}
			if err := dropped.Discard(); err != nil {
				t.Fatal(err)
			}
		}
		for k := range want {
			b, err := io.ReadAll(io.NewSectionReader(got[k], 0, got[k].Size()+1))
			if err != nil || !bytes.Equal(b, want[k]) {
				t.Fatalf("seed %d: file %d: %d bytes (%v), want %d", seed, k, len(b), err, len(want[k]))
			}
		}
		if err := spool.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKnownContentTakesNoRoom(t *testing.T) {
	video := Generated(9, 8<<20)
	spool := &Spool{Memory: 1 << 20, Known: []Content{video}} // too small for it
	in := &Incoming{spool: spool}
	if _, err := io.Copy(struct{ io.Writer }{in}, io.NewSectionReader(video, 0, video.Size())); err != nil {
		t.Fatal(err)
	}
	if c, err := in.Content(); err != nil || c != video {
		t.Fatal(c, err)
	}
	other := &Incoming{spool: spool}
	_, err := io.Copy(struct{ io.Writer }{other}, io.NewSectionReader(Generated(10, 8<<20), 0, 8<<20))
	if !errors.Is(err, ErrFull) {
		t.Fatalf("what is not known: %v, want ErrFull", err)
	}
}
