package array

import (
	"container/list"
	"sync"
)

// blockKey names a block of a shard. Blob names are never reused for other content, so entries stay right.
type blockKey struct {
	name  string
	k, m  int
	shard int
	block int
}

const (
	// cachedBlocks bounds verified blocks kept for reads smaller than a block: 2 MiB.
	cachedBlocks = 32
	// cachedTables bounds checksums kept: about 400 KB for 16 MiB packs on 2+1 drives.
	cachedTables = 256
)

// lru is a bounded cache, safe for concurrent use. Its values must not be changed.
type lru[K comparable] struct {
	mu    sync.Mutex // guards the rest
	limit int
	items map[K]*list.Element
	order *list.List // of lruItem, newest first
}

// buffers are free buffers for reuse, a few at most. A sync.Pool would lose them at every garbage collection, and new
// ones cost a page fault for each 4 KiB.
type buffers chan []byte

// get returns a buffer of n bytes.
func (b buffers) get(n int) []byte {
	select {
	case p := <-b:
		if cap(p) >= n {
			return p[:n]
		}
	default:
	}
	return make([]byte, n)
}

// put gives a buffer back that nobody uses any more.
func (b buffers) put(p []byte) {
	select {
	case b <- p:
	default:
	}
}

// drain forgets all free buffers.
func (b buffers) drain() {
	for {
		select {
		case <-b:
		default:
			return
		}
	}
}

// Rest lets go of the memory that is only kept so that the next read or write is quick. It may be called at any time.
func (a *Array) Rest() {
	a.scratch.drain()
	a.pieces.drain()
}

type lruItem[K comparable] struct {
	key   K
	value []byte
}

func newLRU[K comparable](limit int) *lru[K] {
	return &lru[K]{limit: limit, items: make(map[K]*list.Element), order: list.New()}
}

func (c *lru[K]) get(k K) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[k]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(lruItem[K]).value
}

func (c *lru[K]) put(k K, v []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.items[k]; e != nil {
		c.order.MoveToFront(e)
		e.Value = lruItem[K]{k, v}
		return
	}
	c.items[k] = c.order.PushFront(lruItem[K]{k, v})
	if c.order.Len() > c.limit {
		last := c.order.Back()
		delete(c.items, last.Value.(lruItem[K]).key)
		c.order.Remove(last)
	}
}

// tableKey is where checksums are in the ledger.
type tableKey struct {
	source string
	off    uint32
}
