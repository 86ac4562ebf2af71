package attach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// DefaultDir is where drives are mounted on the box, each in a folder of its own.
const DefaultDir = "/mnt"

// Drive is a disk that is plugged in, as far as the box can use it.
type Drive struct {
	N        int    // numbers arrivals; a disk that was pulled out and comes back has another
	Dir      string // where it is mounted, the same each time; "" if it is not
	Name     string // what people may know it by: its label, or maker and model
	Device   string // such as "/dev/sda1"
	Type     string // of the file system, as people call it, such as "exFAT"; "" if there is none that is known
	Size     int64  // bytes
	Writable bool   // it was checked, and is mounted for writing
	Problem  error  // why it is not mounted, or cannot be written, in words for people; nil if all is well
}

// ErrGone: no drive is mounted there any more.
var ErrGone = errors.New("the drive is not plugged in any more")

// Options for New.
type Options struct {
	Dir string // the folder that drives are mounted in, absolute; "" for DefaultDir. A file system in memory is mounted there
	// Ours reports whether what is mounted at dir has to do with a box: of a disk's partitions, that one is the drive.
	// It may be nil: then it is the largest.
	Ours func(dir string) bool
	Log  *slog.Logger // nil: no log
}

// system is what Mounts needs of the machine.
type system interface {
	disks() ([]disk, error)
	probe(device string) (superblock, error)
	check(ctx context.Context, device string, s superblock) error
	mount(device, dir string, s superblock, write bool) error
	unmount(dir string, gone bool) error // gone: of a disk that was pulled out, whoever has files open there
}

// Mounts is what is plugged in and mounted. Open makes it; Close it.
type Mounts struct {
	dir     string
	sys     system
	ours    func(dir string) bool
	log     *slog.Logger
	changed chan struct{}
	events  events

	work sync.Mutex // held while something is mounted or checked; guards arrived, count and failed

	arrived map[string]*arrival // by disk.key
	count   int                 // of arrivals
	failed  map[string]int      // how often a disk could not be read, by disk.key

	mu     sync.Mutex // guards drives
	drives []Drive
}

// arrival is a disk while it is plugged in.
type arrival struct {
	disk   disk
	super  superblock
	device string
	drive  Drive
	stuck  bool // a check could not mend it; that is not tried again
}

func newMounts(o Options, sys system) *Mounts {
	m := &Mounts{dir: o.Dir, sys: sys, ours: o.Ours, log: o.Log, changed: make(chan struct{}, 1), arrived: map[string]*arrival{}, failed: map[string]int{}}
	if m.dir == "" {
		m.dir = DefaultDir
	}
	if m.ours == nil {
		m.ours = func(string) bool { return false }
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m
}

// Drives are those that are plugged in now, in order of arrival.
func (m *Mounts) Drives() []Drive {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.drives)
}

// Changed holds a value when Drives has changed since the last was taken out. It is for one reader.
func (m *Mounts) Changed() <-chan struct{} { return m.changed }

// readAgain is how long a disk that could not be read is left alone, and readTries how often it is tried: a disk that is
// just starting gives errors.
const (
	readAgain = time.Second
	readTries = 10
)

// Watch follows what is plugged in and pulled out until ctx ends, or no more can be learned of it, which is an error.
func (m *Mounts) Watch(ctx context.Context) error {
	told := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	wg.Go(func() { told <- m.events.listen(ctx, changed) })
	for {
		var again <-chan time.Time
		if retry, err := m.update(); err != nil {
			return err
		} else if retry {
			again = time.After(readAgain)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-told: // nil only at the end of ctx
			return errors.Join(err, ctx.Err())
		case <-changed:
		case <-again:
		}
	}
}

// update compares what is plugged in with what was. retry says that a disk could not be read yet.
func (m *Mounts) update() (retry bool, err error) {
	m.work.Lock()
	defer m.work.Unlock()
	all, err := m.sys.disks()
	if err != nil {
		return false, err
	}
	here := make(map[string]bool)
	for _, d := range all {
		here[d.key] = true
	}
	for key, a := range m.arrived {
		if !here[key] {
			m.leave(a)
			delete(m.arrived, key)
		}
	}
	for key := range m.failed {
		if !here[key] {
			delete(m.failed, key)
		}
	}
	for _, d := range all {
		if m.arrived[d.key] != nil {
			continue
		}
		if a := m.arrive(d); a != nil {
			m.count++
			a.drive.N = m.count
			m.arrived[d.key] = a
		} else {
			retry = true
		}
	}
	m.publish()
	return retry, nil
}

// leave lets go of a disk that is gone.
func (m *Mounts) leave(a *arrival) {
	m.log.Info("drive gone", "device", a.device, "n", a.drive.N)
	if a.drive.Dir == "" {
		return
	}
	if err := m.sys.unmount(a.drive.Dir, true); err != nil {
		m.log.Warn("drive: detach", "device", a.device, "err", err)
	}
}

