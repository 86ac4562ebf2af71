package array

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"phonebackupbox/storage"
)

// shardSource is a drive that a gather may ask: for the shard that is wanted, or for another one to compute it from.
type shardSource struct {
	shard int
	h     holder
}

// answer is what a drive gave: the blocks of its shard that are good.
type answer struct {
	from int // in gather's sources
	buf  []byte
	good [][]byte // parts of buf
	err  error
}

// gather is one attempt to get blocks of a shard, from wherever they can be had.
type gather struct {
	a       *Array
	f       fact
	table   []byte
	target  int // shard
	first   int // block
	n       int
	sources []shardSource
	next    int
	asked   map[int]bool // sources that have not answered; true if they stall
	direct  bool         // hoping that the shard itself is all it takes
	whole   []byte       // all the wanted blocks, if one drive gave them
	others  [][]byte     // the buffers of the other answers
	have    [][][]byte   // by block, by shard
	away    bool         // a drive that might help is not present, or would not answer
	noSide  bool         // not from side parity: that is what this is for
	errs    []error
	answers chan answer
}

// gather returns n blocks of shard target, verified: read if they are good, else computed. It asks the target's drive
// first; when that fails, is damaged or stalls, as many others as it takes.
func (a *Array) gather(ctx context.Context, f fact, table []byte, target, first, n int) ([]byte, error) {
	g := &gather{a: a, f: f, table: table, target: target, first: first, n: n}
	return g.run(ctx)
}

func (g *gather) run(ctx context.Context) ([]byte, error) {
	g.have, g.asked = make([][][]byte, g.n), make(map[int]bool)
	for b := range g.have {
		g.have[b] = make([][]byte, g.f.shards())
	}
	g.order()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // those that stalled end by themselves; Close waits for them
	g.answers = make(chan answer, len(g.sources))
	defer g.spare()
	if err := g.collect(ctx); err != nil {
		return nil, err
	}
	if g.whole != nil {
		return g.whole, nil
	}
	var missing []int
	out := g.a.buffer(g.n, max(min(g.f.shardLen(g.target)-int64(g.first)*blockSize, int64(g.n)*blockSize), 0))
	for b := range g.n {
		at := b * blockSize
		room := out[at:at:min(at+blockSize, cap(out))] // parity may be longer here than what is wanted
		block, err := g.block(b, room)
		if err != nil {
			g.errs = append(g.errs, err)
			missing = append(missing, b)
			continue
		}
		copy(out[at:], block) // nothing, if it was computed there
	}
	for _, b := range missing {
		block, err := g.heal(ctx, b)
		if err != nil {
			return nil, g.fail(err)
		}
		copy(out[b*blockSize:], block)
	}
	return out, nil
}

// buffer returns memory for n blocks of size bytes in all. A single one goes to the cache.
func (a *Array) buffer(n int, size int64) []byte {
	if n == 1 {
		return make([]byte, size)
	}
	return a.pieces.get(max(n, pieceBlocks) * blockSize)[:size]
}

// spare gives back what was read to compute something else from. Who has not answered yet keeps its buffer.
func (g *gather) spare() {
	if g.n > 1 {
		for _, p := range g.others {
			g.a.pieces.put(p)
		}
	}
}

