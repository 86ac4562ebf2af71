package vault

import (
	"bytes"
	"context"
	"iter"
	"path"
	"runtime"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// VerifyPass is one reading of every pack, which may take many Verifies. It is plain data that its owner keeps, as JSON
// perhaps; one that is lost costs only reading again. Packs that came since and that it would have read earlier are not part
// of it: who stored them has read them back.
type VerifyPass struct {
	// Next is the pack to go on with: those before it, in name order, were read. "" is the start.
	Next string `json:"next,omitempty"`
	// Done: every pack was read.
	Done bool `json:"done,omitempty"`
	// Packs, Blobs and Bytes count what was read and is whole.
	Packs int   `json:"packs"`
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"` // sealed
	// Bad names the packs that were read and are not whole, at most maxBad.
	Bad []string `json:"bad,omitempty"`
}

// Fraction is how much of the packs was read, 0 to 1: names are hashes, and so are spread evenly.
func (p VerifyPass) Fraction() float64 {
	if p.Done {
		return 1
	}
	n, err := strconv.ParseUint(path.Base(p.Next)[:min(len(path.Base(p.Next)), 8)], 16, 32)
	if err != nil {
		return 0
	}
	return float64(n) / (1 << 32)
}

// maxBad is how many damaged packs a pass remembers. With more it stays where it is.
const maxBad = 1000

// VerifyOptions tell VerifyFrom where to begin.
type VerifyOptions struct {
	From VerifyPass
	// Save is called whenever the pass has come further, by one goroutine at a time; it may be nil. Its error ends Verify.
	Save func(VerifyPass) error
	// Watch is as Verify's.
	Watch func(done, total int64)
}

// packRead is what reading a pack came to.
type packRead struct {
	blobs int
	bytes int64
	bad   bool
}

// packs checks every stored pack that the pass has not come to, and those again that were bad.
func (r *verifier) packs(ctx context.Context) error {
	for num := range r.v.index.packCount() {
		for i, b := range r.v.index.blobs(num) {
			if r.total += int64(b.length); i == 0 {
				r.order = append(r.order, num)
			}
		}
	}
	slices.SortFunc(r.order, func(a, b uint32) int { // as their names are ordered
		x, y := r.v.index.pack(a).id, r.v.index.pack(b).id
		return bytes.Compare(x[:], y[:])
	})
	from := r.o.From
	r.at = sort.Search(len(r.order), func(i int) bool { return !from.Done && r.packName(r.order[i]) >= from.Next })
	r.report.Packs, r.report.Blobs, r.report.Bytes = from.Packs, from.Blobs, from.Bytes
	r.pass, r.pass.Bad = from, nil
	bad := map[string]bool{}
	for _, name := range from.Bad {
		bad[name] = true
	}
	var again []int
	for i, num := range r.order[:r.at] {
		if bad[r.packName(num)] {
			again = append(again, i)
		}
	}
	if err := r.read(ctx, slices.Values(again), r.note); err != nil {
		return err
	}
	start := r.at
	rest := func(yield func(int) bool) {
		for i := start; i < len(r.order) && yield(i); i++ {
		}
	}
	if err := r.read(ctx, rest, r.advance); err != nil {
		return err
	}
	return r.save()
}

func (r *verifier) packName(num uint32) string { return packName(r.v.index.pack(num).id) }

// read checks packs, several at once, and calls after for each, one at a time.
func (r *verifier) read(ctx context.Context, which iter.Seq[int], after func(i int, p packRead) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), 4))
	for i := range which {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			p, err := r.pack(gctx, r.order[i])
			if err != nil {
				return err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			return after(i, p)
		})
	}
	return g.Wait()
}

// note takes a pack that was read into the pass. r.mu is held.
func (r *verifier) note(i int, p packRead) error {
	switch {
	case !p.bad:
		r.pass.Packs++
		r.pass.Blobs += p.blobs
		r.pass.Bytes += p.bytes
	case len(r.pass.Bad) < maxBad:
		r.pass.Bad = append(r.pass.Bad, r.packName(r.order[i]))
	default:
		r.full = true
	}
	return nil
}

// advance takes a pack into the pass once all before it are in. r.mu is held.
func (r *verifier) advance(i int, p packRead) error {
	r.ahead[i] = p
	for r.at < len(r.order) {
		p, ok := r.ahead[r.at]
		if !ok {
			break
		}
		if err := r.note(r.at, p); err != nil {
			return err
		}
		delete(r.ahead, r.at)
		r.at++
		if err := r.save(); err != nil {
			return err
		}
	}
	return nil
}

// save tells the owner how far the pass has come. r.mu is held, or nobody else is at work.
func (r *verifier) save() error {
	if r.full || r.o.Save == nil {
		return nil
	}
	p := r.pass
	p.Bad = slices.Clip(p.Bad) // what is appended later goes elsewhere
	if p.Done = r.at == len(r.order); p.Done {
		p.Next = ""
	} else {
		p.Next = r.packName(r.order[r.at])
	}
	return r.o.Save(p)
}
