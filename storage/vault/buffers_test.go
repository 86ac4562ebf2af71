package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// comparer is a writer that is handed want, bit by bit, and looks at each part twice: its memory may be nobody else's
// meanwhile. It has enough after left bytes.
type comparer struct {
	want []byte
	left int
}

var errEnough = errors.New("read enough")

func (c *comparer) Write(p []byte) (int, error) {
	for range 2 {
		if !bytes.HasPrefix(c.want, p) {
			return 0, errors.New("other bytes")
		}
		runtime.Gosched()
	}
	c.want = c.want[len(p):]
	if c.left -= len(p); c.left <= 0 {
		return len(p), errEnough
	}
	return len(p), nil
}

// TestReadersShareBuffers lets several readers of one snapshot read small and large files, compressed or not, to the end
// or only begin to: memory that one gives back is another's soon after.
func TestReadersShareBuffers(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	noise, files := rand.NewChaCha8([32]byte{3}), []phoneFile{}
	for i, size := range []int{0, 1, 100, 5_000, 60_000, 70_000, 200_000, 900_000, chunkSize, 2*chunkSize + 5, 3 * chunkSize} {
		for j := range 8 >> (size / 1_000_000) {
			p := make([]byte, size)
			noise.Read(p) // never fails
			if j%2 == 1 || size == 3*chunkSize {
				p = bytes.Repeat(fmt.Appendf(nil, "file %d of %d; ", j, i), size/14)
			}
			files = append(files, phoneFile{fmt.Sprintf("%d-%d", i, j), p, time.Unix(5, 0)})
		}
	}
	fsys, err := v.FS(t.Context(), backup(t, v, pixel, files))
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for seed := range uint64(4) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 40 {
				want := files[r.IntN(len(files))]
				f, err := fsys.Open(want.name)
				if err != nil {
					t.Error(err)
					return
				}
				c := &comparer{want.data, r.IntN(2*len(want.data) + 1)}
				_, err = f.(io.WriterTo).WriteTo(c)
				if err != nil && !errors.Is(err, errEnough) || err == nil && len(c.want) > 0 {
					t.Errorf("%s: %v, %d bytes left", want.name, err, len(c.want))
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Wait()
}

// TestMemoryInUseIsNotReused holds a chunk and a window while everything else is read through the same few buffers.
func TestMemoryInUseIsNotReused(t *testing.T) {
	v, _ := newVault(t, newMapStore())
	noise := rand.NewChaCha8([32]byte{4})
	files := []phoneFile{{"big", make([]byte, 2*freeBuffers*chunkSize), time.Unix(5, 0)}}
	for i := range 2 * windowCount * windowSize / (smallBlob - overhead) {
		files = append(files, phoneFile{fmt.Sprint("small ", i), make([]byte, smallBlob-overhead), time.Unix(5, 0)})
	}
	for _, f := range files {
		noise.Read(f.data) // never fails
	}
	fsys, err := v.FS(t.Context(), backup(t, v, pixel, files))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := fsys.Open("big")
	if err != nil {
		t.Fatal(err)
	}
	f := opened.(*file)
	held, err := f.chunk(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&comparer{files[0].data, len(files[0].data) + 1}, f); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(held.p, files[0].data[:chunkSize]) || !held.gone {
		t.Error("a chunk that is held was reused")
	}
	f.release(held)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	info, err := fsys.node("open", "small 0")
	if err != nil {
		t.Fatal(err)
	}
	at := v.index.find(dataBlob, info.content[0], nil)[0]
	w := fsys.src.window(t.Context(), at)
	<-w.ok
	before := bytes.Clone(w.p)
	for _, f := range files[1:] {
		if p, err := fsys.ReadFile(f.name); err != nil || !bytes.Equal(p, f.data) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if !bytes.Equal(w.p, before) || !w.gone {
		t.Error("a window that is held was reused")
	}
	fsys.src.release(w)
	for i, free := range fsys.src.bufs {
		if i > 0 && len(free) == 0 {
			t.Errorf("no buffer of %d bytes was kept for reuse", bufferSizes[i])
		}
	}
}