// publish makes known what has changed. The caller holds work.
func (m *Mounts) publish() {
	var now []Drive
	for _, a := range m.arrived {
		now = append(now, a.drive)
	}
	slices.SortFunc(now, func(x, y Drive) int { return x.N - y.N })
	m.mu.Lock()
	same := slices.Equal(m.drives, now)
	m.drives = now
	m.mu.Unlock()
	if same {
		return
	}
	select {
	case m.changed <- struct{}{}:
	default: // one is waiting to be read, and stands for both
	}
}

// volume is a partition with what is on it.
type volume struct {
	part
	super superblock
}

// arrive finds out what is on a disk and mounts it for reading. nil: the disk does not answer yet.
func (m *Mounts) arrive(d disk) *arrival {
	var all []volume
	for _, p := range d.Parts {
		s, err := m.sys.probe("/dev/" + p.Name)
		if err != nil {
			if m.failed[d.key]++; m.failed[d.key] < readTries {
				return nil
			}
			m.log.Warn("drive: cannot be read", "device", p.Name, "err", err)
			return m.refused(d, volume{part: p}, "cannot be read; try another port, cable or drive")
		}
		all = append(all, volume{p, s})
	}
	// The card of another box has its key on it, and such a system's card is no place for backups: nothing of it is mounted.
	if i := slices.IndexFunc(all, func(v volume) bool { return v.super.Name == squashfs }); i >= 0 && len(all) > 1 {
		return m.refused(d, all[i], "is the card that a box or another small computer starts from; it is left as it is")
	}
	// A disk's own table says nothing of what its parts are worth: the largest that holds a file system is the drive, so that
	// what a computer puts beside it for itself is never taken for one. What a box made goes before it.
	slices.SortStableFunc(all, func(x, y volume) int {
		if kx, ky := x.super.Name != "", y.super.Name != ""; kx != ky {
			if kx {
				return -1
			}
			return 1
		}
		return compareSize(y, x)
	})
	if a := m.oneOfOurs(d, all); a != nil {
		return a
	}
	best := all[0]
	switch {
	case best.super.Name == "":
		return m.refused(d, best, "has no file system that this box knows"+reformat)
	case best.super.Type == "":
		return m.refused(d, best, "is formatted "+best.super.Name+", "+best.super.Use+reformat)
	}
	a, err := m.show(d, best)
	if err != nil {
		m.log.Warn("drive: mount", "device", a.device, "type", best.super.Type, "err", err)
		return m.refused(d, best, "is formatted "+best.super.Name+" and cannot be mounted; have a computer check or format it")
	}
	return a
}

func compareSize(x, y volume) int {
	switch {
	case x.Size < y.Size:
		return -1
	case x.Size > y.Size:
		return 1
	}
	return 0
}

const reformat = "; format it as exFAT on a computer (this erases it), or use another drive"

// oneOfOurs mounts the first volume that has to do with a box, if there are several.
func (m *Mounts) oneOfOurs(d disk, all []volume) *arrival {
	if len(all) < 2 {
		return nil
	}
	for _, v := range all {
		if v.super.Type == "" {
			continue
		}
		a, err := m.show(d, v)
		if err != nil {
			continue
		}
		if m.ours(a.drive.Dir) {
			return a
		}
		if err := m.sys.unmount(a.drive.Dir, false); err != nil {
			m.log.Warn("drive: unmount", "device", a.device, "err", err)
			return a // what is mounted stays that disk's drive
		}
	}
	return nil
}

// show mounts a volume for reading.
func (m *Mounts) show(d disk, v volume) (*arrival, error) {
	a := &arrival{disk: d, super: v.super, device: "/dev/" + v.Name, drive: Drive{Device: "/dev/" + v.Name, Type: v.super.Name, Size: v.Size}}
	a.drive.Name, a.drive.Dir = nameOf(d, v), m.free(folderName(d, v.super))
	err := m.sys.mount(a.device, a.drive.Dir, v.super, false)
	if err == nil {
		m.log.Info("drive", "device", a.device, "type", v.super.Type, "dirty", v.super.Dirty)
	}
	return a, err
}

func nameOf(d disk, v volume) string {
	for _, name := range []string{v.super.Label, d.Model, v.super.Name, d.Name} {
		if name != "" {
			return name
		}
	}
	return "drive"
}

// free is a folder for a drive called so: clones of a disk have the same number.
func (m *Mounts) free(name string) string {
	for n := 1; ; n++ {
		dir := filepath.Join(m.dir, name)
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", dir, n)
		}
		taken := false
		for _, a := range m.arrived {
			taken = taken || a.drive.Dir == dir
		}
		if !taken {
			return dir
		}
	}
}

