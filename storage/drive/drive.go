// Package drive makes one mounted drive, that is a folder, a storage.Store.
//
// The folder carries an identity file, a page for whoever finds it, and the blobs: the blob "vault/data/ab/abcd" is
// the file DIR/vault/data/ab/abcd. Everything else in the folder is its owner's and is never touched.
//
// A Put writes a file under .phone-backup-box/pending, beside the blobs and not among them. Sync makes all pending
// files durable, renames them to their names and makes the folders durable. So a name that a power cut leaves holds
// all its bytes, stock restic never meets a half-written file, and cleaning up after a cut reads one small folder.
package drive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"phonebackupbox/storage"
)

// Errors that Create and Open return, wrapped with the folder and what to do about it.
var (
	// ErrNoIdentity: the folder is no drive of a box (yet).
	ErrNoIdentity = errors.New("no drive of a phone backup box")
	// ErrBusy: another process has the drive open for writing.
	ErrBusy = errors.New("in use by another boxd")
	// ErrExists: Create found a drive there already.
	ErrExists = errors.New("already a drive of a phone backup box")
)

// Names in the drive's folder that are ours and no blobs.
const (
	ownDir     = ".phone-backup-box" // lock and pending files
	pendingDir = ownDir + "/pending"
	lockName   = ownDir + "/lock"
)

// Modes. The folder and its page are for anyone who holds the drive. The blobs are sealed, but nobody besides the
// box's user and root needs them, and names and sizes tell something too; restic opens vault/ as the same user.
const (
	modeTop  fs.FileMode = 0o755
	modeDir  fs.FileMode = 0o700
	modeBlob fs.FileMode = 0o600
)

// Options for Open.
type Options struct {
	// ReadOnly opens without a lock and changes nothing. Any number of readers may share a drive with one writer.
	ReadOnly bool
	// Step, if not nil, is asked before each step of a switch that Open finishes; its error ends Open, as a power cut
	// would.
	Step func(what string) error

	format *Format // what to take the file system for; for tests
}

// Drive is one mounted drive. It implements storage.Store and storage.Spacer for names of at least two elements: the
// top of the folder belongs to the owner. Open or Create makes one; Close it.
type Drive struct {
	dir      string
	ident    Identity
	readOnly bool
	// root is the folder as it was when opened: if the drive is pulled and the mount point turns into an empty folder
	// on the card below, writes must fail, not land there.
	root *os.Root
	lock *os.File
	// switching is set on a drive that is opened for reading in the middle of a switch.
	switching bool

	format Format
	whole  *os.File // the folder, open since before the first change: to flush all of a fragile file system

	syncMu sync.Mutex // one Sync at a time

	touchMu sync.Mutex // guards touched
	touched bool       // the list of placing.go is there

	mu      sync.RWMutex // guards what follows, and renames against opening
	pending map[string]pendingFile
	busy    map[string]chan struct{} // names being put or deleted; closed when done
	dirty   map[string]bool          // folders with a change that is not durable
	broken  error                    // set when a flush failed: what was written since may be gone, for good
	serial  int                      // of pending files
}

// pendingFile is a blob that Put wrote and no Sync has made durable.
type pendingFile struct {
	temp string
	size int64
}

// Create makes dir a new, empty drive of the vault with that ID and opens it for writing. It makes dir if there is
// none. It refuses a folder that is a drive already (ErrExists), and one that holds a folder it would write into.
// Errors: also ErrFormat.
func Create(dir, vaultID string) (*Drive, error) {
	if err := os.MkdirAll(dir, modeTop); err != nil {
		return nil, dirError(dir, err)
	}
	if err := CheckFormat(dir); err != nil {
		return nil, err
	}
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	ident, err := create(root, dir, vaultID)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return open(root, dir, ident, Options{})
}

func create(root *os.Root, dir, vaultID string) (Identity, error) {
	if _, err := root.Lstat(identityName); err == nil {
		return Identity{}, fmt.Errorf("drive: %s: %w; use it as it is or choose another folder", dir, ErrExists)
	}
	for _, own := range blobDirs {
		if _, err := root.Lstat(own); err == nil {
			return Identity{}, fmt.Errorf("drive: %s holds something named %s that is not the box's; choose another folder", dir, own)
		}
	}
	ident := newIdentity(vaultID)
	if err := writeIdentity(root, ident); err != nil {
		return Identity{}, dirError(dir, err)
	}
	return ident, nil
}

// Open opens the drive in dir. It refuses a folder without identity (ErrNoIdentity), with a damaged one, and, for
// writing, a drive that another process writes to (ErrBusy). The kernel drops the lock of a process that dies.
func Open(dir string, o Options) (*Drive, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	ident, err := readIdentity(root)
	if next, ok, serr := switching(root); ok || serr != nil {
		ident, err = next, serr
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("drive: %s is %w; check the path, or make it one with vault create or drive add", dir, ErrNoIdentity)
		} else if !errors.Is(err, errIdentity) {
			err = dirError(dir, err)
		} else {
			err = fmt.Errorf("drive: %s: %w", path.Join(dir, identityName), err)
		}
		return nil, errors.Join(err, root.Close())
	}
	return open(root, dir, ident, o)
}

