package firmware

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing/fstest"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/usbhost"
)

// hub is a bus with ports.
type hub struct {
	arrivals chan usbhost.Phone
	dead     chan error
}

func (h *hub) Accept(ctx context.Context) (usbhost.Phone, error) {
	select {
	case p := <-h.arrivals:
		return p, nil
	case err := <-h.dead:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// handset is a phone that holds files, answers slowly, and can be locked or pulled off its cable. Its content outlives its
// cable: plug gives a new attachment of the same phone.
type handset struct {
	id      usbhost.ID
	perFile time.Duration

	mu     sync.Mutex // guards what follows
	files  map[string]string
	locked bool
	shy    bool           // does not say that it is locked, until it is asked for files
	read   map[string]int // how often each file was read
	broken map[string]bool
}

func newHandset(id usbhost.ID, files ...string) *handset {
	h := &handset{id: id, perFile: time.Second, files: map[string]string{}, read: map[string]int{}, broken: map[string]bool{}}
	for _, f := range files {
		h.files[f] = "content of " + f
	}
	return h
}

func (h *handset) plug() *cable { return &cable{handset: h, gone: make(chan struct{})} }

func (h *handset) setLocked(locked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.locked = locked
}

func (h *handset) add(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files[name] = "content of " + name
}

func (h *handset) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.files))
}

// cable is one attachment of a handset.
type cable struct {
	*handset
	once sync.Once
	gone chan struct{}
	busy sync.Mutex // held by whoever talks to the phone: two at a time is a bug of the box
}

func (c *cable) pull() { c.once.Do(func() { close(c.gone) }) }

func (c *cable) Gone() <-chan struct{} { return c.gone }

func (c *cable) Close() error { c.pull(); return nil }

func (c *cable) talk() func() {
	if !c.busy.TryLock() {
		panic("two goroutines talk to one phone")
	}
	return c.busy.Unlock
}

func (c *cable) Info(ctx context.Context) (usbhost.Info, error) {
	defer c.talk()()
	if err := c.pause(ctx, 10*time.Millisecond); err != nil {
		return usbhost.Info{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return usbhost.Info{ID: c.id, Name: string(c.id), Locked: c.locked && !c.shy, Free: -1, Total: -1}, nil
}

// pause lets time pass on the cable.
func (c *cable) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.gone:
		return fmt.Errorf("cable: %w", usbhost.ErrUnplugged)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cable) Backup(ctx context.Context, into usbhost.Tree, watch usbhost.Watch) (usbhost.Report, error) {
	defer c.talk()()
	var r usbhost.Report
	c.mu.Lock()
	locked := c.locked
	c.mu.Unlock()
	if locked {
		return r, fmt.Errorf("cable: %w", usbhost.ErrLocked)
	}
	names := c.names()
	r.Listed = len(names)
	for i, name := range names {
		c.mu.Lock()
		content, broken := c.files[name], c.broken[name]
		c.mu.Unlock()
		if into.Keep(name, int64(len(content)), time.Unix(1, 0)) == nil {
			r.Kept++
		} else if err := c.pause(ctx, c.perFile); err != nil {
			r.Listed = r.Stored + r.Kept + len(r.Problems)
			return r, err
		} else if broken {
			r.Problems = append(r.Problems, usbhost.Problem{Name: name, Reason: "unreadable", Listed: true})
		} else {
			c.mu.Lock()
			c.handset.read[name]++
			c.mu.Unlock()
			if err := into.Create(name, int64(len(content)), time.Unix(1, 0), bytes.NewReader([]byte(content))); err != nil {
				return r, err // the tree's, so the run cannot go on
			}
			r.Stored++
		}
		if watch != nil {
			watch(usbhost.Progress{Phase: usbhost.Copying, Files: i + 1, FilesTotal: len(names), Bytes: int64(i + 1), BytesTotal: int64(len(names))})
		}
	}
	return r, nil
}

func (c *cable) Restore(ctx context.Context, from fs.FS, _ usbhost.Watch) (usbhost.Report, error) {
	defer c.talk()()
	var r usbhost.Report
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		r.Listed++
		b, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		c.mu.Lock()
		_, there := c.files[name]
		c.mu.Unlock()
		if there {
			r.Kept++
			return nil
		}
		if err := c.pause(ctx, c.perFile); err != nil {
			r.Listed--
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.files[name] = string(b)
		r.Stored++
		return nil
	})
	return r, err
}

// attic is a vault in memory, with drives that come and go and rot when told.
type attic struct {
	mu      sync.Mutex // guards what follows
	health  Health
	all     []Backup // newest first
	content map[string]map[string]string
	rot     bool // what is stored next is not what was given
	full    bool
	resume  map[string]string // stored by a run that died with its box
	writers int
	heals   int
}

func newAttic() *attic { return &attic{health: well(), content: map[string]map[string]string{}} }