// refused is a disk that is not mounted, and why.
func (m *Mounts) refused(d disk, v volume, why string) *arrival {
	a := &arrival{disk: d, super: v.super, device: "/dev/" + v.Name}
	a.drive = Drive{Name: nameOf(d, v), Device: a.device, Type: v.super.Name, Size: v.Size, Problem: errors.New(why)}
	m.log.Info("drive not used", "device", a.device, "type", v.super.Name, "why", why)
	return a
}

// Write makes the drive that is mounted at dir writable, if it is not: it is unmounted, checked, mended where it needs that,
// and mounted anew. Whatever the error, it is mounted for reading still, unless it is gone (ErrGone). A drive that could not
// be mended or written is not tried again while it is plugged in, and its Problem says why; the error is storage.ErrReadOnly.
func (m *Mounts) Write(ctx context.Context, dir string) error {
	m.work.Lock()
	defer m.work.Unlock()
	a := m.at(dir)
	switch {
	case a == nil:
		return fmt.Errorf("attach: %s: %w", dir, ErrGone)
	case a.drive.Writable:
		return nil
	case a.stuck:
		return fmt.Errorf("attach: %s %w: %w", dir, a.drive.Problem, storage.ErrReadOnly)
	}
	defer m.publish()
	if err := m.sys.unmount(dir, false); err != nil {
		return fmt.Errorf("attach: unmount %s: %w", dir, err)
	}
	why, err := m.prepare(ctx, a)
	if err == nil {
		a.drive.Writable, a.drive.Problem = true, nil
		m.log.Info("drive is writable", "device", a.device, "was_dirty", a.super.Dirty)
		return nil
	}
	m.log.Warn("drive stays read-only", "device", a.device, "why", why, "err", err)
	if merr := m.sys.mount(a.device, dir, a.super, false); merr != nil {
		m.log.Warn("drive: mount", "device", a.device, "err", merr)
		a.drive.Dir = ""
		err = errors.Join(err, merr)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.stuck, a.drive.Problem = true, errors.New(why)
	return fmt.Errorf("attach: %s %s: %w: %w", dir, why, storage.ErrReadOnly, err)
}

// Rest makes the drive at dir read-only again, flushed: it may be pulled out at any time. One that is so already stays as it is.
func (m *Mounts) Rest(dir string) error {
	m.work.Lock()
	defer m.work.Unlock()
	a := m.at(dir)
	switch {
	case a == nil:
		return fmt.Errorf("attach: %s: %w", dir, ErrGone)
	case !a.drive.Writable:
		return nil
	}
	defer m.publish()
	if err := m.sys.unmount(dir, false); err != nil {
		return fmt.Errorf("attach: unmount %s: %w", dir, err)
	}
	a.drive.Writable = false
	if err := m.sys.mount(a.device, dir, a.super, false); err != nil {
		a.drive.Dir, a.drive.Problem = "", errors.New("cannot be mounted any more; unplug it and plug it in again")
		return fmt.Errorf("attach: mount %s: %w", a.device, err)
	}
	return nil
}

// prepare checks a drive that is not mounted, and mounts it for writing; why is what went wrong, for people.
func (m *Mounts) prepare(ctx context.Context, a *arrival) (why string, err error) {
	m.log.Info("drive is checked", "device", a.device, "dirty", a.super.Dirty)
	if err := m.sys.check(ctx, a.device, a.super); errors.Is(err, errNoChecker) {
		return "was not unmounted, and this box has no program to check it; have a computer check it", err
	} else if err != nil {
		return "is damaged, and a check could not mend it; have a computer check it, or replace it", err
	}
	if err := m.sys.mount(a.device, a.drive.Dir, a.super, true); errors.Is(err, errProtected) {
		return "is write-protected; look for its switch", err
	} else if err != nil {
		return "cannot be mounted for writing; have a computer check it, or replace it", err
	}
	return "", nil
}

func (m *Mounts) at(dir string) *arrival {
	for _, a := range m.arrived {
		if a.drive.Dir == dir && dir != "" {
			return a
		}
	}
	return nil
}

// errProtected: the disk itself refuses to be written.
var errProtected = errors.New("write-protected")

// Settle flushes all drives and unmounts them, and forgets them: they are safe to unplug. One whose files are open still, which
// must not be, stays mounted, and is an error.
func (m *Mounts) Settle() error {
	m.work.Lock()
	defer m.work.Unlock()
	var errs []error
	for key, a := range m.arrived {
		if a.drive.Dir == "" {
			continue
		}
		if err := m.sys.unmount(a.drive.Dir, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("attach: unmount %s: %w", a.drive.Dir, err))
			continue
		}
		a.drive.Dir, a.drive.Writable, a.drive.Problem = "", false, errors.New("was let go; unplug it and plug it in again to use it")
		m.arrived[key] = a
	}
	m.publish()
	return errors.Join(errs...)
}

// Close settles all drives and ends. Watch must have returned.
func (m *Mounts) Close() error { return errors.Join(m.Settle(), m.events.Close()) }
