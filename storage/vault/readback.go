package vault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/storage"
)

// Verify reads back, after Commit, every pack that this Tree stored: what lies in the store is what was put there. A store
// that is a storage.Rereader does so itself, parity and all; of others, the pack's SHA-256 must be the one taken when it was
// sealed. Vault.Verify goes further and decrypts. The error names the first pack that is not what it was.
func (t *Tree) Verify(ctx context.Context, watch func(done, total int64)) error {
	return t.v.readBackFrom(ctx, t.w, t.first, watch)
}

// readBackFrom reads back the packs that were stored since first was the number of the next. It reads into memory that w
// wrote them from.
func (v *Vault) readBackFrom(ctx context.Context, w *writer, first uint32, watch func(done, total int64)) error {
	var packs []pack
	var total, done int64
	for num := first; num < v.index.packCount(); num++ {
		if p := v.index.pack(num); p.state == packStored {
			packs = append(packs, p)
			total += p.size
		}
	}
	var mu sync.Mutex // guards done, and makes calls of watch not overlap
	g, gctx := errgroup.WithContext(ctx)
	n := min(runtime.GOMAXPROCS(0), 4)
	g.SetLimit(n)
	room, giveBack := w.lent()
	defer giveBack()
	if cap(room) < n*readRun {
		room = make([]byte, n*readRun)
	}
	free := make(chan []byte, n) // buffers, one for each reader
	for i := range n {
		free <- room[i*readRun : (i+1)*readRun : (i+1)*readRun]
	}
	for _, p := range packs {
		g.Go(func() error {
			buf := <-free
			defer func() { free <- buf }()
			if err := v.readBack(gctx, p, buf); err != nil {
				return fmt.Errorf("vault: read back: %s: %w", packName(p.id), err)
			}
			mu.Lock()
			defer mu.Unlock()
			done += p.size
			if watch != nil {
				watch(done, total)
			}
			return nil
		})
	}
	return g.Wait()
}

// readBack checks that a pack is the one that was put, through a buffer of at least one byte.
func (v *Vault) readBack(ctx context.Context, p pack, buf []byte) error {
	if s, ok := v.s.(storage.Rereader); ok {
		return s.Reread(ctx, packName(p.id), buf)
	}
	h := sha256.New()
	for off := int64(0); off < p.size; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), p.size-off)]
		if _, err := v.s.Get(ctx, packName(p.id), off, buf); err != nil {
			return damagedIfShort(err)
		}
		h.Write(buf)
	}
	if hash(h.Sum(nil)) != p.id {
		return ErrDamaged
	}
	return nil
}
