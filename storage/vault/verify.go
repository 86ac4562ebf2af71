package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
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
	o     VerifyOptions
	total int64
	order []uint32 // the packs, by name

	mu     sync.Mutex
	report VerifyReport
	bad    map[badPlace]bool
	pass   VerifyPass
	at     int              // packs in order that were read, all of them
	ahead  map[int]packRead // read, though one before them was not
	full   bool             // more is bad than the pass can say, so it stays where it is
}

// badPlace is a place where a blob is damaged; it may be whole in another.
type badPlace struct {
	pack uint32
	typ  blobType
	id   hash
}

// Verify reads and decrypts every blob in every pack, checks it against its hash, and walks the trees of all snapshots. The
// error is for what kept it from looking; what it found is in the report. watch, which may be nil, is told the bytes read so
// far and in all, from several goroutines but not at once.
func (v *Vault) Verify(ctx context.Context, watch func(done, total int64)) (VerifyReport, error) {
	return v.VerifyFrom(ctx, VerifyOptions{Watch: watch})
}

// VerifyFrom is Verify that goes on where an earlier one was cut short. Index files and trees are always read anew, after the
// packs, since that is quick, and so is every pack in which the earlier one found damage: that may have been mended.
func (v *Vault) VerifyFrom(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	r := &verifier{v: v, o: o, bad: map[badPlace]bool{}, ahead: map[int]packRead{}}
	for _, step := range []func(context.Context) error{r.packs, r.indexes, r.snapshots} {
		if err := step(ctx); err != nil {
			return r.report, fmt.Errorf("vault: verify: %w", err)
		}
	}
	slices.SortFunc(r.report.Damaged, func(a, b Damage) int { return cmp.Compare(a.Name, b.Name) })
	return r.report, nil
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

// readRun is how many bytes of a pack are read at once; a blob that is larger is read alone.
const readRun = 4 << 20

// pack checks one pack: the header and every blob.
func (r *verifier) pack(ctx context.Context, num uint32) (res packRead, err error) {
	p, blobs := r.v.index.pack(num), r.v.index.blobs(num)
	name := packName(p.id)
	r.mu.Lock()
	r.report.Packs++
	r.mu.Unlock()
	if err := r.header(ctx, p, blobs); err != nil {
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		res.bad = true
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
		for _, b := range blobs[:n] {
			if ctx.Err() != nil {
				return res, ctx.Err()
			}
			ok := r.blob(ctx, name, num, b, buf[int64(b.off)-start:][:b.length], err)
			res.bad = res.bad || !ok
			res.blobs++
			res.bytes += int64(b.length)
		}
		blobs = blobs[n:]
	}
	return res, ctx.Err()
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
func (r *verifier) blob(ctx context.Context, name string, num uint32, b packedBlob, p []byte, err error) (ok bool) {
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
		r.bad[badPlace{num, b.typ, b.id}] = true
	}
	r.report.Blobs++
	r.report.Bytes += int64(b.length)
	if r.o.Watch != nil {
		r.o.Watch(r.report.Bytes, r.total)
	}
	return err == nil
}

func (r *verifier) damage(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Damaged = append(r.report.Damaged, Damage{name, err})
}

// whole reports whether a blob can be read from some place.
func (r *verifier) whole(typ blobType, id hash) bool {
	var places [4]place
	return slices.ContainsFunc(r.v.index.find(typ, id, places[:0]), func(p place) bool { return !r.bad[badPlace{p.pack, typ, id}] })
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
