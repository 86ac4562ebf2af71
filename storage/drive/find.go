package drive

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Found is an attached drive of a box.
type Found struct {
	Dir   string // where it is mounted, or the folder in it
	Drive string // UUID
	Vault string // UUID
}

// maxFolders is how many folders at the top of a mounted file system are looked at: a drive lies at its top or in one of
// its folders, not among ten thousand.
const maxFolders = 1000

// Find finds the attached drives of all boxes by their identity files, at the top of each mounted drive or in a folder there,
// and in those of also. What is mounted in two places is found once; a copy of a drive is found beside it, and the array
// refuses both. Drives whose identity is damaged are not found.
func Find(ctx context.Context, also ...string) ([]Found, error) {
	mounts, err := mountPoints()
	if err != nil {
		return nil, err
	}
	return findIn(ctx, append(slices.Clone(also), mounts...))
}

func findIn(ctx context.Context, mounts []string) ([]Found, error) {
	var found []Found
	var infos []fs.FileInfo
	for _, m := range mounts {
		for _, dir := range append([]string{m}, foldersOf(m)...) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			ident, info, ok := look(dir)
			if !ok || slices.ContainsFunc(infos, func(i fs.FileInfo) bool { return os.SameFile(i, info) }) {
				continue
			}
			infos = append(infos, info)
			found = append(found, Found{dir, ident.Drive, ident.Vault})
		}
	}
	return found, nil
}

// foldersOf lists the folders at the top of a mount; one that cannot be read has none.
func foldersOf(mount string) []string {
	f, err := os.Open(mount)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, err := f.ReadDir(maxFolders)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(mount, e.Name()))
		}
	}
	return dirs
}

// look reads the identity of the drive in dir, if there is one.
func look(dir string) (Identity, fs.FileInfo, bool) {
	if _, err := os.Lstat(filepath.Join(dir, identityName)); err != nil {
		return Identity{}, nil, false
	}
	d, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		return Identity{}, nil, false
	}
	info, err := d.whole.Stat()
	if err := errors.Join(err, d.Close()); err != nil {
		return Identity{}, nil, false
	}
	return d.ident, info, true
}
