package vdrive

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// Cloud is a simulated remote as a storage.Store. What it stands on is a bucket as clouds offer them: an object is visible
// when all of it has arrived, and durable then; nothing is renamed; a listing comes in pages, in no order, and may be behind;
// every call takes a while. Make one with NewCloud.
type Cloud struct {
	b      *bucket
	mu     sync.Mutex               // guards the rest
	busy   map[string]chan struct{} // names being put or deleted
	recent map[string]sighting      // put or deleted by this Store: a listing may not know
}

// sighting is what this Store last did to a name.
type sighting struct {
	size int64
	gone bool
	at   time.Time
}

// NewCloud returns an empty remote with pages of 100 names, whose listings are up to two seconds behind.
func NewCloud(seed uint64) *Cloud {
	b := &bucket{objects: make(map[string]object), page: 100, lag: 2 * time.Second, order: maphash.MakeSeed(), salt: seed}
	return &Cloud{b: b, busy: make(map[string]chan struct{}), recent: make(map[string]sighting)}
}

// Again is the same remote as another process finds it: it knows nothing of what this one did lately.
func (c *Cloud) Again() *Cloud {
	return &Cloud{b: c.b, busy: make(map[string]chan struct{}), recent: make(map[string]sighting)}
}

// Latency makes every call to the remote take this long.
func (c *Cloud) Latency(d time.Duration) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.latency = d
}

// Offline makes every call fail, or ends that.
func (c *Cloud) Offline(on bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.offline = on
}

// Calls returns how many calls the remote has had.
func (c *Cloud) Calls() int {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.b.calls
}

// lock keeps others from changing a name until the function that it returns is called.
func (c *Cloud) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		c.mu.Lock()
		other, taken := c.busy[name]
		if !taken {
			mine := make(chan struct{})
			c.busy[name] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.busy, name)
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// note remembers what was done to a name for as long as a listing may not show it.
func (c *Cloud) note(name string, s sighting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.at = time.Now()
	c.recent[name] = s
	for old, s := range c.recent {
		if time.Since(s.at) > 2*c.b.lag {
			delete(c.recent, old)
		}
	}
}

// Put implements storage.Store. An upload would replace what is there, so that is looked at first.
func (c *Cloud) Put(ctx context.Context, name string, p []byte) error {
	if !storage.ValidName(name) {
		return fmt.Errorf("vdrive: cloud: put %q: %w", name, fs.ErrInvalid)
	}
	unlock, err := c.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("vdrive: cloud: put %s: %w", name, err)
	}
	defer unlock()
	old, found, err := c.b.download(ctx, name, 0, -1)
	if err != nil {
		return fmt.Errorf("vdrive: cloud: put %s: %w", name, err)
	}
	if found {
		if bytes.Equal(old, p) {
			return nil
		}
		return fmt.Errorf("vdrive: cloud: put %s: %w", name, storage.ErrExist)
	}
	if err := c.b.upload(ctx, name, p); err != nil {
		return fmt.Errorf("vdrive: cloud: put %s: %w", name, err)
	}
	c.note(name, sighting{size: int64(len(p))})
	return nil
}

// Sync implements storage.Store. What was uploaded is durable.
func (c *Cloud) Sync(ctx context.Context) error { return ctx.Err() }

// Get implements storage.Store: one ranged request.
func (c *Cloud) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if !storage.ValidName(name) || off < 0 {
		return 0, fmt.Errorf("vdrive: cloud: get %q at %d: %w", name, off, fs.ErrInvalid)
	}
	data, found, err := c.b.download(ctx, name, off, int64(len(p)))
	switch {
	case err != nil:
		return 0, fmt.Errorf("vdrive: cloud: get %s: %w", name, err)
	case !found:
		return 0, fmt.Errorf("vdrive: cloud: get %s: %w", name, storage.ErrNotExist)
	}
	n := copy(p, data)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stat implements storage.Store.
func (c *Cloud) Stat(ctx context.Context, name string) (storage.Info, error) {
	if !storage.ValidName(name) {
		return storage.Info{}, fmt.Errorf("vdrive: cloud: stat %q: %w", name, fs.ErrInvalid)
	}
	size, found, err := c.b.head(ctx, name)
	if err == nil && !found {
		err = storage.ErrNotExist
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("vdrive: cloud: stat %s: %w", name, err)
	}
	return storage.Info{Name: name, Size: size}, nil
}

