package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// maxListed bounds the damage that a scrub lists for each drive.
const maxListed = 1000

// ScrubOptions say where a scrub goes on and when it stops.
type ScrubOptions struct {
	// From says how far each drive was read before, by its ID; the others are read from the start.
	From map[string]Pass
	// Only lists the IDs of the drives to read. Empty is all that are present.
	Only []string
	// For ends the scrub after so long, when the file that is being read then is done. 0 is no limit.
	For time.Duration
	// Watch is told how far it has come; it may be nil.
	Watch Watch
}

// Scrub reads every file that the drives present should have and compares checksums. It changes nothing; what it
// finds, the next Repair mends. It fails only if ctx ends: a drive that cannot be read is in the report.
func (a *Array) Scrub(ctx context.Context, watch Watch) (ScrubReport, error) {
	return a.ScrubFrom(ctx, ScrubOptions{Watch: watch})
}

// ScrubFrom is Scrub in parts: it goes on where the Passes say, and its report has Passes to go on from, also when ctx
// ended it. A Pass that is Done is not read again, but for the damage that it lists: what was mended since is taken off
// the list. What is written while a Pass is under way may be left to the next one.
func (a *Array) ScrubFrom(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	a.mu.RLock()
	names := a.led.idx.names("")
	h, _ := a.health()
	var members []*member
	for _, m := range a.members {
		if d, ok := a.led.drives[m.ID]; ok && !d.removed && (len(o.Only) == 0 || slices.Contains(o.Only, m.ID)) {
			members = append(members, m)
		}
	}
	a.mu.RUnlock()
	var until time.Time
	if o.For > 0 {
		until = time.Now().Add(o.For)
	}
	p := &progress{watch: o.Watch}
	scrubs := make([]*driveScrub, len(members))
	for i, m := range members {
		scrubs[i] = newDriveScrub(a, m, p, o.From[m.ID], until)
		if j := slices.IndexFunc(h.Drives, func(d DriveHealth) bool { return d.ID == m.ID }); j >= 0 {
			scrubs[i].pass.Total = max(h.Drives[j].Used, scrubs[i].pass.Found.Bytes)
		}
		p.Done += scrubs[i].pass.Found.Bytes
		p.Total += scrubs[i].pass.Total
	}
	var wg sync.WaitGroup
	for _, s := range scrubs {
		wg.Go(func() { s.run(ctx, names) })
	}
	wg.Wait()
	passes, tried := make(map[string]Pass), make(map[string]error)
	for _, s := range scrubs {
		s.unreadable(ctx, tried)
		s.close()
		passes[s.m.ID] = s.pass
	}
	return ReportOf(passes), ctx.Err()
}

// ReportOf puts together what passes, by the drives' IDs, found so far.
func ReportOf(passes map[string]Pass) ScrubReport {
	r := ScrubReport{Drives: []DriveScrub{}, Damaged: []Damage{}, Unreadable: []string{}, Passes: passes}
	for _, id := range slices.Sorted(maps.Keys(passes)) {
		p := passes[id]
		r.Drives = append(r.Drives, p.Found)
		r.Damaged = append(r.Damaged, p.Damage...)
		r.Unreadable = append(r.Unreadable, p.Unreadable...)
	}
	slices.SortStableFunc(r.Drives, func(x, y DriveScrub) int { return cmp.Compare(x.Label, y.Label) })
	slices.Sort(r.Unreadable)
	r.Unreadable = slices.Compact(r.Unreadable)
	return r
}

// openAgain is the array as its drives say it is now.
func (a *Array) openAgain(ctx context.Context) (*Array, error) {
	a.mu.RLock()
	var ms []Member
	for _, m := range a.members {
		ms = append(ms, m.Member)
	}
	a.mu.RUnlock()
	return Open(ctx, ms, Options{Log: a.log})
}

// isFine reports whether a file is as it should be, or should not be at all.
func (a *Array) isFine(ctx context.Context, drive string, d Damage) bool {
	if d.Blob == "" {
		f := a.led.files[path.Base(d.File)]
		if f == nil || !f.needed {
			return true
		}
		i := slices.IndexFunc(f.holders, func(h holder) bool { return h.m.ID == drive && h.path == d.File })
		if i < 0 {
			return false
		}
		_, err := readWhole(ctx, f.holders[i], f.id.String()) // that it is listed says little
		return err == nil
	}
	f, b, ok := a.fileOf(d.Blob, drive, d.File)
	if !ok {
		return true
	}
	table, err := a.table(ctx, f)
	if err == nil {
		_, _, err = a.verifyFile(ctx, f, table, b, new([]byte))
	}
	return err == nil
}

