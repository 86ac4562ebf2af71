package vault

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	"phonebackupbox/storage"
)

// repack copies what is needed of packs into new ones, durably, and adds to going the packs of which all was copied. A
// pack that cannot be read stays as it is, and so does the rest when the drives are full.
func (p *pruner) repack(ctx context.Context, nums []uint32) error {
	if len(nums) == 0 {
		return nil
	}
	r := &repacker{p: p, w: newWriter(ctx, p.v), first: p.v.index.packCount()}
	for _, n := range nums {
		r.total += p.packs[n].needed
	}
	stop := r.w.keepSynced(0)
	copied, err := r.all(ctx, nums)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if ferr := r.w.flush(); err == nil {
		err = ferr
	}
	stop()
	if serr := r.w.sync(); err == nil || errors.Is(err, storage.ErrFull) {
		err = cmp.Or(serr, err)
	}
	r.w.mu.Lock()
	p.report.Written = int64(r.w.added)
	p.v.unindexed = append(p.v.unindexed, r.w.durable...) // the next index names them, whatever happens now
	r.w.mu.Unlock()
	if errors.Is(err, storage.ErrFull) {
		p.report.Full, err = true, nil
	}
	if err != nil {
		return err
	}
	for part := range slices.Chunk(copied, indexAtOnce) {
		r.blobs = r.needed(part)
		for _, n := range part {
			if r.moved(n) {
				p.going = append(p.going, n)
				p.report.Repacked++
			}
		}
	}
	return nil
}

// indexAtOnce is how many packs' blobs are listed in memory at once.
const indexAtOnce = 256

// repacker copies blobs as they are sealed, having checked that they are what their hash says.
type repacker struct {
	p           *pruner
	w           *writer
	first       uint32 // packs from here on are new
	blobs       map[uint32][]packedBlob
	buf, plain  []byte
	done, total int64
}

// all copies packs one after the other and returns those of which it read everything.
func (r *repacker) all(ctx context.Context, nums []uint32) (copied []uint32, err error) {
	for part := range slices.Chunk(nums, indexAtOnce) {
		r.blobs = r.needed(part)
		for _, n := range part {
			err := r.pack(ctx, n)
			switch {
			case err == nil:
				copied = append(copied, n)
			case ctx.Err() != nil || r.w.failed() != nil:
				return copied, err
			default:
				r.p.v.o.Log.Warn("a pack cannot be repacked and stays", "err", err)
				r.p.report.Kept++
			}
			r.done += r.p.packs[n].needed
			if r.p.o.Watch != nil {
				r.p.o.Watch(r.done, r.total)
			}
		}
	}
	return copied, nil
}

// needed lists the blobs of packs that have to be kept, by pack, in order of place.
func (r *repacker) needed(nums []uint32) map[uint32][]packedBlob {
	m := map[uint32][]packedBlob{}
	for _, n := range nums {
		m[n] = nil
	}
	r.p.v.index.places(func(first uint32, at place) {
		if _, ok := m[at.pack]; ok && r.p.stays(first, at) {
			m[at.pack] = append(m[at.pack], at.packedBlob)
		}
	})
	for _, b := range m {
		slices.SortFunc(b, func(a, b packedBlob) int { return cmp.Compare(a.off, b.off) })
	}
	return m
}

// pack copies what is needed of one pack.
func (r *repacker) pack(ctx context.Context, n uint32) error {
	blobs, name := r.blobs[n], packName(r.p.v.index.pack(n).id)
	for len(blobs) > 0 {
		start, end, k := int64(blobs[0].off), int64(blobs[0].off)+int64(blobs[0].length), 1
		for k < len(blobs) && int64(blobs[k].off)+int64(blobs[k].length)-start <= readRun {
			end = int64(blobs[k].off) + int64(blobs[k].length)
			k++
		}
		r.buf = slices.Grow(r.buf[:0], int(end-start))[:end-start]
		if _, err := r.p.v.s.Get(ctx, name, start, r.buf); err != nil {
			return damagedIfShort(err)
		}
		for _, b := range blobs[:k] {
			sealed := r.buf[int64(b.off)-start:][:b.length]
			r.plain = append(r.plain[:0], sealed...) // opening works in place
			if _, err := r.p.v.plain(b, r.plain, nil); err != nil {
				return err
			}
			if err := r.w.storeSealed(b, sealed); err != nil {
				return err
			}
		}
		blobs = blobs[k:]
	}
	return nil
}

// moved reports whether each needed blob of a pack has a place in a new pack now. Two packs may have held it: then it
// moved once.
func (r *repacker) moved(n uint32) bool {
	var places [4]place
	for _, b := range r.blobs[n] {
		if !slices.ContainsFunc(r.p.v.index.find(b.typ, b.id, places[:0]), func(at place) bool {
			return at.pack >= r.first && r.p.v.index.pack(at.pack).state == packStored
		}) {
			return false
		}
	}
	return true
}

// storeSealed puts a blob that is sealed already into the pack that is being filled.
func (w *writer) storeSealed(b packedBlob, sealed []byte) error {
	o, room, err := w.reserve(b.typ, b.id, len(sealed), b.plain)
	if err != nil || o == nil {
		return err
	}
	copy(room, sealed)
	w.sealed(o)
	return nil
}

// reindex writes index files that name all stored packs but those that go, as far as no index file that may stay names
// them already. It returns the files that are needless then; a Sync must come before they are deleted.
func (v *Vault) reindex(ctx context.Context, going map[uint32]bool) (old []string, err error) {
	files, err := v.indexFiles(ctx, going)
	if err != nil {
		return nil, err
	}
	small := 0
	for _, f := range files {
		if f.blobs < smallIndex {
			small++
		}
	}
	named := map[uint32]bool{}
	for _, f := range files {
		if f.stale || f.blobs < smallIndex && small >= smallIndexes {
			old = append(old, f.name)
			continue
		}
		for _, n := range f.packs {
			named[n] = true
		}
	}
	var nums []uint32
	v.index.mu.RLock()
	for n, p := range v.index.packs {
		if n := uint32(n); p.state == packStored && !going[n] && !named[n] {
			nums = append(nums, n)
		}
	}
	v.index.mu.RUnlock()
	if err := v.writeIndexes(ctx, nums); err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.unindexed = nil
	v.mu.Unlock()
	return old, nil
}

// Index files with fewer blobs than smallIndex are made one once there are smallIndexes of them: each night leaves one.
const (
	smallIndex   = maxIndexBlobs / 10
	smallIndexes = 32
)

// indexFile is what an index file names.
type indexFile struct {
	name  string
	packs []uint32
	blobs int
	stale bool // names a pack that goes, or cannot be read
}

func (v *Vault) indexFiles(ctx context.Context, going map[uint32]bool) ([]indexFile, error) {
	var files []indexFile
	for info, err := range v.s.List(ctx, "index/") {
		if err != nil {
			return nil, err
		}
		f := indexFile{name: info.Name}
		p, err := v.readDocument(ctx, info.Name, maxTree)
		if err == nil {
			err = parseIndex(bytes.Clone(p), func(id hash, blobs []packedBlob) {
				n, ok := v.index.storedPack(id)
				if !ok {
					n = v.index.addPack(id, 0, slices.Clone(blobs))
				}
				f.packs = append(f.packs, n)
				f.blobs += len(blobs)
				f.stale = f.stale || going[n]
			})
		}
		if errors.Is(err, ErrDamaged) && v.o.IgnoreDamagedIndex && ctx.Err() == nil {
			f.stale, err = true, nil
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}
