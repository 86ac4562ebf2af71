package vault

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"phonebackupbox/storage"
)

// A writer turns plain blobs into packs. Several goroutines store blobs at once; they encrypt straight into the pack that is
// being filled. Memory is bounded: buffers of 4 MiB for chunks and of 17 MiB for packs, reused, and fewer of them where the
// index takes the room (budget).
type writer struct {
	v      *Vault
	ctx    context.Context // without cancel: what was begun is finished, so that Close can save it
	kick   chan struct{}   // a pack was put
	zips   sync.Pool       // *[]byte for what is compressed
	chunks chan []byte     // free buffers of chunkSize bytes; nil is one not made yet

	saving sync.Mutex // one sync or writeIndex at a time: the keeper's and Commit's

	mu       sync.Mutex
	cond     sync.Cond            // any of the following changed
	open     [2]*openPack         // being filled, by blobType
	live     map[uint32]*openPack // being filled or put
	free     [][]byte             // pack buffers
	made     int                  // pack buffers that exist
	busy     int                  // goroutines at work
	err      error                // the first failure; nothing works after it
	present  map[uint32]bool      // stored packs that were asked for: can they be read?
	unsynced int64                // bytes put since the last Sync began
	put      []uint32             // packs put since the last Sync began
	durable  []uint32             // packs put and synced that no index names yet
	added    uint64               // bytes put, in all
}

// An openPack is a pack being filled or put.
type openPack struct {
	num     uint32
	typ     blobType
	buf     []byte // its length is what is reserved
	count   int    // blobs reserved
	pending int    // blobs reserved and not sealed yet
	closed  bool   // takes no more
	blobs   []packedBlob
}

// manyBlobs is from how many on the index takes so much memory, 25 MB and more, that less is left for what is under way.
const manyBlobs = 500_000

// budget is how many chunks and packs may be in memory at once. A pack is being filled while another is put, and a third,
// where there is room for it, makes up for drives that take their time. Each core hashes and encrypts one chunk while two
// more, or one, are being read.
func (w *writer) budget() (chunks, packs int) {
	cores := runtime.GOMAXPROCS(0)
	if w.v.index.count() > manyBlobs {
		return min(cores+1, 5), 2
	}
	return min(max(cores+2, 4), 6), 3
}

// rhythm is how often what happens while a Tree is open. Tests make it quick.
type rhythm struct {
	pack        int   // bytes of a pack
	sync        int64 // bytes put before a Sync begins
	maxUnsynced int64 // bytes put before a Sync must have ended
	index       int   // durable packs that get an index file before Commit
	merge       int   // resume records that are made one
	held        int   // entries of folders that a Tree has in memory
	stay        int   // folders that stay in memory, whatever their size: files are being put into several at a time
}

var usual = rhythm{pack: packSize, sync: 64 << 20, maxUnsynced: 128 << 20, index: 64, merge: 64, held: 50_000, stay: 8}

func newWriter(ctx context.Context, v *Vault) *writer {
	w := &writer{v: v, ctx: context.WithoutCancel(ctx), kick: make(chan struct{}, 1), live: map[uint32]*openPack{}, present: map[uint32]bool{}}
	w.cond.L = &w.mu
	n, _ := w.budget()
	w.chunks = make(chan []byte, n)
	for range n {
		w.chunks <- nil
	}
	return w
}

// chunk waits for a free buffer of chunkSize bytes.
func (w *writer) chunk() []byte {
	if p := <-w.chunks; p != nil {
		return p
	}
	return make([]byte, chunkSize)
}

// letGo forgets the free buffers but one for a pack, through which what a Tree stored is read back after it has ended.
func (w *writer) letGo() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.free); n > 1 {
		clear(w.free[1:])
		w.free, w.made = w.free[:1], w.made-(n-1)
	}
	for range len(w.chunks) {
		<-w.chunks
		w.chunks <- nil
	}
}

// store makes p a blob of the vault, unless it is one already, and returns its hash. It returns when p is encrypted; the
// pack may be put later.
func (w *writer) store(typ blobType, p []byte) (hash, error) {
	id := hash(sha256.Sum256(p))
	if w.has(typ, id) {
		return id, w.failed()
	}
	var plain uint32
	if squeezable(p) {
		z, ok := w.zips.Get().(*[]byte)
		if !ok {
			z = new([]byte)
		}
		defer w.zips.Put(z)
		if *z = w.v.zip.enc.EncodeAll(p, (*z)[:0]); len(*z) < len(p)-len(p)/16 {
			p, plain = *z, uint32(len(p))
		}
	}
	return id, w.storePacked(typ, id, p, plain)
}

