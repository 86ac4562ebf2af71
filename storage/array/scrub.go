package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"phonebackupbox/storage"
)

// maxListed bounds the damage that a scrub lists for each drive.
const maxListed = 1000

// Scrub reads every file that the drives present should have and compares checksums. It changes nothing; what it
// finds, the next Repair mends. It fails only if ctx ends: a drive that cannot be read is in the report.
func (a *Array) Scrub(ctx context.Context, watch Watch) (ScrubReport, error) {
	a.mu.RLock()
	names := a.led.idx.names("")
	h, _ := a.health()
	var members []*member
	for _, m := range a.members {
		if d, ok := a.led.drives[m.ID]; ok && !d.removed {
			members = append(members, m)
		}
	}
	a.mu.RUnlock()
	p := &progress{watch: watch}
	for _, d := range h.Drives {
		if d.State == Attached || d.State == Failing {
			p.Total += d.Used
		}
	}
	scrubs := make([]*driveScrub, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		scrubs[i] = &driveScrub{a: a, m: m, p: p, report: DriveScrub{ID: m.ID, Label: m.Label}, hurt: make(map[string]bool)}
		wg.Go(func() { scrubs[i].run(ctx, names) })
	}
	wg.Wait()
	report := ScrubReport{Damaged: []Damage{}, Unreadable: []string{}}
	hurt := make(map[string]bool)
	for _, s := range scrubs {
		report.Drives = append(report.Drives, s.report)
		report.Damaged = append(report.Damaged, s.damage...)
		maps.Copy(hurt, s.hurt)
	}
	slices.SortFunc(report.Drives, func(x, y DriveScrub) int { return cmp.Compare(x.Label, y.Label) })
	for _, name := range slices.Sorted(maps.Keys(hurt)) {
		if err := a.readable(ctx, name); err != nil && !errors.Is(err, storage.ErrNotExist) {
			report.Unreadable = append(report.Unreadable, name)
		}
	}
	return report, ctx.Err()
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

// driveScrub reads one drive.
type driveScrub struct {
	a      *Array
	m      *member
	p      *progress
	buf    []byte
	report DriveScrub
	damage []Damage
	hurt   map[string]bool // blobs with damage here
}

func (s *driveScrub) run(ctx context.Context, names []string) {
	if err := s.all(ctx, names); err != nil {
		s.report.Err = err.Error()
	}
}

// all returns an error if the drive as a whole cannot be read.
func (s *driveScrub) all(ctx context.Context, names []string) error {
	s.ledger(ctx)
	for _, name := range names {
		for _, f := range s.a.facts(name) {
			for _, b := range f.all() {
				if b.h.m != s.m {
					continue
				}
				table, err := s.a.table(ctx, f)
				if err != nil {
					s.found(f.name, b.h, err)
					continue
				}
				if err := s.file(ctx, f, table, b); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

// found counts and lists a damaged file.
func (s *driveScrub) found(name string, h holder, err error) {
	s.hurt[name] = true
	if errors.Is(err, storage.ErrNotExist) {
		s.report.Missing++
	} else {
		s.report.Bad++
	}
	if len(s.damage) < maxListed {
		s.damage = append(s.damage, Damage{Drive: s.m.ID, Blob: name, File: h.path, What: err.Error()})
	}
}

// file verifies one file. It returns an error only if the drive is gone.
func (s *driveScrub) file(ctx context.Context, f fact, table []byte, b blobFile) error {
	s.report.Files++
	blocks, size, err := s.a.verifyFile(ctx, f, table, b, &s.buf)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.report.Bytes += size
	s.report.Blocks += blocks
	s.p.add(size)
	if err == nil {
		return nil
	}
	if _, serr := b.h.m.Store.Stat(ctx, b.h.path); errors.Is(serr, storage.ErrUnavailable) {
		return serr
	}
	s.found(f.name, b.h, err)
	return nil
}

// verifyFile reads a file of a blob and compares its length and checksums. It returns how many blocks are bad and how
// many bytes the file should have. buf is room to read into.
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
		n, serr := a.verifySide(ctx, b.h, f.sectors(shard), table[f.sideAt(shard):])
		return n, size, cmp.Or(err, serr)
	}
	for first := 0; first < blocks(size); first += pieceBlocks {
		n := min(pieceBlocks, blocks(size)-first)
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

// verifySide verifies a file of side parity, block by block.
func (a *Array) verifySide(ctx context.Context, h holder, s sectors, sums []byte) (bad int, err error) {
	for i := range s.parityBlocks() {
		if _, berr := a.readSide(ctx, h, s, i, sumAt(sums, i)); berr != nil {
			if ctx.Err() != nil {
				return bad, ctx.Err()
			}
			bad++
			err = cmp.Or(err, berr)
		}
	}
	return bad, err
}

// ledger verifies this drive's copies of the ledger's segments.
func (s *driveScrub) ledger(ctx context.Context) {
	s.a.mu.RLock()
	var files []*ledgerFile
	var holders []holder
	for _, f := range s.a.led.files {
		for _, h := range f.holders {
			if h.m == s.m && f.needed {
				files = append(files, f)
				holders = append(holders, h)
			}
		}
	}
	s.a.mu.RUnlock()
	for i, f := range files {
		s.report.Files++
		s.report.Bytes += f.size
		_, err := readWhole(ctx, holders[i], f.id.String())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.a.badSegment(f, holders[i], err)
			s.found("", holders[i], err)
			delete(s.hurt, "")
		}
	}
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
