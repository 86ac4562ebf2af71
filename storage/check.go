package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Check tries a Store against every rule of its interface and returns all the broken ones, joined, or nil. It needs
// about 40 MB of room, works under a folder "check/" with a random name, and deletes what it put, so it may run on a
// store in use. It does not cut the power: durability is what storage/vdrive's tests are for.
func Check(ctx context.Context, s Store) error {
	c := &checker{ctx: ctx, s: s, dir: "check/" + strings.ToLower(rand.Text()[:12])}
	for _, rule := range []struct {
		name string
		try  func()
	}{
		{"put and read back", c.sizes},
		{"ranges", c.ranges},
		{"put again", c.again},
		{"caller reuses its buffer", c.reuse},
		{"absent names", c.absent},
		{"names", c.names},
		{"list", c.list},
		{"delete", c.delete},
		{"concurrent use", c.concurrent},
		{"ended context", c.ended},
	} {
		c.rule = rule.name
		rule.try()
		if ctx.Err() != nil {
			c.fail(ctx.Err(), "interrupted")
			break
		}
	}
	c.rule = "clean up"
	c.clean(context.WithoutCancel(ctx))
	return errors.Join(c.errs...)
}

// checker collects the rules that a Store broke.
type checker struct {
	ctx  context.Context // Check's: one operation
	s    Store
	dir  string
	rule string

	mu   sync.Mutex // guards put and errs
	put  map[string]bool
	errs []error
}

func (c *checker) fail(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("storage: check: %s: %s: %w", c.rule, what, err))
		return
	}
	c.errs = append(c.errs, fmt.Errorf("storage: check: %s: %s", c.rule, what))
}

func (c *checker) name(elem string) string { return c.dir + "/" + elem }

// blob makes n bytes that differ by salt, so that no two blobs of the check are alike.
func blob(n int, salt uint64) []byte {
	p := make([]byte, n)
	x := salt*0x9e3779b97f4a7c15 + 1
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x >> 32)
	}
	return p
}

// store puts a blob that must be accepted, and remembers it for clean.
func (c *checker) store(name string, p []byte) bool {
	c.mu.Lock()
	if c.put == nil {
		c.put = make(map[string]bool)
	}
	c.put[name] = true
	c.mu.Unlock()
	if err := c.s.Put(c.ctx, name, p); err != nil {
		c.fail(err, "put %s of %d bytes", name, len(p))
		return false
	}
	return true
}

func (c *checker) sync() {
	if err := c.s.Sync(c.ctx); err != nil {
		c.fail(err, "sync")
	}
}

// same reads name whole and compares.
func (c *checker) same(name string, want []byte) {
	info, err := c.s.Stat(c.ctx, name)
	if err != nil || info.Name != name || info.Size != int64(len(want)) {
		c.fail(err, "stat %s gives %q, %d bytes; want %d bytes", name, info.Name, info.Size, len(want))
		return
	}
	got := make([]byte, len(want))
	n, err := c.s.Get(c.ctx, name, 0, got)
	if err != nil || n != len(want) {
		c.fail(err, "get of all %d bytes of %s gives %d", len(want), name, n)
	} else if !bytes.Equal(got, want) {
		c.fail(nil, "get %s gives other bytes than were put", name)
	}
}

func (c *checker) sizes() {
	for i, size := range []int{0, 1, 511, 65535, 65536, 65537, 1<<20 + 3, 9<<20 + 1} {
		name := c.name(fmt.Sprintf("sizes/%d", size))
		p := blob(size, uint64(i))
		if !c.store(name, p) {
			continue
		}
		c.same(name, p) // readable before Sync
		c.sync()
		c.same(name, p)
	}
}

func (c *checker) ranges() {
	name, p := c.name("ranges"), blob(700_001, 77)
	if !c.store(name, p) {
		return
	}
	size := len(p)
	for _, r := range [][2]int{{0, 1}, {1, 70_000}, {65_535, 2}, {65_536, 65_536}, {size - 1, 1}, {350_000, 100}, {233_333, 200_000}, {0, 0}, {size, 0}} {
		got := make([]byte, r[1])
		n, err := c.s.Get(c.ctx, name, int64(r[0]), got)
		if err != nil || n != r[1] {
			c.fail(err, "get %d bytes at %d of %d gives %d", r[1], r[0], size, n)
		} else if !bytes.Equal(got, p[r[0]:r[0]+r[1]]) {
			c.fail(nil, "get %d bytes at %d gives other bytes than were put", r[1], r[0])
		}
	}
	got := make([]byte, 100)
	if n, err := c.s.Get(c.ctx, name, int64(size-40), got); n != 40 || !errors.Is(err, io.EOF) || !bytes.Equal(got[:40], p[size-40:]) {
		c.fail(nil, "get across the end gives %d bytes and %v; want 40 and io.EOF", n, err)
	}
	for _, off := range []int64{int64(size), int64(size) + 1, 1 << 40} {
		if n, err := c.s.Get(c.ctx, name, off, got); n != 0 || !errors.Is(err, io.EOF) {
			c.fail(nil, "get at %d, past the end, gives %d bytes and %v; want 0 and io.EOF", off, n, err)
		}
	}
	if n, err := c.s.Get(c.ctx, name, -1, got); n != 0 || err == nil || errors.Is(err, io.EOF) {
		c.fail(nil, "get at -1 gives %d bytes and %v; want an error", n, err)
	}
}

