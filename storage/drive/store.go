package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"phonebackupbox/storage"
)

const (
	// ioBlock is how much is read or written between two looks at the context, in bytes.
	ioBlock = 1 << 20
	// reserveFrom is the size of blobs that leave the reserve alone, in bytes. Ledger segments are smaller.
	reserveFrom = 64 << 10
)

// acquire waits until nobody else puts or deletes name.
func (d *Drive) acquire(ctx context.Context, name string) error {
	for {
		d.mu.Lock()
		other, taken := d.busy[name]
		if !taken {
			d.busy[name] = make(chan struct{})
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Drive) release(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.busy[name])
	delete(d.busy, name)
}

// writable returns why the drive cannot be written, or nil.
func (d *Drive) writable() error {
	if d.readOnly {
		return fmt.Errorf("%s was opened for reading: %w", d.dir, storage.ErrReadOnly)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.broken
}

// Put implements storage.Store. It writes a pending file.
func (d *Drive) Put(ctx context.Context, name string, p []byte) error {
	if err := checkName("put", name); err != nil {
		return err
	}
	if err := d.acquire(ctx, name); err != nil {
		return fmt.Errorf("drive: put %s: %w", name, err)
	}
	defer d.release(name)
	if err := d.put(ctx, name, p); err != nil {
		return fmt.Errorf("drive: put %s: %w", name, d.classify(err))
	}
	return nil
}

func (d *Drive) put(ctx context.Context, name string, p []byte) error {
	if err := errors.Join(ctx.Err(), d.writable()); err != nil {
		return err
	}
	f, err := d.openBlob(name)
	if err == nil {
		same, err := sameContent(ctx, f, p)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if !same {
			return storage.ErrExist
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := errors.Join(d.room(int64(len(p))), d.touch()); err != nil {
		return err
	}
	d.mu.Lock()
	d.serial++
	temp := path.Join(pendingDir, strconv.Itoa(d.serial))
	d.mu.Unlock()
	if err := d.writeFile(ctx, temp, p); err != nil {
		if rerr := d.root.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	d.mu.Lock()
	d.pending[name] = pendingFile{temp, int64(len(p))}
	d.mu.Unlock()
	return nil
}

// room refuses what would eat into the reserve.
func (d *Drive) room(size int64) error {
	s, err := d.space()
	if err != nil {
		return err
	}
	left := s.Free - size
	if left < 0 || size >= reserveFrom && left < reserve(s.Total) {
		return fmt.Errorf("%s: %w", d.dir, storage.ErrFull)
	}
	return nil
}

func (d *Drive) writeFile(ctx context.Context, temp string, p []byte) (err error) {
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeBlob)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for block := range slices.Chunk(p, ioBlock) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return startFlush(f)
}

func sameContent(ctx context.Context, f *os.File, p []byte) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() != int64(len(p)) {
		return false, err
	}
	buf := make([]byte, min(len(p), ioBlock))
	for block := range slices.Chunk(p, ioBlock) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(f, buf[:len(block)]); err != nil {
			return false, err
		}
		if !bytes.Equal(buf[:len(block)], block) {
			return false, nil
		}
	}
	return true, nil
}

// openBlob opens a blob's file, pending or durable, for reading.
func (d *Drive) openBlob(name string) (*os.File, error) {
	d.mu.RLock()
	defer d.mu.RUnlock() // a Sync must not rename between looking and opening
	file := d.at(name)
	if p, ok := d.pending[name]; ok {
		file = p.temp
	}
	f, err := d.root.OpenFile(file, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, d.absent(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = storage.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// absent turns "no such file" into ErrUnavailable when the whole drive is gone, and "a folder is missing on the way"
// into "no such file".
func (d *Drive) absent(err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
		return err
	}
	if _, ierr := d.root.Lstat(identityName); ierr != nil {
		return fmt.Errorf("%s is gone: %w", d.dir, storage.ErrUnavailable)
	}
	return storage.ErrNotExist
}

// Get implements storage.Store. It does not notice rotten bits: the array does.
func (d *Drive) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if err := checkName("get", name); err != nil {
		return 0, err
	}
	n, err := d.get(ctx, name, off, p)
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("drive: get %s at %d: %w", name, off, classify(err))
	}
	return n, err
}

func (d *Drive) get(ctx context.Context, name string, off int64, p []byte) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	f, err := d.openBlob(name)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := f.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	for n < len(p) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := f.ReadAt(p[n:min(n+ioBlock, len(p))], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Stat implements storage.Store.
func (d *Drive) Stat(ctx context.Context, name string) (storage.Info, error) {
	err := checkName("stat", name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return storage.Info{}, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if p, ok := d.pending[name]; ok {
		return storage.Info{Name: name, Size: p.size}, nil
	}
	info, err := d.root.Lstat(d.at(name))
	if err == nil && !info.Mode().IsRegular() {
		err = storage.ErrNotExist
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("drive: stat %s: %w", name, classify(d.absent(err)))
	}
	return storage.Info{Name: name, Size: info.Size()}, nil
}

// Delete implements storage.Store. It removes folders that become empty, too.
func (d *Drive) Delete(ctx context.Context, name string) error {
	if err := checkName("delete", name); err != nil {
		return err
	}
	if err := d.acquire(ctx, name); err != nil {
		return fmt.Errorf("drive: delete %s: %w", name, err)
	}
	defer d.release(name)
	if err := errors.Join(ctx.Err(), d.writable()); err != nil {
		return fmt.Errorf("drive: delete %s: %w", name, err)
	}
	// A drive without room for the mark gets room by deleting, which leaves no torn names.
	if err := classify(d.touch()); err != nil && !errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("drive: delete %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	file := name
	p, pending := d.pending[name]
	if pending {
		file = p.temp
	}
	info, err := d.root.Lstat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = storage.ErrNotExist
	}
	if err == nil {
		err = d.root.Remove(file)
	}
	if err != nil {
		return fmt.Errorf("drive: delete %s: %w", name, classify(d.absent(err)))
	}
	delete(d.pending, name)
	if !pending {
		d.prune(path.Dir(name))
	}
	return nil
}

// prune removes folders that are empty, from dir upwards, and marks what must be flushed. On fragile file systems they stay:
// see folders.go. The caller holds mu.
func (d *Drive) prune(dir string) {
	d.dirty[dir] = true
	for ; dir != "." && !d.format.Fragile; dir = path.Dir(dir) {
		if d.root.Remove(dir) != nil {
			return // not empty, which is the usual thing
		}
		delete(d.dirty, dir)
		d.dirty[path.Dir(dir)] = true
	}
}

// List implements storage.Store. It shows regular files in folders only; what lies at the top is the owner's.
func (d *Drive) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		var pending []storage.Info
		d.mu.RLock()
		for name, p := range d.pending {
			if strings.HasPrefix(name, prefix) {
				pending = append(pending, storage.Info{Name: name, Size: p.size})
			}
		}
		d.mu.RUnlock()
		slices.SortFunc(pending, func(a, b storage.Info) int { return strings.Compare(a.Name, b.Name) })
		w := walk{ctx: ctx, d: d, prefix: prefix, yield: func(info storage.Info) bool {
			for len(pending) > 0 && pending[0].Name < info.Name {
				if !yield(pending[0], nil) {
					return false
				}
				pending = pending[1:]
			}
			if len(pending) > 0 && pending[0].Name == info.Name {
				pending = pending[1:]
			}
			return yield(info, nil)
		}}
		start := "."
		if i := strings.LastIndexByte(prefix, '/'); i > 0 {
			start = prefix[:i]
		}
		if more, err := w.dir(start); err != nil {
			yield(storage.Info{}, fmt.Errorf("drive: list %s: %w", prefix, d.classify(err)))
			return
		} else if !more {
			return
		}
		for _, info := range pending {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// walk yields the blobs below a folder in byte order of their whole names.
type walk struct {
	ctx    context.Context // List's: one operation
	d      *Drive
	prefix string
	yield  func(storage.Info) bool
}

// dir walks one folder. It returns false when the consumer has had enough.
func (w *walk) dir(dir string) (more bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	if !fs.ValidPath(dir) || dir == ownDir {
		return true, nil // a prefix that no name has
	}
	if dir == "." && w.d.switching {
		return w.switching()
	}
	entries, err := fs.ReadDir(w.d.root.FS(), w.d.at(dir))
	if err != nil {
		if err = w.d.absent(err); errors.Is(err, storage.ErrNotExist) {
			return true, nil // never made, or pruned meanwhile
		}
		return false, err
	}
	key := func(e fs.DirEntry) string { // "a/" sorts after "a-b", as in whole names
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !storage.ValidName(name) {
			continue
		}
		if more, err := w.entry(name, e); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (w *walk) entry(name string, e fs.DirEntry) (more bool, err error) {
	switch {
	case e.IsDir():
		if sub := name + "/"; strings.HasPrefix(sub, w.prefix) || strings.HasPrefix(w.prefix, sub) {
			return w.dir(name)
		}
	case e.Type().IsRegular() && strings.Contains(name, "/") && strings.HasPrefix(name, w.prefix):
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil // deleted meanwhile
		}
		if err != nil {
			return false, err
		}
		return w.yield(storage.Info{Name: name, Size: info.Size()}), nil
	}
	return true, nil
}
