package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"

	"phonebackupbox/storage"
)

// Folder is a storage.Store of a repository that lies in a folder as restic keeps it, for reading only: its layout is
// that of our blobs' names. It changes nothing, not even restic's locks.
func Folder(dir string) storage.Store { return repositoryFolder(dir) }

type repositoryFolder string

func (d repositoryFolder) path(name string) (string, error) {
	if !storage.ValidName(name) {
		return "", fmt.Errorf("vault: %q: %w name", name, fs.ErrInvalid)
	}
	return filepath.Join(string(d), filepath.FromSlash(name)), nil
}

// Put implements storage.Store.
func (d repositoryFolder) Put(context.Context, string, []byte) error { return d.readOnly() }

// Delete implements storage.Store.
func (d repositoryFolder) Delete(context.Context, string) error { return d.readOnly() }

// Sync implements storage.Store.
func (d repositoryFolder) Sync(context.Context) error { return nil }

func (d repositoryFolder) readOnly() error {
	return fmt.Errorf("vault: %s: %w", string(d), storage.ErrReadOnly)
}

// Stat implements storage.Store.
func (d repositoryFolder) Stat(_ context.Context, name string) (storage.Info, error) {
	p, err := d.path(name)
	if err != nil {
		return storage.Info{}, err
	}
	info, err := os.Stat(p)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("vault: %s is no file: %w", name, storage.ErrNotExist)
	}
	if err != nil {
		return storage.Info{}, err
	}
	return storage.Info{Name: name, Size: info.Size()}, nil
}

// Get implements storage.Store.
func (d repositoryFolder) Get(ctx context.Context, name string, off int64, p []byte) (n int, err error) {
	file, err := d.path(name)
	if err := errors.Join(ctx.Err(), err); err != nil {
		return 0, err
	}
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	n, err = f.ReadAt(p, off)
	if cerr := f.Close(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	if n == len(p) && err == io.EOF {
		err = nil
	}
	return n, err
}

// List implements storage.Store, for "" and prefixes that end in a slash.
func (d repositoryFolder) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		folder := path.Clean(prefix)
		err := fs.WalkDir(os.DirFS(string(d)), folder, func(name string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile, or never made
			}
			if err := errors.Join(ctx.Err(), err); err != nil || !e.Type().IsRegular() || !storage.ValidName(name) {
				return err
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if !yield(storage.Info{Name: path.Clean(name), Size: info.Size()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(storage.Info{}, err)
		}
	}
}
