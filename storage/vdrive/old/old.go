// Package old reads the drives that earlier versions left, which are kept in cmd/boxd/testdata: seeds for fuzzing that were
// really written. Only tests use it.
package old

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Vaults lists the files that hold a vault's drives each, as seen from a package two folders below the top, of those whose name
// without ".zip" matches pattern. None is an error.
func Vaults(pattern string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join("..", "..", "cmd", "boxd", "testdata", "vaults", "*", pattern+".zip"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("old: no vault %s: %w", pattern, fs.ErrNotExist)
	}
	return files, err
}

// Read returns what one of Vaults has on its drives, by DRIVE/NAME, and beside them, as far as which wants it.
func Read(file string, which func(name string) bool) (found map[string][]byte, err error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, fmt.Errorf("old: %w", err)
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	found = map[string][]byte{}
	for _, e := range z.File {
		if which(e.Name) {
			if found[e.Name], err = fs.ReadFile(z, e.Name); err != nil {
				return nil, fmt.Errorf("old: %w", err)
			}
		}
	}
	return found, nil
}

// Files returns the content of all files of all vaults that which wants. None is an error.
func Files(which func(name string) bool) ([][]byte, error) {
	vaults, err := Vaults("*")
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for _, v := range vaults {
		files, err := Read(v, which)
		if err != nil {
			return nil, err
		}
		for _, p := range files {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("old: no vault has any: %w", fs.ErrNotExist)
	}
	return list, nil
}
