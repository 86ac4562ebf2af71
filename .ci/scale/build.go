package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
)

// drives is how many: two for data and one for parity.
const drives = 3

// A hollow drive throws away what belongs to packs of files: nothing that is measured reads them, and 200 GB would take an
// hour to write. What the ledger says of them is what it would say.
type hollow struct {
	*drive.Drive
	packs map[string]bool
}

func (h *hollow) Put(ctx context.Context, name string, p []byte) error {
	blob, isShard := strings.CutPrefix(name, "shards/")
	if blob, isCopy := strings.CutPrefix(name, "vault/"); isCopy && h.packs[blob] {
		return nil
	}
	if blob, _, _ = strings.Cut(blob, "."); isShard && h.packs[blob] {
		return nil
	}
	return h.Drive.Put(ctx, name, p)
}

// build puts the repository in dir/repo onto drives dir/drive-1 and so on.
func build(ctx context.Context, dir string) (err error) {
	packs, err := readPacks(filepath.Join(dir, "repo", "packs"))
	if err != nil {
		return err
	}
	hidden := make(map[string]bool, len(packs))
	for _, p := range packs {
		hidden[p.name] = true
	}
	var members []array.Member
	for i := range drives {
		d, err := drive.Create(filepath.Join(dir, fmt.Sprint("drive-", i+1)), "5ca1ab1e-0000-4000-8000-000000000000")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		members = append(members, array.Member{ID: d.ID(), Label: filepath.Base(d.Dir()), Store: &hollow{d, hidden}})
	}
	arr, err := array.Create(ctx, members, array.Options{Survive: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, arr.Close()) }()
	if err := putPacks(ctx, arr, packs); err != nil {
		return err
	}
	if err := putFiles(ctx, arr, filepath.Join(dir, "repo")); err != nil {
		return err
	}
	return arr.Sync(ctx)
}

type pack struct {
	name string
	size int
}

func readPacks(file string) ([]pack, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	var packs []pack
	for s := bufio.NewScanner(f); s.Scan(); {
		var p pack
		if _, err := fmt.Sscan(s.Text(), &p.name, &p.size); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		packs = append(packs, p)
	}
	return packs, nil
}

// syncPacks is how many packs are made durable together: 64 MB, as a backup does.
const syncPacks = 64

func putPacks(ctx context.Context, s storage.Store, packs []pack) error {
	zeros := make([]byte, 32<<20)
	for i, p := range packs {
		if err := s.Put(ctx, p.name, zeros[:p.size]); err != nil {
			return err
		}
		if i%syncPacks == syncPacks-1 {
			if err := s.Sync(ctx); err != nil {
				return err
			}
		}
	}
	return s.Sync(ctx)
}

func putFiles(ctx context.Context, s storage.Store, repo string) error {
	return filepath.WalkDir(repo, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "packs" {
			return err
		}
		p, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repo, file)
		if err != nil {
			return err
		}
		return s.Put(ctx, filepath.ToSlash(name), p)
	})
}