// background stores the first n bytes of a chunk buffer in the background, gives the buffer back and calls done.
func (w *writer) background(buf []byte, n int, done func(hash)) {
	w.mu.Lock()
	w.busy++
	w.mu.Unlock()
	go func() {
		id, err := w.store(dataBlob, buf[:n])
		w.chunks <- buf
		done(id)
		w.mu.Lock()
		w.busy--
		w.fail(err)
		w.cond.Broadcast()
		w.mu.Unlock()
	}()
}

// storePacked puts a blob, compressed if plain is not 0, into the pack that is being filled.
func (w *writer) storePacked(typ blobType, id hash, p []byte, plain uint32) error {
	o, room, err := w.reserve(typ, id, len(p)+overhead, plain)
	if err != nil || o == nil {
		return err
	}
	w.v.key.seal(room, p)
	w.sealed(o)
	return nil
}

// sealed says that a blob for which there was room in o is there now.
func (w *writer) sealed(o *openPack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.pending--
	if o.closed && o.pending == 0 {
		w.startPut(o)
	}
	w.cond.Broadcast()
}

// reserve finds room for a sealed blob of n bytes. It returns nil if somebody else is storing the same blob.
func (w *writer) reserve(typ blobType, id hash, n int, plain uint32) (o *openPack, room []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.err != nil {
			return nil, nil, w.err
		}
		if w.hasOpen(typ, id) {
			return nil, nil, nil
		}
		o = w.open[typ]
		if o != nil && len(o.buf)+n+headerSize(o.count+1) > cap(o.buf) {
			w.closeOpen(typ)
			o = nil
		}
		if o == nil {
			if o = w.newPack(typ, n); o == nil {
				w.cond.Wait()
				continue
			}
		}
		b := packedBlob{id: id, typ: typ, off: uint32(len(o.buf)), length: uint32(n), plain: plain}
		o.buf = o.buf[:len(o.buf)+n]
		o.blobs = append(o.blobs, b)
		o.count++
		o.pending++
		w.v.index.add(o.num, b)
		return o, o.buf[b.off:], nil
	}
}

// newPack begins a pack, or returns nil if all buffers are in use. A blob that fits no buffer gets a pack of its own.
func (w *writer) newPack(typ blobType, n int) *openPack {
	var buf []byte
	_, packs := w.budget()
	switch need := n + headerSize(1); {
	case need > w.v.pace.pack:
		buf = make([]byte, 0, need)
	case len(w.free) > 0:
		buf = w.popFree()
	case w.made < packs:
		w.made++
		buf = make([]byte, 0, w.v.pace.pack)
	default:
		return nil
	}
	o := &openPack{num: w.v.index.openPack(), typ: typ, buf: buf}
	w.open[typ], w.live[o.num] = o, o
	return o
}

// popFree takes a pack buffer that nobody uses, or nil. w.mu is held.
func (w *writer) popFree() (buf []byte) {
	if n := len(w.free); n > 0 {
		buf, w.free = w.free[n-1], w.free[:n-1]
	}
	return buf
}

// lent lends a pack buffer that nobody uses, or nil, until done is called.
func (w *writer) lent() (buf []byte, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf = w.popFree()
	return buf, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if buf != nil {
			w.free = append(w.free, buf)
			w.cond.Broadcast()
		}
	}
}

// closeOpen ends the filling of a pack.
func (w *writer) closeOpen(typ blobType) {
	o := w.open[typ]
	if o == nil {
		return
	}
	w.open[typ] = nil
	o.closed = true
	if o.pending == 0 {
		w.startPut(o)
	}
}

func (w *writer) startPut(o *openPack) {
	w.busy++
	go w.putPack(o)
}