func (a *attic) set(f func(*attic)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

func (a *attic) newest(id usbhost.ID) (Backup, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.all {
		if b.Phone == id {
			return b, true
		}
	}
	return Backup{}, false
}

func (a *attic) Begin(_ context.Context, phone usbhost.Info) (Draft, error) {
	d := &draft{attic: a, phone: phone, now: map[string]string{}}
	if b, ok := a.newest(phone.ID); ok {
		maps.Copy(d.now, a.content[b.ID])
	}
	maps.Copy(d.now, a.resume)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writers++; a.writers > 1 {
		panic("two writers in one vault")
	}
	return d, nil
}

func (a *attic) Latest(_ context.Context, phone usbhost.ID) (fs.FS, Backup, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, complete := range []bool{true, false} {
		for _, b := range a.all {
			if b.Phone == phone && (b.Complete || !complete) {
				m := fstest.MapFS{}
				for name, content := range a.content[b.ID] {
					m[name] = &fstest.MapFile{Data: []byte(content)}
				}
				return m, b, nil
			}
		}
	}
	return nil, Backup{}, fs.ErrNotExist
}

func (a *attic) History(context.Context) ([]Backup, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all), nil
}

func (a *attic) Health(context.Context) (Health, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.health
	h.Drives = slices.Clone(h.Drives)
	return h, nil
}

// Heal takes ten seconds.
func (a *attic) Heal(ctx context.Context, watch func(done, total int64)) (Health, error) {
	for i := range int64(10) {
		watch(i, 10)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return Health{}, ctx.Err()
		}
	}
	a.set(func(a *attic) { a.health.Now, a.health.Unhealed = a.health.Want, 0; a.heals++ })
	return a.Health(ctx)
}

// draft is a snapshot being written to an attic.
type draft struct {
	attic  *attic
	phone  usbhost.Info
	mu     sync.Mutex // guards what follows
	now    map[string]string
	stored map[string]string // given in this run
	id     string
}

func (d *draft) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (d *draft) Create(name string, size int64, _ time.Time, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(b)) != size {
		return io.ErrUnexpectedEOF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stored == nil {
		d.stored = map[string]string{}
	}
	content := string(b)
	d.stored[name] = content
	d.attic.set(func(a *attic) {
		if a.rot {
			content = "rotten"
		}
		if a.full {
			err = fmt.Errorf("attic: %w", storage.ErrFull)
		}
	})
	d.now[name] = content
	return err
}

func (d *draft) Keep(name string, size int64, _ time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if content, ok := d.now[name]; !ok || int64(len(content)) != size {
		return fs.ErrNotExist
	}
	return nil
}

func (d *draft) Mkdir(string, time.Time) error { return nil }

func (d *draft) Rename(string, string) error { return fs.ErrNotExist }

func (d *draft) Remove(string) error { return fs.ErrNotExist }

func (d *draft) Commit(_ context.Context, _ usbhost.Report, complete bool) (Backup, error) {
	d.attic.mu.Lock()
	defer d.attic.mu.Unlock()
	gen := uint64(len(d.attic.all) + 1)
	b := Backup{ID: fmt.Sprintf("s%d", gen), Phone: d.phone.ID, Name: d.phone.Name, Generation: gen, Time: time.Now(), Files: len(d.now), Complete: complete}
	d.id = b.ID
	d.attic.all = slices.Insert(d.attic.all, 0, b)
	d.attic.content[b.ID] = d.now
	return b, nil
}

func (d *draft) Verify(ctx context.Context, watch func(done, total int64)) error {
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	d.attic.mu.Lock()
	defer d.attic.mu.Unlock()
	for name, want := range d.stored {
		if d.attic.content[d.id][name] != want {
			return fmt.Errorf("attic: %s: %w", name, storage.ErrCorrupt)
		}
	}
	watch(1, 1)
	return nil
}

func (d *draft) Close() error {
	d.attic.set(func(a *attic) { a.writers-- })
	return nil
}

// book is a roster on paper.
type book struct {
	mu  sync.Mutex // guards all
	all []Enrolment
}

func (b *book) Enrolled(context.Context) ([]Enrolment, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all), nil
}

func (b *book) Enrol(_ context.Context, e Enrolment) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, e)
	return nil
}

func (b *book) Forget(_ context.Context, id usbhost.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = slices.DeleteFunc(b.all, func(e Enrolment) bool { return e.ID == id })
	return nil
}

// shed is where drives are adopted and ejected.
type shed struct {
	attic   *attic
	ejected bool
}

func (s *shed) Adopt(_ context.Context, id string) error {
	s.attic.set(func(a *attic) {
		for i, d := range a.health.Drives {
			if d.ID == id {
				a.health.Drives = slices.Clone(a.health.Drives)
				a.health.Drives[i].State = DriveOK
				a.health.Healable = true
			}
		}
	})
	return nil
}

func (s *shed) WordsOnPaper(context.Context) error { return nil }

func (s *shed) KeyStick(_ context.Context, id string) error {
	s.attic.set(func(a *attic) {
		a.health.WordsIn = false
		a.health.Drives = slices.DeleteFunc(slices.Clone(a.health.Drives), func(d Drive) bool { return d.ID == id })
	})
	return nil
}

func (s *shed) Eject(context.Context) error { s.ejected = true; return nil }
