package vault

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stuckStore takes no pack until it is let.
type stuckStore struct {
	*mapStore
	let chan struct{}
}

func (s stuckStore) Put(ctx context.Context, name string, p []byte) error {
	if strings.HasPrefix(name, "data/") {
		<-s.let
		return nil
	}
	return s.mapStore.Put(ctx, name, p)
}

// TestLessIsUnderWayWhereTheIndexIsLarge counts the packs that are in memory when the drives do not keep up.
func TestLessIsUnderWayWhereTheIndexIsLarge(t *testing.T) {
	for _, row := range []struct{ blobs, packs int }{{1000, 3}, {manyBlobs + 1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			s := stuckStore{newMapStore(), make(chan struct{})}
			v, err := Create(t.Context(), s, someWords, Options{})
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			var pack []packedBlob
			for range row.blobs {
				pack = append(pack, packedBlob{id: randomHash(r), off: uint32(len(pack)) * 100, length: 100})
			}
			v.index.addPack(randomHash(r), 0, pack)
			tree, err := v.Begin(t.Context(), pixel)
			if err != nil {
				t.Fatal(err)
			}
			const size = 100 << 20
			base := make([]byte, 1<<20)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(base) // never fails
			stored := make(chan error)
			go func() {
				stored <- tree.Create("video", size, time.Unix(1, 0), &fresh{base, new(atomic.Uint64), size})
			}()
			synctest.Wait()
			if got := len(tree.w.live); got != row.packs {
				t.Errorf("with %d blobs %d packs are in memory, want %d", row.blobs, got, row.packs)
			}
			close(s.let)
			if err := <-stored; err != nil {
				t.Error(err)
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
			if len(tree.w.free) > 1 {
				t.Errorf("a Tree that ended keeps %d buffers", len(tree.w.free))
			}
		})
	}
}
