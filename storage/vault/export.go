package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/storage"
)

// exported are the folders of a repository that Export copies.
var exported = []string{"keys/", "index/", "snapshots/", "data/"}

// exportMark, in the folder of an export that has not ended, holds the hash of the vault's config: by it Export knows which
// vault's it is, and goes on. It is gone before the config is there.
const exportMark = "unfinished-export"

// Export writes the vault in from as a plain restic repository into the folder dir, which is made if absent and must be
// empty, or hold an export of the same vault that was cut short: what is there already is not copied again. It needs no key;
// every file but config is checked against the hash that is its name. What it wrote is durable when it returns nil; the
// config comes last, so that an export cut short is no repository. watch, which may be nil, is told the bytes copied so far
// and in all, from several goroutines but not at once.
func Export(ctx context.Context, from storage.Store, dir string, watch func(done, total int64)) error {
	config, err := storage.ReadAll(ctx, from, "config", maxKeyFile)
	if errors.Is(err, storage.ErrNotExist) {
		return fmt.Errorf("vault: export: %w", ErrNotVault)
	}
	if err != nil {
		return fmt.Errorf("vault: export: config: %w", err)
	}
	if err := beginExport(dir, sum(config).String()); err != nil {
		return err
	}
	c := copier{from: from, dir: dir, watch: watch}
	blobs, err := c.list(ctx)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(3)
	for _, info := range blobs {
		g.Go(func() error { return c.copy(gctx, info) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := syncFolders(dir); err != nil {
		return err
	}
	if err := writeDurably(filepath.Join(dir, "config"), func(f *os.File) error { _, err := f.Write(config); return err }); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, exportMark)); err != nil {
		return fmt.Errorf("vault: export: %w", err)
	}
	return syncDir(dir)
}

// beginExport makes the folder and its mark, or finds both.
func beginExport(dir, vault string) error {
	mark := filepath.Join(dir, exportMark)
	if p, err := os.ReadFile(mark); err == nil {
		if string(p) != vault+"\n" {
			return fmt.Errorf("vault: export: %s holds an unfinished export of another vault: %w", dir, fs.ErrExist)
		}
		return makeFolders(dir)
	}
	if err := emptyDir(dir); err != nil {
		return err
	}
	if err := writeDurably(mark, func(f *os.File) error { _, err := f.WriteString(vault + "\n"); return err }); err != nil {
		return err
	}
	return makeFolders(dir)
}

// list lists what is to be copied, and removes what the vault has not any more since an earlier run copied it.
func (c *copier) list(ctx context.Context) (blobs []storage.Info, err error) {
	wanted := map[string]bool{}
	for _, prefix := range exported {
		for info, err := range c.from.List(ctx, prefix) {
			if err != nil {
				return nil, fmt.Errorf("vault: export: list %s: %w", prefix, err)
			}
			if _, err := parseHash(path.Base(info.Name)); err == nil {
				blobs = append(blobs, info)
				wanted[info.Name] = true
				c.total += info.Size
			}
		}
	}
	for _, prefix := range append(exported, "config") {
		for info, err := range Folder(c.dir).List(ctx, prefix) {
			if err != nil {
				return nil, fmt.Errorf("vault: export: %w", err)
			}
			if wanted[info.Name] {
				continue
			}
			if err := removeIfThere(filepath.Join(c.dir, filepath.FromSlash(info.Name))); err != nil {
				return nil, fmt.Errorf("vault: export: %w", err)
			}
		}
	}
	return blobs, nil
}

// emptyDir makes dir and refuses one that holds anything.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("vault: export: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("vault: export: %w", err)
	}
	defer d.Close()
	if names, _ := d.Readdirnames(1); len(names) > 0 {
		return fmt.Errorf("vault: export: %s is not empty: %w", dir, fs.ErrExist)
	}
	return nil
}

// folders are those of a repository, the outer ones first.
func folders() []string {
	list := []string{"keys", "index", "snapshots", "locks", "data"}
	for i := range 256 {
		list = append(list, fmt.Sprintf("data/%02x", i))
	}
	return list
}

func makeFolders(dir string) error {
	for _, name := range folders() {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("vault: export: %w", err)
		}
	}
	return nil
}

func syncFolders(dir string) error {
	for _, name := range folders() {
		if err := syncDir(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it cannot flush a folder, and its file systems write names with the files
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("vault: export: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("vault: export: sync %s: %w", dir, err)
	}
	return nil
}

// writeDurably writes a file under another name first, so that no torn file ever has the name.
func writeDurably(name string, write func(*os.File) error) error {
	f, err := os.OpenFile(name+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("vault: export: %w", err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(name+".part", name)
	}
	if err != nil {
		return fmt.Errorf("vault: export: %s: %w", filepath.Base(name), errors.Join(err, removeIfThere(name+".part")))
	}
	return nil
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// A copier copies blobs to files.
type copier struct {
	from  storage.Store
	dir   string
	watch func(done, total int64)
	total int64

	mu   sync.Mutex
	done int64
}

func (c *copier) copy(ctx context.Context, info storage.Info) error {
	if there, err := c.there(ctx, info); there || err != nil {
		return err
	}
	return writeDurably(filepath.Join(c.dir, filepath.FromSlash(info.Name)), func(f *os.File) error {
		h := sha256.New()
		p := make([]byte, min(info.Size, 1<<20))
		for off := int64(0); off < info.Size; off += int64(len(p)) {
			p = p[:min(int64(len(p)), info.Size-off)]
			if _, err := c.from.Get(ctx, info.Name, off, p); err != nil {
				return err
			}
			h.Write(p)
			if _, err := f.Write(p); err != nil {
				return err
			}
			c.count(int64(len(p)))
		}
		if !strings.HasSuffix(info.Name, hex.EncodeToString(h.Sum(nil))) {
			return fmt.Errorf("%s: %w: content does not fit the name", info.Name, ErrDamaged)
		}
		return nil
	})
}

// there reports whether an earlier run copied a blob, and the power did not take any of it.
func (c *copier) there(ctx context.Context, info storage.Info) (bool, error) {
	name := filepath.Join(c.dir, filepath.FromSlash(info.Name))
	if found, err := os.Stat(name); err != nil || found.Size() != info.Size {
		return false, ctx.Err()
	}
	f, err := os.Open(name)
	if err != nil {
		return false, ctx.Err() // written anew
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil || !strings.HasSuffix(info.Name, hex.EncodeToString(h.Sum(nil))) {
		return false, ctx.Err()
	}
	c.count(info.Size)
	return true, nil
}

func (c *copier) count(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.watch != nil {
		c.watch(c.done, c.total)
	}
}
