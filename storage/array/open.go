package array

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"phonebackupbox/storage"
)

// errName is what a name that an array cannot keep gets.
var errName = fs.ErrInvalid

const (
	// openTimeout bounds each operation on a drive while the ledger is read. A sleeping disk needs up to 15 s to spin
	// up.
	openTimeout = 30 * time.Second
	// encoders is how many large blobs are striped at once. Each holds its parity, at most m/k of it, in memory.
	encoders = 2
)

// Array is a storage.Store over several. Create or Open makes one; Sync and then Close it. One process at a time may
// write; drive.Open sees to that.
type Array struct {
	log     *slog.Logger
	writer  string
	coders  *coders
	cache   *lru[blockKey]
	tcache  *lru[tableKey]
	encode  chan struct{}  // holds a token for each blob being striped
	scratch buffers        // parity shards on their way to the drives
	pieces  buffers        // blocks on their way to a reader
	reads   sync.WaitGroup // of drives that stalled, and were not waited for

	// change is held for reading by everything that puts or deletes, for writing by what adds and removes drives.
	change sync.RWMutex
	commit sync.Mutex // one Sync at a time
	proved bool       // guarded by commit: see prove
	names  nameLocks

	mu       sync.RWMutex // guards what follows
	members  []*member
	twins    []Member
	led      *ledger
	session  [16]byte
	pending  []*pendingRecord
	held     map[uint32]*pendingRecord // pending facts by their entry
	removals map[holder]string         // files to delete once the next Sync has committed, and their blobs
	damage   map[holder]string         // known damage: what is wrong
	broken   map[string]bool           // blobs that could not be read although no drive was away
	draining map[string]bool
	turn     int
	fold     int   // segments between checkpoints
	room     int64 // in a checkpoint, bytes
	small    int64 // below which a segment's contents move into the next checkpoint, bytes
	stored   int64 // bytes of blobs committed since the ledger was last written as a whole
}

// member is a drive that is present.
type member struct {
	Member  // its Store is the guard
	guard   *guard
	log     *slog.Logger
	down    atomic.Pointer[error] // a write failed, or it cannot be written: only read
	suspect atomic.Int64          // Unix nanoseconds until which reads avoid it, because it stalled
}

func (m *member) label() string { return cmp.Or(m.Label, m.ID) }

// fail takes the member out of use for writing.
func (m *member) fail(err error) {
	if m.down.CompareAndSwap(nil, &err) {
		m.log.Warn("drive fails", "drive", m.label(), "err", err)
	}
}

func (m *member) up() bool { return m.down.Load() == nil }

// stall is for how long a drive that stalled is read last.
const suspectFor = 30 * time.Second

func (m *member) stalled() {
	m.suspect.Store(time.Now().Add(suspectFor).UnixNano())
	m.log.Warn("drive stalls", "drive", m.label())
}

func (m *member) isSuspect() bool { return time.Now().UnixNano() < m.suspect.Load() }

// Create makes a new array of members that hold none, and syncs it.
func Create(ctx context.Context, members []Member, o Options) (*Array, error) {
	a, err := newArray(members, o)
	if err != nil {
		return nil, err
	}
	if o.Survive < 0 || o.Survive > MaxSurvive {
		return nil, fmt.Errorf("array: create: cannot survive the loss of %d drives; choose 0 to %d", o.Survive, MaxSurvive)
	}
	if len(a.twins) > 0 || len(a.members) == 0 {
		return nil, fmt.Errorf("array: create: needs drives, each with a UUID of its own")
	}
	for _, m := range a.members {
		found, err := listLedger(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("array: create: drive %s: %w", m.label(), err)
		}
		if len(found) > 0 {
			return nil, fmt.Errorf("array: create: drive %s: %w", m.label(), ErrForeign)
		}
	}
	a.led = &ledger{
		tables: newTables(), view: newView(),
		files: make(map[string]*ledgerFile), covers: make(map[[16]byte]uint64),
	}
	rand.Read(a.led.array[:])
	a.led.survive = o.Survive
	a.pending = append(a.pending, &pendingRecord{kind: surviveRecord, survive: o.Survive})
	for _, m := range a.members {
		a.register(m)
	}
	if err := a.Sync(ctx); err != nil {
		return nil, fmt.Errorf("array: create: %w", err)
	}
	for _, m := range a.members {
		if err := m.down.Load(); err != nil {
			return nil, fmt.Errorf("array: create: drive %s: %w", m.label(), *err)
		}
	}
	return a, nil
}

// register adds a drive to the ledger. The caller holds mu, or is alone.
func (a *Array) register(m *member) {
	a.led.drive(m.ID)
	a.setDrive(m.ID, driveState{label: m.Label})
}

