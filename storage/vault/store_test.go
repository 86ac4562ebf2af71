package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"phonebackupbox/storage"
)

var errPower = errors.New("the power is off")

// mapStore is a Store in memory whose power can be cut: what was not synced is then there or not, by the toss of a coin
// that the test chooses.
type mapStore struct {
	mu      sync.Mutex
	blobs   map[string][]byte
	durable map[string][]byte
	ops     int             // Put, Sync and Delete so far
	cutAt   int             // the power goes before this operation; 0 never
	off     bool            // the power is off
	gone    map[string]bool // packs whose holders are away
	put     int64           // bytes ever put under data/
	getOps  int
	full    int64 // bytes after which Put fails; 0 never
}

func newMapStore() *mapStore {
	return &mapStore{blobs: map[string][]byte{}, durable: map[string][]byte{}, gone: map[string]bool{}}
}

func (m *mapStore) step() error {
	m.ops++
	if m.cutAt > 0 && m.ops >= m.cutAt {
		m.off = true
	}
	if m.off {
		return errPower
	}
	return nil
}

func (m *mapStore) Put(_ context.Context, name string, p []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !storage.ValidName(name) {
		return fmt.Errorf("name %q: %w", name, fs.ErrInvalid)
	}
	if err := m.step(); err != nil {
		return err
	}
	if old, ok := m.blobs[name]; ok && !bytes.Equal(old, p) {
		return storage.ErrExist
	}
	if strings.HasPrefix(name, "data/") {
		if m.full > 0 && m.put+int64(len(p)) > m.full {
			return storage.ErrFull
		}
		m.put += int64(len(p))
	}
	m.blobs[name] = bytes.Clone(p)
	return nil
}

func (m *mapStore) Sync(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		return err
	}
	m.durable = maps.Clone(m.blobs)
	return nil
}

func (m *mapStore) Get(_ context.Context, name string, off int64, p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.getOps++
	b, err := m.find(name)
	if err != nil {
		return 0, err
	}
	if off > int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *mapStore) find(name string) ([]byte, error) {
	b, ok := m.blobs[name]
	switch {
	case m.off:
		return nil, errPower
	case !ok:
		return nil, storage.ErrNotExist
	case m.gone[name]:
		return nil, storage.ErrUnavailable
	}
	return b, nil
}

func (m *mapStore) Stat(_ context.Context, name string) (storage.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(name)
	return storage.Info{Name: name, Size: int64(len(b))}, err
}

func (m *mapStore) List(_ context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		m.mu.Lock()
		off := m.off
		var list []storage.Info
		for _, name := range slices.Sorted(maps.Keys(m.blobs)) {
			if strings.HasPrefix(name, prefix) {
				list = append(list, storage.Info{Name: name, Size: int64(len(m.blobs[name]))})
			}
		}
		m.mu.Unlock()
		if off {
			yield(storage.Info{}, errPower)
			return
		}
		for _, info := range list {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (m *mapStore) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		return err
	}
	if _, ok := m.blobs[name]; !ok {
		return storage.ErrNotExist
	}
	delete(m.blobs, name)
	return nil
}

// restart is what a reboot finds: everything synced, and of the rest what survives says. A delete that was not synced
// may come undone.
func (m *mapStore) restart(survives func(name string) bool) *mapStore {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMapStore()
	for name, p := range m.durable {
		if _, ok := m.blobs[name]; ok || survives(name) {
			n.blobs[name] = p
		}
	}
	for name, p := range m.blobs {
		if _, ok := m.durable[name]; !ok && survives(name) {
			n.blobs[name] = p
		}
	}
	n.durable = maps.Clone(n.blobs)
	return n
}

// dataBytes is the size of all packs.
func (m *mapStore) dataBytes() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range m.blobs {
		if strings.HasPrefix(name, "data/") {
			n += int64(len(p))
		}
	}
	return n
}

// save writes the blobs as files, as a drive would.
func (m *mapStore) save(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"keys", "data", "index", "snapshots", "locks"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, p := range m.blobs {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// loadStore reads a repository folder.
func loadStore(t *testing.T, dir string) *mapStore {
	t.Helper()
	m := newMapStore()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		p, err := os.ReadFile(name)
		if err == nil && !strings.HasPrefix(rel, "locks") {
			m.blobs[rel] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