// fileOf finds the file of a blob that has that path on a drive.
func (a *Array) fileOf(blob, drive, path string) (fact, blobFile, bool) {
	for _, f := range a.facts(blob) {
		for _, b := range f.all() {
			if b.h.m != nil && b.h.m.ID == drive && b.h.path == path {
				return f, b, true
			}
		}
	}
	return fact{}, blobFile{}, false
}

// progress tells a Watch, one call at a time.
type progress struct {
	mu    sync.Mutex // guards the rest
	watch Watch
	Progress
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Done += n
	p.Total = max(p.Total, p.Done)
	if p.watch != nil {
		p.watch(p.Progress)
	}
}

// verifyFile reads a file of a blob and compares its length and checksums. It returns how many blocks are bad and how
// many bytes the file should have. buf is room to read into; it is made large enough for a piece.
func (a *Array) verifyFile(ctx context.Context, f fact, table []byte, b blobFile, buf *[]byte) (bad int, size int64, err error) {
	size = f.fileLen(b)
	if need := min(size, pieceBlocks*blockSize); int64(cap(*buf)) < need {
		*buf = make([]byte, need)
	}
	info, err := b.h.m.Store.Stat(ctx, b.h.path)
	if err == nil && info.Size != size {
		err = fmt.Errorf("%s has %d bytes and not %d: %w", b.h.path, info.Size, size, storage.ErrCorrupt)
	}
	if err != nil {
		a.noteDamage(ctx, b.h, err)
		if errors.Is(err, storage.ErrNotExist) {
			return 0, size, err
		}
	}
	shard := f.shardOf(b.i)
	if b.side {
		n, serr := a.verifySide(ctx, b.h, f.sectors(shard), table[f.sideAt(shard):], *buf)
		return n, size, cmp.Or(err, serr)
	}
	piece := max(cap(*buf)/blockSize, pieceBlocks)
	for first := 0; first < blocks(size); first += piece {
		n := min(piece, blocks(size)-first)
		_, good, berr := a.readBlocks(ctx, f, table, shardSource{shard, b.h}, first, n, *buf)
		if ctx.Err() != nil {
			return bad, size, ctx.Err()
		}
		for _, g := range good {
			if g == nil {
				bad++
			}
		}
		err = cmp.Or(err, berr)
	}
	return bad, size, err
}

// verifySide verifies a file of side parity: as much as buf has room for at once, and block by block where that is not good.
func (a *Array) verifySide(ctx context.Context, h holder, s sectors, sums, buf []byte) (bad int, err error) {
	n := s.parityBlocks()
	piece := max(cap(buf)/s.block, 1)
	for first := 0; first < n; first += piece {
		run := min(piece, n-first)
		if a.sideIs(ctx, h, s, first, sums, buf[:run*s.block]) {
			continue
		}
		for i := first; i < first+run; i++ {
			if _, berr := a.readSide(ctx, h, s, i, sumAt(sums, i)); berr != nil {
				if ctx.Err() != nil {
					return bad, ctx.Err()
				}
				bad++
				err = cmp.Or(err, berr)
			}
		}
	}
	return bad, err
}

// sideIs reads blocks of a file of side parity from block first on and reports whether all are good.
func (a *Array) sideIs(ctx context.Context, h holder, s sectors, first int, sums, buf []byte) bool {
	if _, err := h.m.Store.Get(ctx, h.path, int64(first)*int64(s.block), buf); err != nil {
		return false // which block is bad is found by reading each
	}
	for at := 0; at < len(buf); at += s.block {
		if a.coders.sum(buf[at:][:s.block]) != sumAt(sums, first+at/s.block) {
			return false
		}
	}
	return true
}

// readable reads a blob whole, from wherever it can be had.
func (a *Array) readable(ctx context.Context, name string) error {
	facts := a.facts(name)
	if len(facts) == 0 {
		return storage.ErrNotExist
	}
	buf := make([]byte, min(facts[0].size, pieceBlocks*blockSize))
	for off := int64(0); off < facts[0].size; off += int64(len(buf)) {
		if err := a.readAny(ctx, name, facts, off, buf[:min(int64(len(buf)), facts[0].size-off)]); err != nil {
			return err
		}
	}
	return nil
}
