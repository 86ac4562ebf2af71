package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// CopyReport is what CopyFrom did.
type CopyReport struct {
	Copied []Snapshot `json:"copied"` // as they are here now, in the order in which they were taken
	There  int        `json:"there"`  // snapshots that had been copied before
	Failed []Damage   `json:"failed"` // snapshots that could not be copied wholly, and so were not
	Blobs  int        `json:"blobs"`  // stored
	Bytes  int64      `json:"bytes"`  // of these, plain
}

// CopyFrom copies snapshots of another repository, of version 1 or 2 and whoever wrote it, into this vault: their blobs are
// read, checked against their hashes, left out where this vault holds them, and sealed with this vault's key. Tags, times,
// generation and every other field of a snapshot stay, only its parent goes; its "original" names it, as stock restic's copy
// does, by which a snapshot copied before is known. What an interrupted CopyFrom stored is not stored again.
//
// It ends with the packs read back, all trees walked in this vault, and the snapshots durable. A snapshot of which something
// is missing is left out and reported. watch may be nil; it gets bytes as the other repository stores them. CopyFrom is
// the vault's only writer: ErrBusy while a Tree is open.
func (v *Vault) CopyFrom(ctx context.Context, from *Vault, list []Snapshot, watch func(done, total int64)) (CopyReport, error) {
	switch {
	case v.o.ReadOnly:
		return CopyReport{}, fmt.Errorf("vault: copy: opened for reading only: %w", fs.ErrPermission)
	case v.cfg.Version != 2:
		return CopyReport{}, fmt.Errorf("vault: copy: format version 1 can only be read: %w", errors.ErrUnsupported)
	case v == from || v.cfg.ID == from.cfg.ID:
		return CopyReport{}, fmt.Errorf("vault: copy: both are the same vault: %w", fs.ErrInvalid)
	}
	if err := v.hold(); err != nil {
		return CopyReport{}, fmt.Errorf("vault: copy: %w", err)
	}
	defer v.release()
	if err := v.findUnindexed(ctx); err != nil {
		return CopyReport{}, err
	}
	c := &transfer{v: v, from: from, src: from.newSource(), watch: watch}
	if err := c.run(ctx, list); err != nil {
		return c.report, fmt.Errorf("vault: copy: %w", err)
	}
	return c.report, nil
}

// transfer is one CopyFrom.
type transfer struct {
	v, from *Vault
	src     *source
	w       *writer
	watch   func(done, total int64)

	mu          sync.Mutex // guards what follows, and makes calls of watch not overlap
	report      CopyReport
	done, total int64
}

func (c *transfer) run(ctx context.Context, list []Snapshot) error {
	docs, err := c.wanted(ctx, list)
	if err != nil || len(docs) == 0 {
		return err
	}
	first := c.v.index.packCount()
	if err := c.blobs(ctx, docs); err != nil {
		return err
	}
	if err := c.v.readBackFrom(ctx, c.w, first, nil); err != nil {
		return err
	}
	return c.snapshots(ctx, docs)
}

// A copyDoc is a snapshot to be copied.
type copyDoc struct {
	Snapshot
	fields map[string]json.RawMessage
}