// putPack appends the header and puts the pack.
func (w *writer) putPack(o *openPack) {
	header := appendHeader(nil, o.blobs)
	n := len(o.buf)
	end := n + len(header) + overhead
	o.buf = o.buf[:end+4]
	w.v.key.seal(o.buf[n:end], header)
	binary.LittleEndian.PutUint32(o.buf[end:], uint32(end-n))
	id := sum(o.buf)

	w.mu.Lock()
	for w.err == nil && w.unsynced > 0 && w.unsynced+int64(len(o.buf)) > w.v.pace.maxUnsynced {
		w.cond.Wait() // for the Sync under way
	}
	err := w.err
	w.mu.Unlock()
	if err == nil {
		err = w.v.s.Put(w.ctx, packName(id), o.buf)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.live, o.num)
	if err == nil {
		w.v.index.closePack(o.num, id, int64(len(o.buf)), packStored)
		w.present[o.num] = true
		w.put = append(w.put, o.num)
		w.unsynced += int64(len(o.buf))
		w.added += uint64(len(o.buf))
	} else {
		w.v.index.closePack(o.num, id, 0, packLost)
		w.fail(fmt.Errorf("vault: put a pack: %w", err))
	}
	if cap(o.buf) == w.v.pace.pack {
		if _, packs := w.budget(); w.made > packs { // since this writer began, the index has grown
			w.made--
		} else {
			w.free = append(w.free, o.buf[:0])
		}
	}
	o.buf = nil
	w.busy--
	w.cond.Broadcast()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// fail remembers the first failure. w.mu is held.
func (w *writer) fail(err error) {
	if w.err == nil && err != nil {
		w.err = err
		w.cond.Broadcast()
	}
}

// failed returns the first failure.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// has reports whether the vault holds the blob where it can be read now, or is about to.
func (w *writer) has(typ blobType, id hash) bool {
	var places [4]place
	for _, p := range w.v.index.find(typ, id, places[:0]) {
		if w.readable(p.pack) {
			return true
		}
	}
	return false
}

// hasOpen is has without asking the store. w.mu is held.
func (w *writer) hasOpen(typ blobType, id hash) bool {
	var places [4]place
	for _, p := range w.v.index.find(typ, id, places[:0]) {
		if w.live[p.pack] != nil || w.present[p.pack] {
			return true
		}
	}
	return false
}

// readable reports whether a pack can be read from the drives attached now. The store is asked once for each pack.
func (w *writer) readable(num uint32) bool {
	w.mu.Lock()
	ok, known := w.present[num]
	_, open := w.live[num]
	w.mu.Unlock()
	if known || open {
		return ok || open
	}
	p := w.v.index.pack(num)
	_, err := w.v.s.Stat(w.ctx, packName(p.id))
	if err != nil && !errors.Is(err, storage.ErrNotExist) && !errors.Is(err, storage.ErrUnavailable) {
		w.v.o.Log.Warn("a pack cannot be asked for", "err", err)
	}
	w.mu.Lock()
	w.present[num] = err == nil
	w.mu.Unlock()
	return err == nil
}

// copyOpen copies the sealed bytes of a blob whose pack has not been put yet. done is false if it has been.
func (w *writer) copyOpen(at place, p []byte) (done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		o := w.live[at.pack]
		switch {
		case o == nil:
			return false, nil
		case w.err != nil:
			return true, w.err
		case o.pending == 0 && !o.closed:
			copy(p, o.buf[at.off:at.off+at.length])
			return true, nil
		}
		w.cond.Wait() // until it is sealed, or put
	}
}

// flush puts what is in the buffers and waits until all work has ended.
func (w *writer) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		w.closeOpen(dataBlob)
		w.closeOpen(treeBlob)
		if w.busy == 0 && len(w.live) == 0 || w.busy == 0 && w.err != nil {
			return w.err
		}
		w.cond.Wait()
	}
}

// sync makes the packs that were put durable.
func (w *writer) sync() error {
	w.saving.Lock()
	defer w.saving.Unlock()
	w.mu.Lock()
	n, nums := w.unsynced, w.put
	w.put = nil
	w.mu.Unlock()
	err := w.v.s.Sync(w.ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.put = append(nums, w.put...)
		w.fail(fmt.Errorf("vault: sync packs: %w", err))
		return w.err
	}
	w.unsynced -= n
	w.durable = append(w.durable, nums...)
	w.cond.Broadcast()
	return nil
}

// keepSynced begins to sync beside, as packs are put, and to name them in the index once there are index of them (0:
// never). stop ends that, and comes after flush: a pack may wait for room among what is not synced yet.
func (w *writer) keepSynced(index int) (stop func()) {
	quit := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-w.kick:
			}
			w.mu.Lock()
			due := w.err == nil && w.unsynced >= w.v.pace.sync
			w.mu.Unlock()
			if due && w.sync() == nil && index > 0 {
				_ = w.writeIndex(index) // the writer remembers that it failed
			}
		}
	})
	return func() { close(quit); keeper.Wait() }
}

// writeIndex puts index files that name the durable packs, if there are at least atLeast of them. A Sync must follow.
func (w *writer) writeIndex(atLeast int) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	w.mu.Lock()
	nums := slices.Clone(w.durable)
	w.mu.Unlock()
	if len(nums) < max(atLeast, 1) {
		return nil
	}
	err := w.v.writeIndexes(w.ctx, nums)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.fail(err)
		return err
	}
	w.durable = w.durable[len(nums):]
	return nil
}
