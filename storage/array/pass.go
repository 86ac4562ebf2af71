package array

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"phonebackupbox/storage"
)

// Pass is one reading of everything on one drive, which may take many scrubs. It is plain data that its owner keeps, as
// JSON perhaps; one that is lost costs only reading again.
type Pass struct {
	// Next is the blob to go on with: those before it, in name order, were read. "" is the start.
	Next string `json:"next,omitempty"`
	// Done: everything was read.
	Done bool `json:"done,omitempty"`
	// Total is how many bytes there were to read the last time, of which Found.Bytes were.
	Total int64 `json:"total"`
	// Found is what this Pass found so far.
	Found DriveScrub `json:"found"`
	// Damage lists what was wrong when it was read last, at most 1,000 files. The next scrub looks at them first.
	Damage []Damage `json:"damage,omitempty"`
	// Unreadable names the blobs hit that no drives present could bring back.
	Unreadable []string `json:"unreadable,omitempty"`
}

// Fraction is how much of a pass is done, from 0 to 1.
func (p Pass) Fraction() float64 {
	switch {
	case p.Done:
		return 1
	case p.Total <= 0:
		return 0
	}
	return min(float64(p.Found.Bytes)/float64(p.Total), 1)
}

// driveScrub reads one drive.
type driveScrub struct {
	a     *Array
	m     *member
	p     *progress
	pass  Pass
	until time.Time // stop then; zero is never
	buf   []byte

	// Beside another process that writes, the ledger that this array has read grows old: a file may have been deleted
	// since, or its checksums folded into another segment.
	doubts map[string]bool // files that seem to be missing, until newer ledgers were asked
	newer  *Array          // the array by newer ledgers; nil until it was needed
	read   time.Time       // when those were read
}

const (
	maxDoubts = 100
	// oldAfter is how old ledgers may be that are asked for checksums.
	oldAfter = 10 * time.Second
)

func newDriveScrub(a *Array, m *member, p *progress, from Pass, until time.Time) *driveScrub {
	from.Damage = slices.Clone(from.Damage)
	from.Found.ID, from.Found.Label, from.Found.Err = m.ID, m.Label, ""
	return &driveScrub{a: a, m: m, p: p, pass: from, until: until, doubts: make(map[string]bool)}
}

func (s *driveScrub) run(ctx context.Context, names []string) {
	if err := s.all(ctx, names); err != nil {
		s.pass.Found.Err = err.Error()
	}
	s.settle(ctx)
}

// reopen makes newer newer.
func (s *driveScrub) reopen(ctx context.Context) error {
	fresh, err := s.a.openAgain(ctx)
	if err != nil {
		return err
	}
	s.close()
	s.newer, s.read = fresh, time.Now()
	return nil
}

func (s *driveScrub) close() {
	if s.newer != nil {
		s.newer.reads.Wait()
	}
}

// settle asks ledgers that are newer than all doubts.
func (s *driveScrub) settle(ctx context.Context) {
	if len(s.doubts) == 0 || ctx.Err() != nil {
		return
	}
	if err := s.reopen(ctx); err != nil {
		s.a.log.Warn("ledgers cannot be read again", "drive", s.m.label(), "err", err)
		return // what was found stands
	}
	for _, d := range slices.Clone(s.pass.Damage) {
		if s.doubts[d.File] && s.newer.isFine(ctx, s.m.ID, d) {
			s.takeBack(d)
		}
	}
	clear(s.doubts)
}

// all returns an error if the drive as a whole cannot be read.
func (s *driveScrub) all(ctx context.Context, names []string) error {
	if err := s.again(ctx); err != nil || s.pass.Done {
		return err
	}
	if s.pass.Next == "" {
		if err := s.ledger(ctx); err != nil {
			return err
		}
	}
	for i := sort.SearchStrings(names, s.pass.Next); i < len(names); i++ {
		s.pass.Next = names[i]
		before := s.pass
		if err := s.blob(ctx, names[i]); err != nil {
			s.pass = before // the blob is read again when the drive is
			return err
		}
		if i+1 < len(names) && !s.until.IsZero() && !time.Now().Before(s.until) {
			s.pass.Next = names[i+1]
			return nil
		}
	}
	s.pass.Next, s.pass.Done = "", true
	return nil
}