// wanted reads the documents of the snapshots that are not here yet, in the order in which they were taken.
func (c *transfer) wanted(ctx context.Context, list []Snapshot) ([]copyDoc, error) {
	here, err := c.originals(ctx)
	if err != nil {
		return nil, err
	}
	var docs []copyDoc
	for _, s := range list {
		var d copyDoc
		var original string
		err := s.Err
		if err == nil {
			d, original, err = c.from.copyDoc(ctx, s)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			c.report.Failed = append(c.report.Failed, Damage{"snapshots/" + s.ID, err})
		case here[original] == s.tree && s.tree != hash{}:
			c.report.There++
		default:
			docs = append(docs, d)
		}
	}
	slices.SortStableFunc(docs, func(a, b copyDoc) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	return docs, nil
}

// originals tells the tree of each snapshot that was copied here, by the ID that it had at first.
func (c *transfer) originals(ctx context.Context) (map[string]hash, error) {
	list, err := c.v.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	here := map[string]hash{}
	for _, s := range list {
		if s.Err != nil {
			continue
		}
		_, original, err := c.v.copyDoc(ctx, s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			here[original] = s.tree
		}
	}
	return here, nil
}

// copyDoc reads all fields of a snapshot's document, also those that we do not know, and what it calls its original: its
// own ID if it is no copy.
func (v *Vault) copyDoc(ctx context.Context, s Snapshot) (d copyDoc, original string, err error) {
	p, err := v.readDocument(ctx, "snapshots/"+s.ID, maxSnapshot)
	if err != nil {
		return d, "", err
	}
	d.Snapshot = s
	if err := json.Unmarshal(p, &d.fields); err != nil {
		return d, "", fmt.Errorf("vault: snapshots/%s: %w: %w", s.ID, ErrDamaged, err)
	}
	delete(d.fields, "parent") // it means nothing here
	if raw, ok := d.fields["original"]; ok && json.Unmarshal(raw, &original) == nil {
		if _, err := parseHash(original); err == nil {
			return d, original, nil
		}
	}
	d.fields["original"] = json.RawMessage(`"` + s.ID + `"`)
	return d, s.ID, nil
}

// blobs stores all that the snapshots need and this vault lacks, durably and named in its index. When it fails, what it
// stored is durable as far as possible, for the next run.
func (c *transfer) blobs(ctx context.Context, docs []copyDoc) (err error) {
	need := c.from.newCensus()
	for _, d := range docs {
		// One that cannot be walked wholly fails in the end, where it is walked here.
		if err := need.snapshot(ctx, d.Snapshot); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			c.v.o.Log.Warn("a snapshot cannot be copied wholly", slog.Any("err", err))
		}
	}
	c.w = newWriter(ctx, c.v)
	c.v.mu.Lock()
	c.w.put = slices.Clone(c.v.unindexed) // left by a run that was cut short: synced and indexed now
	c.v.unindexed = nil
	c.v.mu.Unlock()
	stop := c.w.keepSynced(c.v.pace.index)
	err = c.packs(ctx, need)
	err = errors.Join(err, c.w.flush()) // what was stored is saved, whatever happened
	stop()
	if serr := c.w.sync(); serr == nil {
		serr = errors.Join(c.w.writeIndex(1), c.w.sync())
		err = cmp.Or(err, serr)
	} else {
		err = cmp.Or(err, serr)
	}
	c.w.mu.Lock()
	left := append(c.w.durable, c.w.put...)
	c.w.mu.Unlock()
	c.v.mu.Lock()
	c.v.unindexed = left
	c.v.mu.Unlock()
	return err
}