// setDrive changes what the ledger says of a drive. The caller holds mu, or is alone.
func (a *Array) setDrive(id string, d driveState) {
	a.led.drives[id] = d
	a.pending = append(a.pending, &pendingRecord{kind: driveRecord, id: id, drive: d})
}

// Open opens the array that members belong to, whatever is left of it. It reads ledgers, never data. Members that do
// not belong to it are left alone, and Health shows them; two with one UUID are both refused. Known drives that are
// not among the members are away.
func Open(ctx context.Context, members []Member, o Options) (*Array, error) {
	a, err := newArray(members, o)
	if err != nil {
		return nil, err
	}
	if len(a.members) == 0 {
		return nil, fmt.Errorf("array: open: no drive to open (%d refused, since they share a UUID): %w", len(a.twins), storage.ErrUnavailable)
	}
	if a.led, err = a.loadLedger(ctx, a.members); err != nil {
		return nil, err
	}
	return a, nil
}

func newArray(members []Member, o Options) (*Array, error) {
	a := &Array{
		log:      o.Log,
		writer:   o.Writer,
		coders:   newCoders(),
		cache:    newLRU[blockKey](cachedBlocks),
		scratch:  make(buffers, 2),
		pieces:   make(buffers, 8),
		tcache:   newLRU[tableKey](cachedTables),
		encode:   make(chan struct{}, encoders),
		names:    nameLocks{busy: make(map[string]chan struct{})},
		held:     make(map[uint32]*pendingRecord),
		removals: make(map[holder]string),
		damage:   make(map[holder]string),
		broken:   make(map[string]bool),
		draining: make(map[string]bool),
		fold:     128,
		room:     foldBytes,
		small:    smallSegment,
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.writer = a.writer[:min(len(a.writer), maxText)]
	rand.Read(a.session[:]) // never fails (crypto/rand)
	for i, m := range members {
		if m.ID == "" || len(m.ID) > maxText || len(m.Label) > maxText || m.Store == nil {
			return nil, fmt.Errorf("array: drive %q: needs an ID and a store, and at most %d bytes of ID and label", m.Label, maxText)
		}
		if slices.ContainsFunc(members, func(o Member) bool { return o.ID == m.ID && o.Store != members[i].Store }) {
			a.log.Warn("two drives with one UUID: neither is used", "drive", m.Label, "uuid", m.ID)
			a.twins = append(a.twins, m)
			continue
		}
		a.members = append(a.members, a.newMember(m))
	}
	return a, nil
}

// member returns the drive with a number if it is present and counts. The caller holds mu.
func (a *Array) member(no driveNo) *member {
	if no == nowhere {
		return nil
	}
	id := a.led.driveIDs[no]
	if d, ok := a.led.drives[id]; !ok || d.removed {
		return nil
	}
	for _, m := range a.members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// known reports whether a drive counts as holding what the ledger says it does. The caller holds mu.
func (a *Array) known(no driveNo) bool {
	if no == nowhere {
		return false
	}
	id := a.led.driveIDs[no]
	d, ok := a.led.drives[id]
	return ok && !d.removed && !a.draining[id]
}

// writers returns the members that may be written. The caller holds mu.
func (a *Array) writers() []*member {
	var ms []*member
	for _, m := range a.members {
		if d, ok := a.led.drives[m.ID]; ok && !d.removed && m.up() {
			ms = append(ms, m)
		}
	}
	return ms
}

// fact is a blob's entry spelled out, good without the lock.
type fact struct {
	name string
	shape
	place  placement
	files  []holder // by shard, or copies; the member is nil where the drive is not present
	sides  []holder // their side parity, on the same drives; none if there is none
	source string   // segment that holds the checksums
	off    uint32
	sum    uint32
	table  []byte // the checksums, while they are pending
	counts int    // drives that hold it, present or away
}

// facts returns what is known of a blob, best readable first; none if it does not exist.
func (a *Array) facts(name string) []fact {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var fs []fact
	for i := a.led.idx.get(name); i != 0; i = a.led.idx.entries[i].next {
		fs = append(fs, a.fact(name, i))
	}
	slices.SortStableFunc(fs, func(x, y fact) int { return cmp.Compare(y.present()-y.k, x.present()-x.k) })
	return fs
}

// fact spells entry i out. The caller holds mu.
func (a *Array) fact(name string, i uint32) fact {
	e := a.led.idx.entries[i]
	f := fact{
		name: name, shape: a.led.shapeOf(e), place: a.led.places[e.place],
		source: a.led.sources[e.src], off: e.off, sum: e.sum,
	}
	if r := a.held[i]; r != nil {
		f.table = r.tableOf(i)
	}
	for i, no := range f.place.holders {
		f.files = append(f.files, holder{a.member(no), f.path(name, i)})
		if f.shape.side != noSide {
			f.sides = append(f.sides, holder{a.member(no), f.sidePath(name, i)})
		}
		if a.known(no) {
			f.counts++
		}
	}
	return f
}

// blobFile is one of the files that a blob is made of.
type blobFile struct {
	i    int  // of the fact's files
	side bool // its side parity
	h    holder
}

// all lists the files of a blob, shards or copies first, those of drives that are not present too.
func (f fact) all() []blobFile {
	var all []blobFile
	for i, h := range f.files {
		all = append(all, blobFile{i, false, h})
	}
	for i, h := range f.sides {
		all = append(all, blobFile{i, true, h})
	}
	return all
}

// shardOf is the shard that file i holds: all copies hold shard 0.
func (s shape) shardOf(i int) int {
	if s.k == 1 {
		return 0
	}
	return i
}

// fileLen is the length of a file, in bytes.
func (s shape) fileLen(b blobFile) int64 {
	if b.side {
		return s.sectors(s.shardOf(b.i)).parityLen()
	}
	return s.shardLen(s.shardOf(b.i))
}

// present counts the files whose drives are.
func (f fact) present() int {
	n := 0
	for _, h := range f.files {
		if h.m != nil {
			n++
		}
	}
	return n
}

// Stat implements storage.Store. It reads nothing. ErrUnavailable: too many drives are away to read the blob; ErrCorrupt: too
// much is known to be damaged or lost. Both come with the blob's size.
func (a *Array) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := cmp.Or(ctx.Err(), checkName("stat", name)); err != nil {
		return storage.Info{}, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	i := a.led.idx.get(name)
	if i == 0 {
		return storage.Info{}, fmt.Errorf("array: stat %s: %w", name, a.unknown())
	}
	info := storage.Info{Name: name, Size: int64(a.led.idx.entries[i].size)}
	if err := a.standing(name, i); err != nil {
		return info, fmt.Errorf("array: stat %s: %w", name, err)
	}
	return info, nil
}

// standing tells why a blob cannot be read now, by the ledger and by what reads found. The caller holds mu.
func (a *Array) standing(name string, i uint32) error {
	if a.broken[name] {
		return storage.ErrCorrupt
	}
	err := storage.ErrCorrupt
	for ; i != 0; i = a.led.idx.entries[i].next {
		p := a.led.places[a.led.idx.entries[i].place]
		if p.spare(func(no driveNo) bool { return a.member(no) != nil }) >= 0 {
			return nil
		}
		if p.spare(func(no driveNo) bool { return no != nowhere && !a.led.drives[a.led.driveIDs[no]].removed }) >= 0 {
			err = storage.ErrUnavailable
		}
	}
	return err
}

// unknown is the error for a name that the ledger does not have. The caller holds mu.
func (a *Array) unknown() error {
	if a.led.incomplete {
		return fmt.Errorf("the ledger is damaged: %w", storage.ErrUnavailable)
	}
	return storage.ErrNotExist
}

// List implements storage.Store. It reads nothing.
func (a *Array) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		a.mu.RLock()
		names := a.led.idx.list(prefix)
		incomplete := a.led.incomplete
		a.mu.RUnlock()
		for name := range names {
			if err := ctx.Err(); err != nil {
				yield(storage.Info{}, err)
				return
			}
			a.mu.RLock()
			i := a.led.idx.get(name)
			info := storage.Info{Name: name, Size: int64(a.led.idx.entries[i].size)}
			a.mu.RUnlock()
			if i != 0 && !yield(info, nil) { // 0: deleted meanwhile
				return
			}
		}
		if incomplete {
			yield(storage.Info{}, fmt.Errorf("array: list %s: the ledger is damaged: %w", prefix, storage.ErrUnavailable))
		}
	}
}

// nameLocks serialises what changes one blob.
type nameLocks struct {
	mu   sync.Mutex // guards busy
	busy map[string]chan struct{}
}

// acquire waits until nobody else changes name.
func (n *nameLocks) acquire(ctx context.Context, name string) error {
	name = strings.Clone(name)
	for {
		n.mu.Lock()
		other, taken := n.busy[name]
		if !taken {
			n.busy[name] = make(chan struct{})
			n.mu.Unlock()
			return nil
		}
		n.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *nameLocks) release(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.busy[name])
	delete(n.busy, name)
}