// heal returns a wanted block that too few good blocks are left for, with the help of side parity: that of the shard
// itself, or of the other shards until there are enough of them.
func (g *gather) heal(ctx context.Context, b int) ([]byte, error) {
	if g.noSide {
		return nil, errLacking
	}
	errs := []error{errLacking}
	order := []int{g.target}
	for i := range g.f.shards() {
		if i != g.target && g.have[b][i] == nil && g.length(i, b) > 0 {
			order = append(order, i)
		}
	}
	for _, i := range order {
		data, err := g.side(ctx, i, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.have[b][i] = data
		if block, err := g.block(b, nil); err == nil {
			return block, nil
		}
	}
	return nil, join(errs...)
}

// order lists the drives to ask: those with the target, then the others; those that stalled lately last.
func (g *gather) order() {
	for i, h := range g.f.files {
		shard := i
		if g.f.k == 1 {
			shard = 0
		}
		if h.m == nil {
			g.away = g.away || g.f.place.holders[i] != nowhere && g.a.isKnown(g.f.place.holders[i])
			continue
		}
		if g.f.shardLen(shard) <= int64(g.first)*blockSize && shard != g.target {
			continue // the tail of the last data shard is shorter: known to be zeros
		}
		g.sources = append(g.sources, shardSource{shard, h})
	}
	if g.f.k == 1 && len(g.sources) > 1 { // share the reading
		turn := int(g.a.coders.sum([]byte(g.f.name)) % uint32(len(g.sources)))
		g.sources = append(g.sources[turn:], g.sources[:turn]...)
	}
	rank := func(s shardSource) int {
		switch {
		case s.h.m.isSuspect():
			return 2
		case s.shard != g.target:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(g.sources, func(x, y shardSource) int { return cmp.Compare(rank(x), rank(y)) })
	g.direct = len(g.sources) > 0 && g.sources[0].shard == g.target
}

// isKnown reports whether a drive is one whose return may help.
func (a *Array) isKnown(no driveNo) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	d, ok := a.led.drives[a.led.driveIDs[no]]
	return ok && !d.removed
}

// collect asks drives until every block can be had or nobody is left to ask.
func (g *gather) collect(ctx context.Context) error {
	stall := time.NewTimer(stallAfter)
	defer stall.Stop()
	stuck := time.NewTimer(readTimeout + stallAfter)
	defer stuck.Stop()
	for {
		for g.lacking() > g.active() && g.launch(ctx) {
			stall.Reset(stallAfter)
			stuck.Reset(readTimeout + stallAfter)
		}
		if g.lacking() == 0 || len(g.asked) == 0 {
			return nil
		}
		select {
		case r := <-g.answers:
			g.take(r)
		case <-stall.C:
			for i, stalls := range g.asked {
				if !stalls {
					g.sources[i].h.m.stalled()
					g.asked[i] = true
				}
			}
			g.direct = false
		case <-stuck.C:
			for i := range g.asked {
				g.sources[i].h.m.stalled()
			}
			g.away = true
			g.errs = append(g.errs, errStuck)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// active counts the drives that were asked and do not stall.
func (g *gather) active() int {
	n := 0
	for _, stalls := range g.asked {
		if !stalls {
			n++
		}
	}
	return n
}

// lacking is how many more shards some block needs.
func (g *gather) lacking() int {
	most := 0
	for b, shards := range g.have {
		if shards[g.target] != nil {
			continue
		}
		n := 1
		if !g.direct {
			n = g.f.k
			for i, data := range shards {
				if data != nil || g.f.shardLen(i) <= int64(g.first+b)*blockSize {
					n--
				}
			}
		}
		most = max(most, n)
	}
	return most
}

// launch asks the next drive. It returns false if there is none.
func (g *gather) launch(ctx context.Context) bool {
	if g.next == len(g.sources) {
		return false
	}
	i := g.next
	g.next++
	g.asked[i] = false
	s := g.sources[i]
	g.a.reads.Go(func() {
		buf, good, err := g.a.readBlocks(ctx, g.f, g.table, s, g.first, g.n, nil)
		g.answers <- answer{i, buf, good, err}
	})
	return true
}

func (g *gather) take(r answer) {
	s := g.sources[r.from]
	delete(g.asked, r.from)
	g.direct = false
	if s.shard == g.target && r.err == nil {
		g.whole = r.buf
	} else if r.buf != nil {
		g.others = append(g.others, r.buf)
	}
	if r.err != nil {
		g.errs = append(g.errs, fmt.Errorf("drive %s: %w", s.h.m.label(), r.err))
		g.away = g.away || errors.Is(r.err, storage.ErrUnavailable) || errors.Is(r.err, context.DeadlineExceeded)
		if errors.Is(r.err, context.DeadlineExceeded) {
			s.h.m.stalled()
		}
	}
	for b, data := range r.good {
		if data != nil {
			g.have[b][s.shard] = data
		}
	}
}

// length is how many bytes a shard has in a block of this gather.
func (g *gather) length(shard, b int) int64 {
	return max(min(g.f.shardLen(shard)-int64(g.first+b)*blockSize, blockSize), 0)
}

// block returns one wanted block, computed if need be, in dst if its capacity suffices.
func (g *gather) block(b int, dst []byte) ([]byte, error) {
	if data := g.have[b][g.target]; data != nil {
		return data, nil
	}
	if g.f.k == 1 {
		return nil, errLacking
	}
	at := int64(g.first+b) * blockSize
	n := 0
	for i, data := range g.have[b] {
		if data != nil || g.f.shardLen(i) <= at {
			n++
		}
	}
	if n < g.f.k {
		return nil, errLacking
	}
	data, err := g.a.coders.rebuild(g.f.shape, g.target, at, g.have[b], dst)
	if err != nil {
		return nil, err
	}
	if g.a.coders.sum(data) != sumAt(g.table[g.f.tableAt(g.target):], g.first+b) {
		return nil, fmt.Errorf("computed block %d of shard %d has another checksum: %w", g.first+b, g.target, storage.ErrCorrupt)
	}
	return data, nil
}

var (
	errLacking = errors.New("too few good shards")
	errStuck   = fmt.Errorf("a drive does not answer: %w", storage.ErrUnavailable)
)

// side computes a block of a shard from the side parity on a drive that has the shard.
func (g *gather) side(ctx context.Context, shard, b int) ([]byte, error) {
	errs := []error{errLacking}
	for i, h := range g.f.sides {
		if h.m == nil || g.f.shardOf(i) != shard || h.m.isSuspect() { // who does not answer for the shard does not for its parity
			continue
		}
		data, err := g.sideOf(ctx, shard, g.first+b, i)
		if err == nil {
			return data, nil
		}
		errs = append(errs, err)
	}
	return nil, join(errs...)
}

// sideOf computes block want of a shard from the side parity of file i. The other blocks of its group come from wherever
// they can be had.
func (g *gather) sideOf(ctx context.Context, shard, want, i int) ([]byte, error) {
	s := g.f.sectors(shard)
	sums := g.table[g.f.sideAt(shard):]
	data, err := g.a.coders.rebuildSide(s, want, func(b int) ([]byte, error) {
		if b >= s.data {
			b -= s.data
			return g.a.readSide(ctx, g.f.sides[i], s, b, sumAt(sums, b))
		}
		one := &gather{a: g.a, f: g.f, table: g.table, target: shard, first: b, n: 1, noSide: true}
		return one.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	if g.a.coders.sum(data) != sumAt(g.table[g.f.tableAt(shard):], want) {
		return nil, fmt.Errorf("computed block %d has another checksum: %w", want, storage.ErrCorrupt)
	}
	return data, nil
}

// fail says why the blob cannot be read.
func (g *gather) fail(err error) error {
	why := storage.ErrCorrupt
	if g.away {
		why = storage.ErrUnavailable
	}
	return fmt.Errorf("shard %d, block %d: %w: %w", g.target, g.first, why, join(append(g.errs, err)...))
}

// readBlocks reads blocks of a shard, into buf if it is large enough, and verifies them. Those that are not good are nil, and err says why.
func (a *Array) readBlocks(ctx context.Context, f fact, table []byte, s shardSource, first, n int, buf []byte) (_ []byte, good [][]byte, err error) {
	from := int64(first) * blockSize
	size := max(min(f.shardLen(s.shard)-from, int64(n)*blockSize), 0)
	if int64(cap(buf)) < size {
		buf = a.buffer(n, size)
	}
	buf = buf[:size]
	got, err := s.h.m.Store.Get(ctx, s.h.path, from, buf)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s is too short: %w", s.h.path, storage.ErrCorrupt)
	}
	// One bad sector must not cost the blocks around it.
	single := err != nil && n > 1 && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotExist) &&
		!errors.Is(err, context.DeadlineExceeded)
	good = make([][]byte, n)
	sums := table[f.tableAt(s.shard):]
	var errs []error
	for b := range blocks(size) {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		at := b * blockSize
		block := buf[at:min(at+blockSize, int(size))]
		var berr error
		switch {
		case at+len(block) <= got:
		case single:
			_, berr = s.h.m.Store.Get(ctx, s.h.path, from+int64(at), block)
		default:
			berr = err
		}
		if berr == nil && a.coders.sum(block) != sumAt(sums, first+b) {
			berr = fmt.Errorf("%s: block %d: %w", s.h.path, first+b, storage.ErrCorrupt)
		}
		if berr != nil {
			errs = append(errs, berr)
			continue
		}
		good[b] = block
	}
	if len(errs) > 0 {
		a.noteDamage(ctx, s.h, errs[0])
	}
	return buf, good, join(errs...)
}

// readSide reads a block of a side parity file.
func (a *Array) readSide(ctx context.Context, h holder, s sectors, i int, sum uint32) ([]byte, error) {
	block := make([]byte, s.block)
	_, err := h.m.Store.Get(ctx, h.path, int64(i)*int64(s.block), block)
	if err == nil && a.coders.sum(block) != sum {
		err = fmt.Errorf("%s: block %d: %w", h.path, i, storage.ErrCorrupt)
	}
	if err != nil {
		a.noteDamage(ctx, h, err)
		return nil, err
	}
	return block, nil
}

// noteDamage remembers a file that is missing or damaged, for Health and Repair. A drive that does not answer is not
// damage.
func (a *Array) noteDamage(ctx context.Context, h holder, err error) {
	if ctx.Err() != nil || h.m == nil || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	if errors.Is(err, storage.ErrUnavailable) {
		// The drive may be gone, or a sector unreadable: the first byte tells.
		if _, gerr := h.m.Store.Stat(ctx, h.path); gerr != nil {
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.damage[h]; ok || len(a.damage) >= maxDamage {
		return
	}
	a.damage[h] = err.Error()
	a.log.Warn("damage found", "drive", h.m.label(), "err", err)
}
