package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/storage"
)

// VerifyReport is what reading everything found.
type VerifyReport struct {
	Packs     int              // packs that the index names
	Blobs     int              // blobs in them
	Bytes     int64            // sealed bytes read
	Snapshots int              // snapshots whose trees were walked
	Damaged   []Damage         // packs, blobs and snapshots that are not what was written or cannot be had
	Hit       []DamagedContent // what of the snapshots that costs, at most maxHits
	MoreHit   int              // hits beyond those
}

// OK reports whether everything can be restored.
func (r VerifyReport) OK() bool { return len(r.Damaged) == 0 && len(r.Hit) == 0 }

// Damage is one thing of the vault that is not what was written.
type Damage struct {
	Name string // as in the store, with the blob for part of a pack
	Err  error
}

// DamagedContent is a file or folder that a snapshot cannot give whole.
type DamagedContent struct {
	Snapshot string // ID
	Path     string
}

// maxHits is how many damaged files a report names.
const maxHits = 1000

// verifier collects what Verify finds.
type verifier struct {
	v     *Vault
	watch func(done, total int64)
	total int64

	mu     sync.Mutex
	report VerifyReport
	bad    [2]map[hash]bool // blobs with a place that is damaged, by type
	good   [2]map[hash]bool // of those with several places, the ones that have a good one
}

// Verify reads and decrypts every blob in every pack, checks it against its hash, and walks the trees of all snapshots. The
// error is for what kept it from looking; what it found is in the report. watch, which may be nil, is told the bytes read so
// far and in all, from several goroutines but not at once.
func (v *Vault) Verify(ctx context.Context, watch func(done, total int64)) (VerifyReport, error) {
	r := newVerifier(v, watch)
	if err := r.indexes(ctx); err != nil {
		return r.report, fmt.Errorf("vault: verify: %w", err)
	}
	if err := r.packs(ctx); err != nil {
		return r.report, fmt.Errorf("vault: verify: %w", err)
	}
	if err := r.snapshots(ctx); err != nil {
		return r.report, fmt.Errorf("vault: verify: %w", err)
	}
	slices.SortFunc(r.report.Damaged, func(a, b Damage) int { return cmp.Compare(a.Name, b.Name) })
	return r.report, nil
}

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

func newVerifier(v *Vault, watch func(done, total int64)) *verifier {
	r := &verifier{v: v, watch: watch}
	for t := range r.bad {
		r.bad[t], r.good[t] = map[hash]bool{}, map[hash]bool{}
	}
	return r
}

// indexes reads every index file: Open may have known from its cache what they say.
func (r *verifier) indexes(ctx context.Context) error {
	for info, err := range r.v.s.List(ctx, "index/") {
		if err != nil {
			return err
		}
		p, err := r.v.readDocument(ctx, info.Name, maxTree)
		if err == nil {
			err = parseIndex(p, func(hash, []packedBlob) {})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.damage(info.Name, err)
		}
	}
	return nil
}

// packs checks every stored pack.
func (r *verifier) packs(ctx context.Context) error {
	v := r.v
	n := v.index.packCount()
	for num := range n {
		for _, b := range v.index.blobs(num) {
			r.total += int64(b.length)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), 4))
	for num := range n {
		if p := v.index.pack(num); p.state == packStored {
			g.Go(func() error {
				blobs := v.index.blobs(num)
				if len(blobs) == 0 {
					return nil
				}
				return r.pack(gctx, p, blobs)
			})
		}
	}
	return g.Wait()
}

// readRun is how many bytes of a pack are read at once; a blob that is larger is read alone.
const readRun = 4 << 20

// pack checks one pack: the header and every blob.
func (r *verifier) pack(ctx context.Context, p pack, blobs []packedBlob) error {
	name := packName(p.id)
	r.mu.Lock()
	r.report.Packs++
	r.mu.Unlock()
	if err := r.header(ctx, p, blobs); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.damage(name, err)
	}
	var buf []byte
	for len(blobs) > 0 {
		start, end, n := int64(blobs[0].off), int64(blobs[0].off)+int64(blobs[0].length), 1
		for n < len(blobs) && int64(blobs[n].off) == end && end+int64(blobs[n].length)-start <= readRun {
			end += int64(blobs[n].length)
			n++
		}
		buf = slices.Grow(buf[:0], int(end-start))[:end-start]
		_, err := r.v.s.Get(ctx, name, start, buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, b := range blobs[:n] {
			r.blob(ctx, name, b, buf[int64(b.off)-start:][:b.length], err)
		}
		blobs = blobs[n:]
	}
	return nil
}

