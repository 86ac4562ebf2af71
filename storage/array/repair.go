package array

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"phonebackupbox/storage"
)

const (
	// repairGroup is how much a repair writes between two Syncs, in bytes.
	repairGroup = 64 << 20
	healDir     = "heal/"
)

// Repair gives every blob its full protection again, as far as the drives present allow: it mends files that Scrub or
// Get found damaged, makes missing ones anew, moves shards of removed drives to others, gives small blobs to drives
// that lack them and every blob to those that travel, brings ledgers up to date, and evens out drives where room for
// protected blobs is short. When only drives that travel are away and all is well, it removes left-overs of crashes and what
// was deleted while a drive was away. It lists the drives but reads only what it needs: run Scrub before to find silent
// damage. It writes, syncs and verifies before it deletes, and may be interrupted at any point.
func (a *Array) Repair(ctx context.Context, watch Watch) (RepairReport, error) {
	return a.repair(ctx, watch, false)
}

// CatchUp is the part of Repair that the ledger alone gives reason for: it lists nothing, mends no damage and deletes
// nothing. What a drive missed while it was away gets there.
func (a *Array) CatchUp(ctx context.Context, watch Watch) (RepairReport, error) {
	return a.repair(ctx, watch, true)
}

func (a *Array) repair(ctx context.Context, watch Watch, quick bool) (RepairReport, error) {
	r := &repairer{a: a, quick: quick, p: progress{watch: watch}, report: RepairReport{Lost: []string{}}}
	r.files, r.room = make(map[*member]map[string]int64), make(map[*member]int64)
	if err := r.run(ctx); err != nil {
		return r.report, fmt.Errorf("array: repair: %w", err)
	}
	return r.report, nil
}

// mended forgets that a blob could not be read.
func (a *Array) mended(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.broken, name)
}

type repairer struct {
	a       *Array
	quick   bool                         // CatchUp
	files   map[*member]map[string]int64 // what lies on the drives: sizes by file, in bytes
	room    map[*member]int64            // of those that can be written: free bytes, less what was written since
	p       progress
	report  RepairReport
	written int64
	buf     []byte
}

func (r *repairer) run(ctx context.Context) error {
	a := r.a
	if err := r.sync(ctx); err != nil {
		return err
	}
	a.mu.RLock()
	names := a.led.idx.names("")
	writers := a.writers()
	h, _ := a.health()
	a.mu.RUnlock()
	r.p.Total = h.Bytes
	for _, m := range writers {
		if err := r.list(ctx, m); err != nil {
			return err
		}
	}
	if err := r.all(ctx, names); err != nil {
		return err
	}
	if r.quick {
		return r.sync(ctx)
	}
	if err := r.all(ctx, r.foundHurt()); err != nil {
		return err
	}
	moved, err := r.even(ctx, names)
	if err != nil {
		return err
	}
	a.mu.RLock()
	h, _ = a.health()
	a.mu.RUnlock()
	if moved && !h.Protected() { // there is room now that there was not
		r.report.Lost = r.report.Lost[:0]
		if err := r.all(ctx, names); err != nil {
			return err
		}
	}
	if err := r.sync(ctx); err != nil {
		return err
	}
	if err := r.orphans(ctx); err != nil {
		return err
	}
	return r.sync(ctx)
}