// List implements storage.Store. It needs all pages before the first name, since they come in no order, and puts right what
// this Store knows better.
func (c *Cloud) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		found := make(map[string]int64)
		for from := 0; ; {
			page, more, err := c.b.list(ctx, prefix, from)
			if err != nil {
				yield(storage.Info{}, fmt.Errorf("vdrive: cloud: list %s: %w", prefix, err))
				return
			}
			for _, info := range page {
				found[info.Name] = info.Size
			}
			if from = more; more == 0 {
				break
			}
		}
		c.mu.Lock()
		for name, s := range c.recent {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			if delete(found, name); !s.gone {
				found[name] = s.size
			}
		}
		c.mu.Unlock()
		infos := make([]storage.Info, 0, len(found))
		for name, size := range found {
			infos = append(infos, storage.Info{Name: name, Size: size})
		}
		slices.SortFunc(infos, func(a, b storage.Info) int { return cmp.Compare(a.Name, b.Name) })
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete implements storage.Store. Clouds do not say whether there was anything, so that is asked first.
func (c *Cloud) Delete(ctx context.Context, name string) error {
	unlock, err := c.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("vdrive: cloud: delete %s: %w", name, err)
	}
	defer unlock()
	if _, err := c.Stat(ctx, name); err != nil {
		return fmt.Errorf("vdrive: cloud: delete: %w", err)
	}
	if err := c.b.remove(ctx, name); err != nil {
		return fmt.Errorf("vdrive: cloud: delete %s: %w", name, err)
	}
	c.note(name, sighting{gone: true})
	return nil
}

// object is a version of an object, or that it was removed, and when.
type object struct {
	data   []byte
	gone   bool
	at     time.Time
	before *object // what a listing that is behind still sees
}

// bucket is what a remote offers.
type bucket struct {
	mu      sync.Mutex // guards the rest
	objects map[string]object
	page    int           // names
	lag     time.Duration // of listings
	latency time.Duration
	offline bool
	calls   int
	order   maphash.Seed
	salt    uint64
}

// call is one round trip. It returns with the lock held unless it returns an error.
func (b *bucket) call(ctx context.Context) error {
	b.mu.Lock()
	latency := b.latency
	b.calls++
	b.mu.Unlock()
	if latency > 0 {
		t := time.NewTimer(latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	if b.offline {
		b.mu.Unlock()
		return fmt.Errorf("no connection: %w", storage.ErrUnavailable)
	}
	return nil
}

func (b *bucket) upload(ctx context.Context, name string, p []byte) error {
	data := bytes.Clone(p) // as it is sent; nothing is visible before all of it is there
	if err := b.call(ctx); err != nil {
		return err
	}
	defer b.mu.Unlock()
	b.put(name, object{data: data})
	return nil
}

func (b *bucket) remove(ctx context.Context, name string) error {
	if err := b.call(ctx); err != nil {
		return err
	}
	defer b.mu.Unlock()
	b.put(name, object{gone: true})
	return nil
}

func (b *bucket) put(name string, o object) {
	o.at = time.Now()
	if old, ok := b.objects[name]; ok {
		o.before = &old
	}
	b.objects[name] = o
}

// download returns at most n bytes at off; n < 0 is all.
func (b *bucket) download(ctx context.Context, name string, off, n int64) (data []byte, found bool, err error) {
	if err := b.call(ctx); err != nil {
		return nil, false, err
	}
	defer b.mu.Unlock()
	o, ok := b.objects[name]
	if !ok || o.gone {
		return nil, false, nil
	}
	data = o.data[min(off, int64(len(o.data))):]
	if n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return data, true, nil
}

func (b *bucket) head(ctx context.Context, name string) (size int64, found bool, err error) {
	if err := b.call(ctx); err != nil {
		return 0, false, err
	}
	defer b.mu.Unlock()
	o, ok := b.objects[name]
	return int64(len(o.data)), ok && !o.gone, nil
}

// list returns a page of names and where the next begins, 0 if there is none.
func (b *bucket) list(ctx context.Context, prefix string, from int) (page []storage.Info, more int, err error) {
	if err := b.call(ctx); err != nil {
		return nil, 0, err
	}
	defer b.mu.Unlock()
	var all []storage.Info
	for name, o := range b.objects {
		seen := &o
		for seen != nil && time.Since(seen.at) < b.behind(name) {
			seen = seen.before
		}
		if seen != nil && !seen.gone && strings.HasPrefix(name, prefix) {
			all = append(all, storage.Info{Name: name, Size: int64(len(seen.data))})
		}
	}
	slices.SortFunc(all, func(x, y storage.Info) int {
		return cmp.Compare(maphash.String(b.order, x.Name), maphash.String(b.order, y.Name))
	})
	page = all[min(from, len(all)):min(from+b.page, len(all))]
	if from+len(page) < len(all) {
		more = from + len(page)
	}
	return page, more, nil
}

// behind is how long a listing does not see a change of a name: some are seen at once.
func (b *bucket) behind(name string) time.Duration {
	return time.Duration((maphash.String(b.order, name)^b.salt)%3) * b.lag / 2
}