func (c *checker) again() {
	for _, size := range []int{0, 1000, 600_000} {
		name, p := c.name(fmt.Sprintf("again/%d", size)), blob(size, 5)
		if !c.store(name, p) {
			continue
		}
		for _, synced := range []bool{false, true} {
			if synced {
				c.sync()
			}
			if err := c.s.Put(c.ctx, name, p); err != nil {
				c.fail(err, "put of the same %d bytes again (synced: %v)", size, synced)
			}
			others := [][]byte{append(bytes.Clone(p), 0)}
			if size > 0 {
				flipped := bytes.Clone(p)
				flipped[size-1] ^= 1
				others = append(others, flipped, p[:size-1])
			}
			for _, q := range others {
				if err := c.s.Put(c.ctx, name, q); !errors.Is(err, ErrExist) {
					c.fail(nil, "put of other content under a taken name (synced: %v) gives %v; want ErrExist", synced, err)
				}
			}
			c.same(name, p)
		}
	}
}

func (c *checker) reuse() {
	for _, size := range []int{5000, 900_000} {
		name, p := c.name(fmt.Sprintf("reuse/%d", size)), blob(size, 9)
		want := bytes.Clone(p)
		if !c.store(name, p) {
			continue
		}
		clear(p)
		c.same(name, want)
		c.sync()
		c.same(name, want)
	}
}

func (c *checker) absent() {
	name := c.name("never/put")
	buf := make([]byte, 10)
	if n, err := c.s.Get(c.ctx, name, 0, buf); n != 0 || !errors.Is(err, ErrNotExist) {
		c.fail(nil, "get of a name never put gives %d bytes and %v; want ErrNotExist", n, err)
	}
	if _, err := c.s.Get(c.ctx, name, 0, nil); !errors.Is(err, ErrNotExist) {
		c.fail(nil, "get of no bytes of a name never put gives %v; want ErrNotExist", err)
	}
	if _, err := c.s.Stat(c.ctx, name); !errors.Is(err, ErrNotExist) {
		c.fail(nil, "stat of a name never put gives %v; want ErrNotExist", err)
	}
	if err := c.s.Delete(c.ctx, name); !errors.Is(err, ErrNotExist) {
		c.fail(nil, "delete of a name never put gives %v; want ErrNotExist", err)
	}
	if !c.store(c.name("folder/blob"), blob(10, 3)) {
		return
	}
	if _, err := c.s.Stat(c.ctx, c.name("folder")); !errors.Is(err, ErrNotExist) {
		c.fail(nil, "stat of a folder of names gives %v; want ErrNotExist", err)
	}
}

func (c *checker) names() {
	long := c.name("long/" + strings.Repeat("a", 100))
	for _, name := range []string{c.name("a-b_c.d/0.9"), c.name(".dot"), c.name("x..y"), c.name("-"), long} {
		p := blob(100, uint64(len(name)))
		if c.store(name, p) {
			c.same(name, p)
		}
	}
	for _, name := range []string{
		"", "/", "/a", "a/", c.name("a//b"), c.name("../x"), c.name("./x"), c.name("."), c.name("Upper"),
		c.name("a b"), c.name("ä"), c.name("a\x00b"), c.name("a\\b"), c.name(strings.Repeat("a", 201)),
	} {
		if err := c.s.Put(c.ctx, name, []byte("x")); err == nil {
			c.fail(nil, "put under the invalid name %q is accepted", name)
		}
		if _, err := c.s.Get(c.ctx, name, 0, make([]byte, 1)); err == nil {
			c.fail(nil, "get of the invalid name %q gives no error", name)
		}
		if _, err := c.s.Stat(c.ctx, name); err == nil {
			c.fail(nil, "stat of the invalid name %q gives no error", name)
		}
		if err := c.s.Delete(c.ctx, name); err == nil {
			c.fail(nil, "delete of the invalid name %q gives no error", name)
		}
	}
}