// packs copies what is needed of each pack of the other repository, a few packs at once.
func (c *transfer) packs(ctx context.Context, need *census) error {
	var nums []uint32
	seen := map[uint32]bool{}
	c.from.index.places(func(first uint32, at place) {
		if need.needs(first) {
			c.total += int64(at.length)
			if !seen[at.pack] {
				seen[at.pack] = true
				nums = append(nums, at.pack)
			}
		}
	})
	for part := range slices.Chunk(nums, indexAtOnce) {
		blobs := map[uint32][]packedBlob{}
		for _, n := range part {
			blobs[n] = nil
		}
		c.from.index.places(func(first uint32, at place) {
			if _, ok := blobs[at.pack]; ok && need.needs(first) {
				blobs[at.pack] = append(blobs[at.pack], at.packedBlob)
			}
		})
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(min(runtime.GOMAXPROCS(0), 4))
		for _, n := range part {
			g.Go(func() error { return c.pack(gctx, n, blobs[n]) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// pack copies blobs of one pack. What cannot be read is left out: the snapshots that need it are found out later.
func (c *transfer) pack(ctx context.Context, n uint32, blobs []packedBlob) error {
	slices.SortFunc(blobs, func(a, b packedBlob) int { return cmp.Compare(a.off, b.off) })
	name := packName(c.from.index.pack(n).id)
	var buf []byte
	for len(blobs) > 0 {
		start, end, k := int64(blobs[0].off), int64(blobs[0].off)+int64(blobs[0].length), 1
		for k < len(blobs) && int64(blobs[k].off)+int64(blobs[k].length)-start <= readRun {
			end = int64(blobs[k].off) + int64(blobs[k].length)
			k++
		}
		var err error
		if slices.ContainsFunc(blobs[:k], func(b packedBlob) bool { return !c.w.has(b.typ, b.id) }) {
			buf = slices.Grow(buf[:0], int(end-start))[:end-start]
			_, err = c.from.s.Get(ctx, name, start, buf)
		}
		for _, b := range blobs[:k] {
			if c.w.has(b.typ, b.id) {
				c.progress(int64(b.length))
				continue
			}
			berr := err
			if berr == nil {
				berr = c.blob(b, buf[int64(b.off)-start:][:b.length])
			}
			if berr != nil && ctx.Err() == nil && c.w.failed() == nil {
				berr = c.elsewhere(ctx, b)
			}
			if err := cmp.Or(ctx.Err(), c.w.failed()); err != nil {
				return err
			}
			if berr != nil {
				c.v.o.Log.Warn("a blob cannot be copied", slog.Any("err", berr))
			}
			c.progress(int64(b.length))
		}
		blobs = blobs[k:]
	}
	return nil
}

// blob opens a sealed blob in place, checks it and stores it, compressed as it is if it is.
func (c *transfer) blob(b packedBlob, sealed []byte) error {
	p, err := c.from.key.open(sealed)
	if err != nil {
		return fmt.Errorf("%s blob %s: %w: %w", b.typ, b.id, ErrDamaged, err)
	}
	plain := p
	if b.plain != 0 {
		if plain, err = c.from.zip.decompress(p, int64(b.plain), maxTree, nil); err != nil {
			return fmt.Errorf("%s blob %s: %w", b.typ, b.id, err)
		}
	}
	if sha256.Sum256(plain) != b.id {
		return fmt.Errorf("%s blob %s: %w: content does not fit the hash", b.typ, b.id, ErrDamaged)
	}
	if b.plain == 0 {
		return c.plain(b, plain)
	}
	c.stored(len(plain))
	return c.w.storePacked(b.typ, b.id, p, b.plain)
}

// plain stores a blob that was not compressed.
func (c *transfer) plain(b packedBlob, p []byte) error {
	c.stored(len(p))
	if b.typ == treeBlob {
		return c.w.storePacked(b.typ, b.id, c.v.zip.enc.EncodeAll(p, nil), uint32(len(p)))
	}
	_, err := c.w.store(b.typ, p)
	return err
}

// elsewhere copies a blob from whichever of its places can be read.
func (c *transfer) elsewhere(ctx context.Context, b packedBlob) error {
	p, err := c.src.read(ctx, b.typ, b.id, nil)
	if err != nil {
		return err
	}
	return c.plain(b, p)
}

func (c *transfer) stored(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Blobs++
	c.report.Bytes += int64(n)
}

func (c *transfer) progress(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done += n; c.watch != nil {
		c.watch(c.done, c.total)
	}
}

// snapshots puts the documents of the snapshots that are wholly here, in order.
func (c *transfer) snapshots(ctx context.Context, docs []copyDoc) error {
	src, whole := c.v.newSource(), map[hash]bool{}
	for _, d := range docs {
		if err := c.whole(ctx, src, whole, d.tree, 0); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.report.Failed = append(c.report.Failed, Damage{"snapshots/" + d.ID, err})
			continue
		}
		doc, err := json.Marshal(d.fields)
		if err != nil {
			return err
		}
		id, err := c.v.writeDocument(ctx, "snapshots", doc)
		if err != nil {
			return err
		}
		s, err := c.v.snapshot(ctx, id)
		if err != nil {
			return err
		}
		c.report.Copied = append(c.report.Copied, s)
	}
	return c.v.s.Sync(ctx)
}

// whole is nil if a tree and all below it are here. Trees that are, are remembered.
func (c *transfer) whole(ctx context.Context, src *source, known map[hash]bool, id hash, depth int) error {
	if known[id] {
		return nil
	}
	if depth > maxDepth+1 {
		return fmt.Errorf("%w: folders in folders", ErrTooBig)
	}
	var subs []hash
	err := c.v.loadTree(ctx, src, id, func(n node) error {
		if n.mode.IsDir() {
			subs = append(subs, n.subtree)
		}
		for _, id := range n.content {
			if !c.w.has(dataBlob, id) {
				return fmt.Errorf("data blob %s: %w: it could not be copied", id, ErrDamaged)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, sub := range subs {
		if err := c.whole(ctx, src, known, sub, depth+1); err != nil {
			return err
		}
	}
	known[id] = true
	return nil
}
