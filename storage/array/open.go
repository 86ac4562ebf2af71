package array

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

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
	// manyBlobs is from how many on the ledger takes so much memory that they are striped one at a time.
	manyBlobs = 100_000
)

// Array is a storage.Store over several. Create or Open makes one; Sync and then Close it. One process at a time may
// write; drive.Open sees to that.
type Array struct {
	log     *slog.Logger
	writer  string
	coders  *coders
	cache   *lru[blockKey]
	tcache  *lru[tableKey]
	encode  *semaphore.Weighted // of encoders: large blobs being striped
	scratch buffers             // parity shards on their way to the drives
	pieces  buffers             // blocks on their way to a reader
	reads   sync.WaitGroup      // of drives that stalled, and were not waited for

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
func (a *Array) register(m *member) *pendingRecord {
	a.led.drive(m.ID)
	return a.setDrive(m.ID, driveState{label: m.Label})
}

// setDrive changes what the ledger says of a drive, once the record that it returns is committed. The caller holds mu, or is
// alone.
func (a *Array) setDrive(id string, d driveState) *pendingRecord {
	a.led.drives[id] = d
	r := &pendingRecord{kind: driveRecord, id: id, drive: d}
	a.pending = append(a.pending, r)
	return r
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
		encode:   semaphore.NewWeighted(encoders),
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
