package vault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"phonebackupbox/storage"
)

// sink is a Store that forgets its packs, so that a benchmark measures only the vault.
type sink struct{ m *mapStore }

func (s sink) Put(ctx context.Context, name string, p []byte) error {
	if len(name) > 5 && name[:5] == "data/" {
		return nil
	}
	return s.m.Put(ctx, name, p)
}
func (s sink) Sync(context.Context) error { return nil }
func (s sink) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	return s.m.Get(ctx, name, off, p)
}
func (s sink) Stat(ctx context.Context, name string) (storage.Info, error) {
	return s.m.Stat(ctx, name)
}
func (s sink) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return s.m.List(ctx, prefix)
}
func (s sink) Delete(ctx context.Context, name string) error { return s.m.Delete(ctx, name) }

func benchVault(b *testing.B, s storage.Store) *Vault {
	b.Helper()
	v, err := Create(b.Context(), s, someWords, Options{})
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// fresh makes a reader of size bytes that no other reader has, at little cost: random bytes with a counter in each block.
type fresh struct {
	base []byte
	n    *atomic.Uint64
	left int64
}

func (r *fresh) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.base[:min(int64(len(r.base)), r.left, int64(len(p)))])
	if n >= 8 {
		c := r.n.Add(1)
		for i := range 8 {
			p[i] = byte(c >> (8 * i))
		}
	}
	r.left -= int64(n)
	return n, nil
}

func benchCreate(b *testing.B, size int64, callers int) {
	v := benchVault(b, sink{newMapStore()})
	tree, err := v.Begin(b.Context(), pixel)
	if err != nil {
		b.Fatal(err)
	}
	base := make([]byte, 1<<20)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), base); err != nil {
		b.Fatal(err)
	}
	var n, i atomic.Uint64
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for k := i.Add(1); k <= uint64(b.N); k = i.Add(1) {
				name := fmt.Sprintf("d%d/f%d", k%50, k)
				if err := tree.Create(name, size, time.Unix(int64(k), 0), &fresh{base, &n, size}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if _, err := tree.Commit(b.Context(), Outcome{}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCreate64MB(b *testing.B)    { benchCreate(b, 64<<20, 1) }
func BenchmarkCreate3MB(b *testing.B)     { benchCreate(b, 3<<20, 1) }
func BenchmarkCreate3MBby3(b *testing.B)  { benchCreate(b, 3<<20, 3) }
func BenchmarkCreate10KB(b *testing.B)    { benchCreate(b, 10<<10, 1) }
func BenchmarkCreate10KBby3(b *testing.B) { benchCreate(b, 10<<10, 3) }

// BenchmarkKeep is an unchanged second backup of 10,000 files: open the vault, keep every file, commit.
func BenchmarkKeep(b *testing.B) {
	m := newMapStore()
	v := benchVault(b, m)
	tree, err := v.Begin(b.Context(), pixel)
	if err != nil {
		b.Fatal(err)
	}
	const files = 10_000
	for i := range files {
		if err := tree.Create(fmt.Sprintf("d%d/f%d", i%100, i), 8, time.Unix(int64(i), 0), bytes.NewReader(fmt.Appendf(nil, "%08d", i))); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := tree.Commit(b.Context(), Outcome{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		v, err := Open(b.Context(), m, someWords, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if tree, err = v.Begin(b.Context(), pixel); err != nil {
			b.Fatal(err)
		}
		for i := range files {
			if err := tree.Keep(fmt.Sprintf("d%d/f%d", i%100, i), 8, time.Unix(int64(i), 0)); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := tree.Commit(b.Context(), Outcome{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadBigFile(b *testing.B) {
	m := newMapStore()
	v := benchVault(b, m)
	tree, err := v.Begin(b.Context(), pixel)
	if err != nil {
		b.Fatal(err)
	}
	const size = 128 << 20
	if err := tree.Create("f", size, time.Unix(1, 0), io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
		b.Fatal(err)
	}
	s, err := tree.Commit(b.Context(), Outcome{})
	if err != nil {
		b.Fatal(err)
	}
	fsys, err := v.FS(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		f, err := fsys.Open("f")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