func (c *checker) collect(prefix string) []Info {
	var got []Info
	for info, err := range c.s.List(c.ctx, prefix) {
		if err != nil {
			c.fail(err, "list %q", prefix)
			break
		}
		got = append(got, info)
	}
	return got
}

func (c *checker) list() {
	// In byte order '-' and '.' sort before '/', so a walk that sorts each folder alone gets these wrong.
	names := []string{"l/a-b", "l/a.b", "l/a/b", "l/a/c/d", "l/a0", "l/b", "l/ba/x", "l/z"}
	want := make([]Info, 0, len(names))
	for i, name := range names {
		if !c.store(c.name(name), blob(i, 1)) {
			return
		}
		want = append(want, Info{c.name(name), int64(i)})
		if i == len(names)/2 {
			c.sync() // half of them synced
		}
	}
	slices.SortFunc(want, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	for _, prefix := range []string{"l/", "l/a", "l/a/", "l/a/b", "l/b", "l/q"} {
		var sub []Info
		for _, info := range want {
			if strings.HasPrefix(info.Name, c.name(prefix)) {
				sub = append(sub, info)
			}
		}
		if got := c.collect(c.name(prefix)); !slices.Equal(got, sub) {
			c.fail(nil, "list %q gives %v; want %v", c.name(prefix), got, sub)
		}
	}
	next, stop := iter.Pull2(c.s.List(c.ctx, c.name("l/")))
	defer stop() // a listing may be left early
	if info, err, ok := next(); !ok || err != nil || info != want[0] {
		c.fail(err, "first of a listing is %v; want %v", info, want[0])
	}
}

func (c *checker) delete() {
	for _, size := range []int{10, 500_000} {
		for _, synced := range []bool{false, true} {
			name, p := c.name(fmt.Sprintf("delete/%d-%v", size, synced)), blob(size, 31)
			if !c.store(name, p) {
				continue
			}
			if synced {
				c.sync()
			}
			if err := c.s.Delete(c.ctx, name); err != nil {
				c.fail(err, "delete %s", name)
				continue
			}
			for range 2 {
				if _, err := c.s.Stat(c.ctx, name); !errors.Is(err, ErrNotExist) {
					c.fail(nil, "stat after delete gives %v; want ErrNotExist", err)
				}
				if err := c.s.Delete(c.ctx, name); !errors.Is(err, ErrNotExist) {
					c.fail(nil, "second delete gives %v; want ErrNotExist", err)
				}
				if got := c.collect(name); len(got) > 0 {
					c.fail(nil, "list shows %v after delete", got)
				}
				c.sync()
			}
			if c.store(name, p) { // the same content may come back
				c.same(name, p)
				c.sync()
				c.same(name, p)
			}
		}
	}
}

func (c *checker) concurrent() {
	var wg sync.WaitGroup
	shared := blob(300_000, 99)
	for g := range 4 {
		wg.Go(func() {
			for i := range 6 {
				name, p := c.name(fmt.Sprintf("many/%d/%d", g, i)), blob(i*61_000, uint64(g*100+i))
				if !c.store(name, p) {
					return
				}
				c.same(name, p)
				if i == 3 {
					c.sync()
				}
				if c.store(c.name("many/shared"), shared) { // all of them at once
					c.same(c.name("many/shared"), shared)
				}
				if i%2 == 1 {
					if err := c.s.Delete(c.ctx, name); err != nil {
						c.fail(err, "delete %s", name)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := c.collect(c.name("many/")); len(got) != 4*3+1 {
		c.fail(nil, "list after concurrent use gives %d blobs; want 13", len(got))
	}
}

func (c *checker) ended() {
	ctx, cancel := context.WithCancel(c.ctx)
	cancel()
	name := c.name("ended")
	c.mu.Lock()
	c.put[name] = true
	c.mu.Unlock()
	err := c.s.Put(ctx, name, blob(400_000, 8))
	if _, serr := c.s.Stat(c.ctx, name); err != nil && !errors.Is(serr, ErrNotExist) {
		c.fail(nil, "put failed with %v, yet stat gives %v; want ErrNotExist", err, serr)
	} else if err == nil && serr != nil {
		c.fail(serr, "put under an ended context returned nil, yet stat")
	}
}

func (c *checker) clean(ctx context.Context) {
	for name := range c.put {
		if err := c.s.Delete(ctx, name); err != nil && !errors.Is(err, ErrNotExist) {
			c.fail(err, "delete %s", name)
		}
	}
	if err := c.s.Sync(ctx); err != nil {
		c.fail(err, "sync")
	}
	for info, err := range c.s.List(ctx, c.dir) {
		if err != nil {
			c.fail(err, "list %s", c.dir)
			return
		}
		c.fail(nil, "%s is left behind", info.Name)
	}
}