// header checks that a pack's own list of blobs is what the index says.
func (r *verifier) header(ctx context.Context, p pack, blobs []packedBlob) error {
	info, err := r.v.s.Stat(ctx, packName(p.id))
	if err != nil {
		return err
	}
	listed, err := r.v.readHeader(ctx, p.id, info.Size)
	if err != nil {
		return err
	}
	if !slices.Equal(listed, blobs) {
		return fmt.Errorf("%w: index and pack header do not agree", ErrDamaged)
	}
	return nil
}

// blob checks one blob whose sealed bytes were read, or could not be.
func (r *verifier) blob(ctx context.Context, name string, b packedBlob, p []byte, err error) {
	if err != nil {
		// Something else in the run may be what cannot be read.
		_, err = r.v.s.Get(ctx, name, int64(b.off), p)
		err = damagedIfShort(err)
	}
	if err == nil {
		_, err = r.v.plain(b, p, nil)
	}
	if err != nil && ctx.Err() == nil {
		r.damage(fmt.Sprintf("%s %s blob %s", name, b.typ, b.id), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.bad[b.typ][b.id] = true
	} else if len(r.v.index.find(b.typ, b.id, nil)) > 1 {
		r.good[b.typ][b.id] = true
	}
	r.report.Blobs++
	r.report.Bytes += int64(b.length)
	if r.watch != nil {
		r.watch(r.report.Bytes, r.total)
	}
}

func (r *verifier) damage(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Damaged = append(r.report.Damaged, Damage{name, err})
}

// whole reports whether a blob can be read from some place.
func (r *verifier) whole(typ blobType, id hash) bool {
	if r.bad[typ][id] && !r.good[typ][id] {
		return false
	}
	_, ok := r.v.index.size(typ, id)
	return ok
}

// snapshots walks all trees. seen remembers whether a tree, with all below it, is whole.
func (r *verifier) snapshots(ctx context.Context) error {
	list, err := r.v.Snapshots(ctx)
	if err != nil {
		return err
	}
	src, seen := r.v.newSource(), map[hash]bool{}
	for _, s := range list {
		if s.Err != nil {
			r.damage("snapshots/"+s.ID, s.Err)
			continue
		}
		r.report.Snapshots++
		if _, err := r.tree(ctx, src, seen, s.ID, ".", s.tree, 0); err != nil {
			return err
		}
	}
	return nil
}

// tree walks one tree unless it is known to be whole, and names what is hit.
func (r *verifier) tree(ctx context.Context, src *source, seen map[hash]bool, snapshot, dir string, id hash, depth int) (whole bool, err error) {
	if seen[id] {
		return true, nil
	}
	if depth > maxDepth || !r.whole(treeBlob, id) {
		r.hit(snapshot, dir)
		return false, nil
	}
	whole = true
	type sub struct {
		name string
		id   hash
	}
	var subs []sub
	err = r.v.loadTree(ctx, src, id, func(n node) error {
		switch {
		case n.mode.IsDir():
			subs = append(subs, sub{n.name, n.subtree})
		case n.mode.IsRegular() && !r.file(n):
			whole = false
			r.hit(snapshot, path.Join(dir, n.name))
		}
		return nil
	})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		r.hit(snapshot, dir)
		if !errors.Is(err, fs.ErrNotExist) {
			r.damage("tree "+id.String(), err)
		}
		return false, nil
	}
	for _, s := range subs {
		ok, err := r.tree(ctx, src, seen, snapshot, path.Join(dir, s.name), s.id, depth+1)
		if err != nil {
			return false, err
		}
		whole = whole && ok
	}
	if whole {
		seen[id] = true
	}
	return whole, nil
}

// file reports whether a file's chunks are all there and add up to its size.
func (r *verifier) file(n node) bool {
	var size int64
	for _, id := range n.content {
		m, ok := r.v.index.size(dataBlob, id)
		if !ok || !r.whole(dataBlob, id) {
			return false
		}
		size += m
	}
	return size == n.size
}

func (r *verifier) hit(snapshot, path string) {
	if len(r.report.Hit) >= maxHits {
		r.report.MoreHit++
		return
	}
	r.report.Hit = append(r.report.Hit, DamagedContent{snapshot, path})
}