func open(root *os.Root, dir string, ident Identity, o Options) (*Drive, error) {
	d := &Drive{
		dir: dir, ident: ident, root: root, readOnly: o.ReadOnly,
		pending: make(map[string]pendingFile),
		busy:    make(map[string]chan struct{}),
		dirty:   make(map[string]bool),
	}
	err := d.learnFormat(o)
	if err == nil && o.ReadOnly {
		_, d.switching, _ = switching(root) // Open has seen its error
	} else if err == nil {
		err = d.format.advise(d.openForWriting(o.Step))
	}
	if err != nil {
		for _, f := range []*os.File{d.lock, d.whole} {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

// learnFormat finds out what file system the drive is on, from its open folder: the path may lead elsewhere by now.
func (d *Drive) learnFormat(o Options) error {
	var err error
	if d.whole, err = d.root.Open("."); err != nil {
		return dirError(d.dir, err)
	}
	if o.format != nil {
		d.format = *o.format
	} else if d.format, err = formatOfFile(d.whole); err != nil {
		return dirError(d.dir, err)
	}
	return nil
}

func (d *Drive) openForWriting(step func(what string) error) error {
	if err := d.root.MkdirAll(pendingDir, modeDir); err != nil {
		return dirError(d.dir, err)
	}
	lock, err := d.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, modeBlob)
	if err != nil {
		return dirError(d.dir, err)
	}
	d.lock = lock
	if err := lockFile(lock); err != nil {
		return fmt.Errorf("drive: another boxd is using %s: %w (%w)", d.dir, ErrBusy, err)
	}
	if err := d.settle(); err != nil {
		return dirError(d.dir, err)
	}
	if err := d.finishSwitch(step); err != nil {
		return dirError(d.dir, err)
	}
	if d.ident, err = readIdentity(d.root); err != nil { // it may be another one since
		return dirError(d.dir, err)
	}
	left, err := fs.ReadDir(d.root.FS(), pendingDir)
	if err != nil {
		return dirError(d.dir, err)
	}
	for _, e := range left { // of a process that died before its Sync
		if err := d.root.Remove(path.Join(pendingDir, e.Name())); err != nil {
			return dirError(d.dir, err)
		}
	}
	if err := d.prepare(); err != nil {
		return dirError(d.dir, err)
	}
	return nil
}

func openDir(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, dirError(dir, err)
	}
	return root, nil
}

// dirError says in one line what is wrong with a drive's folder and what to do.
func dirError(dir string, err error) error {
	if info, serr := os.Stat(dir); serr == nil && !info.IsDir() {
		return fmt.Errorf("drive: %s is a file; give the folder where the drive is mounted", dir)
	}
	switch classed := classify(err); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("drive: there is no folder %s; is the drive plugged in and mounted? (%w)", dir, storage.ErrUnavailable)
	case errors.Is(classed, storage.ErrReadOnly):
		return fmt.Errorf("drive: %s cannot be written to; check its permissions and its write protection: %w", dir, classed)
	default:
		return fmt.Errorf("drive: %s: %w", dir, classed)
	}
}

// ID returns the drive's UUID.
func (d *Drive) ID() string { return d.ident.Drive }

// Vault returns the UUID of the vault that the drive belongs to.
func (d *Drive) Vault() string { return d.ident.Vault }

// Dir returns the folder that the drive was opened at.
func (d *Drive) Dir() string { return d.dir }

// Close drops what was put and not synced, and lets go of the drive. On a fragile file system it flushes it, too.
func (d *Drive) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, p := range d.pending {
		errs = append(errs, d.root.Remove(p.temp))
	}
	clear(d.pending)
	if d.lock != nil {
		errs = append(errs, d.finish())
	}
	d.broken = fmt.Errorf("drive: %s is closed: %w", d.dir, storage.ErrUnavailable)
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
		d.lock = nil
	}
	if d.whole != nil {
		errs = append(errs, d.whole.Close())
		d.whole = nil
	}
	return errors.Join(append(errs, d.root.Close())...)
}

// reserve is room that large blobs leave free, so that a full drive can still record what is deleted.
func reserve(total int64) int64 { return min(64<<20, total/64) }

// Space tells how much the drive holds; what is kept in reserve does not count as free.
func (d *Drive) Space(ctx context.Context) (storage.Space, error) {
	if err := ctx.Err(); err != nil {
		return storage.Space{}, err
	}
	s, err := d.space()
	if err != nil {
		return storage.Space{}, fmt.Errorf("drive: space of %s: %w", d.dir, classify(err))
	}
	s.Free = max(s.Free-reserve(s.Total), 0)
	return s, nil
}

// checkName refuses names that are no blobs of a drive.
func checkName(op, name string) error {
	top, _, nested := strings.Cut(name, "/")
	if !storage.ValidName(name) || !nested || top == ownDir {
		return fmt.Errorf("drive: %s %q: %w name", op, name, fs.ErrInvalid)
	}
	return nil
}
