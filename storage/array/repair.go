package array

import (
	"cmp"
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
// that lack them, brings ledgers up to date, and, when every known drive is present and all is well, removes
// left-overs of crashes. It lists the drives but reads only what it needs: run Scrub before to find silent damage.
// It writes, syncs and verifies before it deletes, and may be interrupted at any point.
func (a *Array) Repair(ctx context.Context, watch Watch) (RepairReport, error) {
	r := &repairer{a: a, files: make(map[*member]map[string]int64), p: progress{watch: watch}, report: RepairReport{Lost: []string{}}}
	if err := r.run(ctx); err != nil {
		return r.report, fmt.Errorf("array: repair: %w", err)
	}
	return r.report, nil
}

// mend forgets that a blob could not be read.
func (a *Array) mend(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.broken, name)
}

type repairer struct {
	a       *Array
	files   map[*member]map[string]int64 // what lies on the drives: sizes by file, in bytes
	p       progress
	report  RepairReport
	written int64
	buf     []byte
}

func (r *repairer) run(ctx context.Context) error {
	a := r.a
	if err := a.forceSync(ctx); err != nil {
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
	for _, name := range names {
		if err := r.blob(ctx, name); err != nil {
			if ctx.Err() != nil {
				return err
			}
			a.log.Warn("blob cannot be repaired", "err", err)
			r.report.Lost = append(r.report.Lost, name)
		} else {
			a.mend(name)
		}
		if r.written >= repairGroup {
			r.written = 0
			if err := a.forceSync(ctx); err != nil {
				return err
			}
		}
	}
	if err := a.forceSync(ctx); err != nil {
		return err
	}
	if err := r.orphans(ctx); err != nil {
		return err
	}
	return a.forceSync(ctx)
}

// forceSync flushes the drives and brings their ledgers up to date, although nothing may have been put.
func (a *Array) forceSync(ctx context.Context) error {
	a.commit.Lock()
	defer a.commit.Unlock()
	return a.sync(ctx, true)
}

// list remembers what lies on a drive.
func (r *repairer) list(ctx context.Context, m *member) error {
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
	f := facts[0]
	table, err := a.table(ctx, f)
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range f.all() {
		if r.isBad(f, b) {
			if err := r.mend(ctx, f, table, b); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if err := join(errs...); err != nil {
		return err
	}
	return r.protect(ctx, facts, table)
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
func (r *repairer) mend(ctx context.Context, f fact, table []byte, b blobFile) error {
	h := b.h
	data, err := r.content(ctx, f, table, b)
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

// write puts a file on a drive, durably, and reads it back.
func (r *repairer) write(ctx context.Context, f fact, table []byte, b blobFile, data []byte) error {
	h := b.h
	if err := r.a.writeFile(ctx, h.m, h.path, data); err != nil {
		return err
	}
	if _, there := r.files[h.m][h.path]; there || strings.HasPrefix(h.path, healDir) {
		if err := h.m.Store.Sync(ctx); err != nil {
			h.m.fail(err)
			return err
		}
	}
	if _, _, err := r.a.verifyFile(ctx, f, table, b, &r.buf); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	r.files[h.m][h.path] = int64(len(data))
	r.written += int64(len(data))
	return nil
}

// content computes what a file of a blob holds, from whatever is good.
func (r *repairer) content(ctx context.Context, f fact, table []byte, b blobFile) ([]byte, error) {
	a := r.a
	shard := f.shardOf(b.i)
	data, err := r.shard(ctx, f, table, shard)
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

// whole reads a whole blob.
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

// protect places what a blob lacks on other drives.
func (r *repairer) protect(ctx context.Context, facts []fact, table []byte) error {
	a, f := r.a, facts[0]
	a.mu.RLock()
	survive := a.led.survive
	room := r.room(f)
	var gone []int // shards or copies that no drive holds that counts
	for i, no := range f.place.holders {
		if !a.known(no) {
			gone = append(gone, i)
		}
	}
	a.mu.RUnlock()
	switch {
	case f.k == 1:
		return r.copies(ctx, facts, table, gone, survive, room)
	case len(gone) == 0 && f.m >= survive:
		if len(facts) > 1 {
			a.insert(f.name, f.size, f.place, table)
		}
		return nil
	case f.m >= survive && len(gone) <= len(room):
		return r.relocate(ctx, f, table, gone, room)
	}
	return r.restripe(ctx, f, table, len(gone), survive)
}

// room lists drives that may take more of a blob, those with most room first. The caller holds mu.
func (r *repairer) room(f fact) []*member {
	var ms []*member
	for _, m := range r.a.writers() {
		no, ok := r.a.led.driveNos[m.ID]
		if ok && !slices.Contains(f.place.holders, no) && !r.a.draining[m.ID] && r.files[m] != nil {
			ms = append(ms, m)
		}
	}
	slices.SortFunc(ms, func(x, y *member) int { return cmp.Compare(x.ID, y.ID) })
	return ms
}

// copies adds whole copies until there are enough, and forgets those that are gone.
func (r *repairer) copies(ctx context.Context, facts []fact, table []byte, gone []int, survive int, room []*member) error {
	a, f := r.a, facts[0]
	place := f.place
	place.holders = nil
	for i, no := range f.place.holders {
		if !slices.Contains(gone, i) {
			place.holders = append(place.holders, no)
		}
	}
	want := survive + 1
	if f.size < smallBlob {
		want = len(place.holders) + len(room)
	}
	var p []byte
	for _, m := range room {
		if len(place.holders) >= want {
			break
		}
		if p == nil {
			var err error
			if p, err = r.whole(ctx, f, table); err != nil {
				return err
			}
		}
		if err := r.copyTo(ctx, f, table, m, p); err != nil {
			if ctx.Err() != nil {
				return err
			}
			a.log.Warn("no copy on a drive", "drive", m.label(), "err", err)
			continue
		}
		a.mu.RLock()
		place.holders = append(place.holders, a.led.driveNos[m.ID])
		a.mu.RUnlock()
		r.report.Rebuilt++
	}
	if len(place.holders) == 0 {
		return fmt.Errorf("%s: no drive takes it: %w", f.name, storage.ErrUnavailable)
	}
	if f.size < smallBlob && len(place.holders) > 1 { // it was alone before
		place.side = noSide
		table = table[:f.tableAt(1)]
	}
	place.m = len(place.holders) - 1
	if place.key() != f.place.key() || len(facts) > 1 {
		a.insert(f.name, f.size, place, table)
	}
	return nil
}

// copyTo puts a whole copy, and its side parity if the others have it, on a drive.
func (r *repairer) copyTo(ctx context.Context, f fact, table []byte, m *member, p []byte) error {
	if err := r.write(ctx, f, table, blobFile{h: holder{m, wholePath(f.name)}}, p); err != nil {
		return err
	}
	return r.sideTo(ctx, f, table, 0, m, p)
}

// sideTo puts the side parity of file i on a drive, if the blob has any.
func (r *repairer) sideTo(ctx context.Context, f fact, table []byte, i int, m *member, data []byte) error {
	sec := f.sectors(f.shardOf(i))
	if sec.groups == 0 {
		return nil
	}
	side := make([]byte, sec.parityLen())
	if err := r.a.coders.encodeSide(data, sec, side); err != nil {
		return err
	}
	return r.write(ctx, f, table, blobFile{i, true, holder{m, f.sidePath(f.name, i)}}, side)
}

// relocate computes shards that no drive holds and puts them on drives that hold none of the blob.
func (r *repairer) relocate(ctx context.Context, f fact, table []byte, gone []int, room []*member) error {
	place := f.place
	place.holders = slices.Clone(place.holders)
	for n, i := range gone {
		data, err := r.shard(ctx, f, table, i)
		if err != nil {
			return err
		}
		m := room[n]
		if err := r.write(ctx, f, table, blobFile{i, false, holder{m, f.path(f.name, i)}}, data); err != nil {
			return err
		}
		if err := r.sideTo(ctx, f, table, i, m, data); err != nil {
			return err
		}
		r.a.mu.RLock()
		place.holders[i] = r.a.led.driveNos[m.ID]
		r.a.mu.RUnlock()
		r.report.Rebuilt++
	}
	r.a.insert(f.name, f.size, place, table)
	return nil
}

// restripe spreads a blob anew over the drives there are, if that protects it better.
func (r *repairer) restripe(ctx context.Context, f fact, table []byte, gone, survive int) error {
	a := r.a
	place, err := a.plan(ctx, f.size, nil)
	if err != nil {
		return err
	}
	draining := slices.ContainsFunc(f.files, func(h holder) bool { return h.m != nil && a.isDraining(h.m.ID) })
	if better := len(place.holders) - place.k; better <= f.m-gone && !draining || better < min(f.m-gone, survive) {
		return nil
	}
	p, err := r.whole(ctx, f, table)
	if err != nil {
		return err
	}
	place, table, err = a.spread(ctx, f.name, p, nil)
	if err != nil {
		return err
	}
	fresh := fact{name: f.name, shape: shape{f.size, place.k, place.m, place.side}}
	for i, part := range a.partsOf(f.name, fresh.shape, place) {
		if part.m == nil {
			return storage.ErrUnavailable
		}
		b := blobFile{i % len(place.holders), i >= len(place.holders), holder{part.m, part.path}}
		if _, _, err := a.verifyFile(ctx, fresh, table, b, &r.buf); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
	}
	a.insert(f.name, f.size, place, table)
	r.written += f.size
	r.report.Spread++
	return nil
}

func (a *Array) isDraining(id string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.draining[id]
}

// orphans removes files that no fact names, but only when nothing is missing: every known drive present and in order,
// every blob repaired. A drive that is away may know of a blob that these do not.
func (r *repairer) orphans(ctx context.Context) error {
	a := r.a
	h, err := a.Health(ctx)
	if err != nil {
		return err
	}
	away := slices.ContainsFunc(h.Drives, func(d DriveHealth) bool { return d.State == Away || d.State == Failing || d.State == Twin })
	if away || len(r.report.Lost) > 0 || len(h.Lost) > 0 || h.Damaged > 0 || h.LedgerIncomplete {
		return nil
	}
	r.residue(ctx)
	for m, files := range r.files {
		for path := range files {
			file := strings.TrimPrefix(path, healDir)
			name, ok := blobOf(file)
			if !ok {
				continue // not ours
			}
			if err := r.orphan(ctx, holder{m, path}, name); err != nil {
				if ctx.Err() != nil {
					return err
				}
				a.log.Warn("left-over file stays", "drive", m.label(), "err", err)
			}
		}
	}
	return nil
}

// residue removes ledger segments that a power cut tore and that nothing was written after: never acknowledged.
func (r *repairer) residue(ctx context.Context) {
	a := r.a
	a.mu.Lock()
	var torn []holder
	for name, f := range a.led.files {
		if len(f.holders) == 0 && !f.needed {
			torn = append(torn, f.bad...)
			delete(a.led.files, name)
		}
	}
	a.mu.Unlock()
	for _, h := range torn {
		if err := h.m.Store.Delete(ctx, h.path); err != nil {
			a.log.Debug("torn ledger segment stays", "drive", h.m.label(), "err", err)
		}
	}
}

func (r *repairer) orphan(ctx context.Context, h holder, name string) error {
	if err := r.a.names.acquire(ctx, name); err != nil {
		return err
	}
	defer r.a.names.release(name)
	if r.a.claimed(name)[h] {
		return nil
	}
	err := h.m.Store.Delete(ctx, h.path)
	if errors.Is(err, storage.ErrNotExist) {
		return nil // by the Sync before
	}
	if err == nil {
		r.report.Orphans++
	}
	return err
}

// blobOf tells which blob a file on a drive belongs to.
func blobOf(file string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(file, "vault/"); ok {
		return name, checkName("repair", name) == nil
	}
	if name, ok = strings.CutPrefix(file, "parity/"); ok {
		return name, checkName("repair", name) == nil
	}
	name, ok = strings.CutPrefix(strings.TrimSuffix(file, ".p"), "shards/")
	for range 3 {
		i := strings.LastIndexByte(name, '.')
		if !ok || i < 0 || strings.Trim(name[i+1:], "0123456789") != "" {
			return "", false
		}
		name = name[:i]
	}
	return name, checkName("repair", name) == nil
}