// all repairs blobs.
func (r *repairer) all(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := r.blob(ctx, name); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.a.log.Warn("blob cannot be repaired", "err", err)
			r.report.Lost = append(r.report.Lost, name)
		} else if !r.quick {
			r.a.mended(name)
		}
		if err := r.syncDue(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// syncDue syncs if much was written since the last time.
func (r *repairer) syncDue(ctx context.Context) error {
	if r.written < repairGroup {
		return nil
	}
	return r.sync(ctx)
}

// sync makes durable what was written, deletes what it replaces, and sees how much room that leaves.
func (r *repairer) sync(ctx context.Context) error {
	r.written = 0
	if err := r.a.forceSync(ctx); err != nil {
		return err
	}
	c, err := r.a.candidates(ctx, nil)
	if err != nil {
		return err
	}
	clear(r.room)
	for _, d := range c {
		r.room[d.m] = d.free
	}
	return nil
}

// forceSync flushes the drives and brings their ledgers up to date, although nothing may have been put.
func (a *Array) forceSync(ctx context.Context) error {
	a.commit.Lock()
	defer a.commit.Unlock()
	return a.sync(ctx, true)
}

// foundHurt lists the blobs with damage that turned up only when something else was made from them, after their turn.
func (r *repairer) foundHurt() []string {
	r.a.mu.RLock()
	defer r.a.mu.RUnlock()
	var names []string
	for h := range r.a.damage {
		if name, ok := blobOf(h.path); ok && h.m.up() && !slices.Contains(r.report.Lost, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// list remembers what lies on a drive.
func (r *repairer) list(ctx context.Context, m *member) error {
	if r.quick {
		return nil
	}
	files := make(map[string]int64)
	for _, dir := range []string{"vault/", "shards/", "parity/", healDir} {
		for info, err := range m.Store.List(ctx, dir) {
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				m.fail(err)
				return nil
			}
			files[info.Name] = info.Size
		}
	}
	r.files[m] = files
	return nil
}

// patient is a blob under repair.
type patient struct {
	name  string
	size  int64
	facts []fact // by which it may be read, the first one first
	main  fact   // that its protection counts on
	extra *fact  // whole copies beside, on drives that travel; nil if there are none
}

// diagnose sorts what is known of a blob.
func (r *repairer) diagnose(name string, facts []fact) *patient {
	a := r.a
	a.mu.RLock()
	defer a.mu.RUnlock()
	p := &patient{name: name, size: facts[0].size, main: facts[0]}
	for _, f := range facts[1:] {
		if f.place.spare(a.relied) > p.main.place.spare(a.relied) {
			p.main = f
		}
	}
	p.facts = []fact{p.main}
	for _, f := range facts {
		if f.same(p.main) {
			continue
		}
		p.facts = append(p.facts, f)
		if f.k == 1 && p.extra == nil && slices.ContainsFunc(f.place.holders, a.travels) {
			p.extra = &f
		}
	}
	return p
}

// same reports whether two facts are one.
func (f fact) same(g fact) bool {
	return f.source == g.source && f.off == g.off && f.sum == g.sum && f.place.key() == g.place.key()
}

// blob repairs one blob.
func (r *repairer) blob(ctx context.Context, name string) error {
	a := r.a
	if err := a.names.acquire(ctx, name); err != nil {
		return err
	}
	defer a.names.release(name)
	facts := a.facts(name)
	if len(facts) == 0 {
		return nil // deleted meanwhile
	}
	defer func() { r.p.add(facts[0].size) }()
	p := r.diagnose(name, facts)
	var errs []error
	for _, f := range []*fact{&p.main, p.extra} {
		if f == nil {
			continue
		}
		for _, b := range f.all() {
			if r.isBad(*f, b) {
				if err := r.mend(ctx, p, *f, b); err != nil {
					errs = append(errs, err)
				}
			}
		}
	}
	if err := join(errs...); err != nil {
		return err
	}
	return r.protect(ctx, p)
}

// isBad reports whether a file of a blob is on a drive that can be written, and missing or known to be damaged.
func (r *repairer) isBad(f fact, b blobFile) bool {
	h := b.h
	files := r.files[h.m]
	if h.m == nil || files == nil || !h.m.up() {
		return false
	}
	r.a.mu.RLock()
	defer r.a.mu.RUnlock()
	size, ok := files[h.path]
	_, damaged := r.a.damage[h]
	return !ok || damaged || size != f.fileLen(b)
}

// mend rewrites a file that is damaged or missing.
func (r *repairer) mend(ctx context.Context, p *patient, f fact, b blobFile) error {
	h := b.h
	table, err := r.a.table(ctx, f)
	if err != nil {
		return err
	}
	data, err := r.content(ctx, p, f, table, b)
	if err != nil {
		return err
	}
	_, there := r.files[h.m][h.path]
	if there {
		// Until the file has its name again, a whole copy lies beside it.
		spare := holder{h.m, healPath(h.path)}
		if err := r.write(ctx, f, table, b.at(spare), data); err != nil {
			return err
		}
		if err := h.m.Store.Delete(ctx, h.path); err != nil && !errors.Is(err, storage.ErrNotExist) {
			return err
		}
	}
	if err := r.write(ctx, f, table, b, data); err != nil {
		return err
	}
	r.a.mu.Lock()
	delete(r.a.damage, h)
	r.a.mu.Unlock()
	if there {
		r.report.Mended++
		return h.m.Store.Delete(ctx, healPath(h.path))
	}
	r.report.Rebuilt++
	return nil
}

// write puts a file on a drive, durably where another one is to be deleted for it, and reads it back.
func (r *repairer) write(ctx context.Context, f fact, table []byte, b blobFile, data []byte) error {
	h := b.h
	if err := r.a.writeFile(ctx, h.m, h.path, data); err != nil {
		if ctx.Err() == nil && !errors.Is(err, storage.ErrFull) {
			h.m.fail(err)
		}
		return err
	}
	r.room[h.m] -= int64(len(data))
	if _, there := r.files[h.m][h.path]; there || strings.HasPrefix(h.path, healDir) {
		if err := h.m.Store.Sync(ctx); err != nil {
			h.m.fail(err)
			return err
		}
	}
	if _, _, err := r.a.verifyFile(ctx, f, table, b, &r.buf); err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			h.m.fail(err)
		}
		return fmt.Errorf("read back: %w", err)
	}
	if r.files[h.m] != nil {
		r.files[h.m][h.path] = int64(len(data))
	}
	r.written += int64(len(data))
	return nil
}

// content computes what a file of a blob holds, from whatever is good.
func (r *repairer) content(ctx context.Context, p *patient, f fact, table []byte, b blobFile) ([]byte, error) {
	a := r.a
	shard := f.shardOf(b.i)
	data, err := r.shard(ctx, f, table, shard)
	if err != nil && ctx.Err() == nil {
		if other, oerr := r.shardOfOthers(ctx, p, f, shard); oerr == nil {
			data, err = other, nil
		}
	}
	if err == nil && b.side {
		sec := f.sectors(shard)
		side := make([]byte, sec.parityLen())
		return side, a.coders.encodeSide(data, sec, side)
	}
	if err == nil || ctx.Err() != nil {
		return data, err
	}
	spare := b.at(holder{b.h.m, healPath(b.h.path)})
	if size, ok := r.files[b.h.m][spare.h.path]; ok && size == f.fileLen(b) { // of a repair that was interrupted
		if _, _, verr := a.verifyFile(ctx, f, table, spare, &r.buf); verr == nil {
			return storage.ReadAll(ctx, b.h.m.Store, spare.h.path, size)
		}
	}
	return nil, err
}

// shardOfOthers computes a shard from the other ways in which the blob is on drives.
func (r *repairer) shardOfOthers(ctx context.Context, p *patient, f fact, shard int) ([]byte, error) {
	err := errLacking
	for _, g := range p.facts {
		if g.same(f) {
			continue
		}
		table, gerr := r.a.table(ctx, g)
		var data []byte
		if gerr == nil {
			data, gerr = r.whole(ctx, g, table)
		}
		if gerr != nil {
			err = gerr
			continue
		}
		if shard < f.k {
			return data[min(int64(shard)*f.stripe(), f.size):][:f.shardLen(shard)], nil
		}
		parity := make([][]byte, f.m)
		for i := range parity {
			parity[i] = make([]byte, f.stripe())
		}
		_, gerr = r.a.coders.encode(data, f.shape, parity)
		return parity[shard-f.k], gerr
	}
	return nil, err
}

// at is the same file in another place.
func (b blobFile) at(h holder) blobFile { return blobFile{b.i, b.side, h} }

// shard reads or computes a whole shard.
func (r *repairer) shard(ctx context.Context, f fact, table []byte, shard int) ([]byte, error) {
	n := blocks(f.shardLen(shard))
	data := make([]byte, 0, f.shardLen(shard))
	for first := 0; first < n; first += pieceBlocks {
		piece, err := r.a.gather(ctx, f, table, shard, first, min(pieceBlocks, n-first))
		if err != nil {
			return nil, err
		}
		data = append(data, piece...)
	}
	return data, nil
}

// whole reads a whole blob by one fact.
func (r *repairer) whole(ctx context.Context, f fact, table []byte) ([]byte, error) {
	p := make([]byte, 0, f.size)
	for i := range f.k {
		data, err := r.shard(ctx, f, table, i)
		if err != nil {
			return nil, err
		}
		p = append(p, data...)
	}
	return p, nil
}

// bytes reads a whole blob by whichever fact works.
func (r *repairer) bytes(ctx context.Context, p *patient) ([]byte, error) {
	var errs []error
	for _, f := range p.facts {
		table, err := r.a.table(ctx, f)
		if err == nil {
			var data []byte
			if data, err = r.whole(ctx, f, table); err == nil {
				return data, nil
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, join(errs...)
}