// blob verifies the files of a blob that are on this drive. It returns an error only if the drive is gone, or ctx ended.
func (s *driveScrub) blob(ctx context.Context, name string) error {
	for _, f := range s.a.facts(name) {
		for _, b := range f.all() {
			if b.h.m != s.m {
				continue
			}
			if err := s.file(ctx, f, b, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// file verifies one file, and counts it unless it was read before in this pass. It returns an error only if the drive
// is gone, or ctx ended.
func (s *driveScrub) file(ctx context.Context, f fact, b blobFile, first bool) error {
	a := s.a
	table, err := a.table(ctx, f)
	if err != nil && ctx.Err() == nil {
		if a, f, b, table, err = s.checksums(ctx, f, b, err); a == nil {
			return nil // it is to be there no more
		}
	}
	bad, size := 0, f.fileLen(b)
	if err == nil {
		bad, size, err = a.verifyFile(ctx, f, table, b, &s.buf)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) { // it does not answer, which is no damage
			return err
		}
		if _, serr := s.m.Store.Stat(ctx, b.h.path); errors.Is(serr, storage.ErrUnavailable) {
			return serr
		}
	}
	if first {
		s.pass.Found.Files++
		s.pass.Found.Bytes += size
		s.p.add(size)
	}
	if err == nil {
		return nil
	}
	missing := errors.Is(err, storage.ErrNotExist) && table != nil
	s.found(Damage{Blob: f.name, File: b.h.path, What: err.Error(), Missing: missing, Blocks: bad}, missing || table == nil)
	if len(s.doubts) >= maxDoubts {
		s.settle(ctx)
	}
	return nil
}

// checksums looks for a file's checksums, which could not be had for the reason why, in newer ledgers. The array is nil if
// those do not know the file any more.
func (s *driveScrub) checksums(ctx context.Context, f fact, b blobFile, why error) (*Array, fact, blobFile, []byte, error) {
	if s.newer == nil || time.Since(s.read) > oldAfter {
		if err := s.reopen(ctx); err != nil {
			return s.a, f, b, nil, why
		}
	}
	nf, nb, ok := s.newer.fileOf(f.name, s.m.ID, b.h.path)
	if !ok {
		return nil, f, b, nil, nil
	}
	table, err := s.newer.table(ctx, nf)
	return s.newer, nf, nb, table, err
}

// found counts and lists a damaged file. doubt: a look at newer ledgers may tell otherwise.
func (s *driveScrub) found(d Damage, doubt bool) {
	d.Drive = s.m.ID
	s.count(d, 1)
	if len(s.pass.Damage) < maxListed {
		s.pass.Damage = append(s.pass.Damage, d)
		if doubt {
			s.doubts[d.File] = true
		}
	}
}

// count adds n files damaged like d to what was found.
func (s *driveScrub) count(d Damage, n int) {
	if d.Missing {
		s.pass.Found.Missing += n
	} else {
		s.pass.Found.Bad += n
	}
	s.pass.Found.Blocks += n * d.Blocks
}

// takeBack forgets damage that is none.
func (s *driveScrub) takeBack(d Damage) {
	s.count(d, -1)
	s.pass.Damage = slices.DeleteFunc(s.pass.Damage, func(o Damage) bool { return o == d })
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	delete(s.a.damage, holder{s.m, d.File})
}

// again looks at what was damaged before: what was mended, moved or deleted since is damaged no more.
func (s *driveScrub) again(ctx context.Context) error {
	old := s.pass.Damage
	s.pass.Damage = nil
	for i, d := range old {
		before := s.pass
		s.count(d, -1)
		if err := s.lookAgain(ctx, d); err != nil {
			s.pass = before
			s.pass.Damage = append(s.pass.Damage, old[i:]...)
			return err
		}
	}
	return nil
}

func (s *driveScrub) lookAgain(ctx context.Context, d Damage) error {
	if d.Blob == "" {
		return s.segments(ctx, func(h holder) bool { return h.path == d.File }, false)
	}
	if f, b, ok := s.a.fileOf(d.Blob, s.m.ID, d.File); ok {
		return s.file(ctx, f, b, false)
	}
	return nil
}

// ledger verifies this drive's copies of the ledger's segments.
func (s *driveScrub) ledger(ctx context.Context) error {
	before := s.pass
	err := s.segments(ctx, func(holder) bool { return true }, true)
	if err != nil {
		s.pass = before
	}
	return err
}

// segments verifies this drive's copies of some segments, and counts them unless they were read before in this pass.
func (s *driveScrub) segments(ctx context.Context, which func(holder) bool, first bool) error {
	type copied struct {
		*ledgerFile
		h   holder
		bad bool // as is known
	}
	s.a.mu.RLock()
	var copies []copied
	for _, f := range s.a.led.files {
		for i, h := range append(slices.Clone(f.holders), f.bad...) {
			if h.m == s.m && f.needed && which(h) {
				copies = append(copies, copied{f, h, i >= len(f.holders)})
			}
		}
	}
	s.a.mu.RUnlock()
	for _, c := range copies {
		_, err := readWhole(ctx, c.h, c.id.String())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first {
			s.pass.Found.Files++
			s.pass.Found.Bytes += c.size
		}
		if err == nil {
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if _, serr := c.h.m.Store.Stat(ctx, c.h.path); errors.Is(serr, storage.ErrUnavailable) {
			return serr
		}
		if !c.bad {
			s.a.badSegment(c.ledgerFile, c.h, err)
		}
		s.found(Damage{File: c.h.path, What: err.Error(), Missing: errors.Is(err, storage.ErrNotExist)}, true)
	}
	return nil
}

// unreadable finds out which of the blobs that are damaged here cannot be had from anywhere. tried is shared by all drives.
func (s *driveScrub) unreadable(ctx context.Context, tried map[string]error) {
	var lost []string
	for _, d := range s.pass.Damage {
		if d.Blob == "" || slices.Contains(lost, d.Blob) {
			continue
		}
		err, known := tried[d.Blob]
		if !known {
			by := s.a
			if s.newer != nil {
				by = s.newer
			}
			err = by.readable(ctx, d.Blob)
			if ctx.Err() != nil {
				return // what was known before stands
			}
			tried[d.Blob] = err
		}
		if err != nil && !errors.Is(err, storage.ErrNotExist) {
			lost = append(lost, d.Blob)
		}
	}
	s.pass.Unreadable = lost
}
