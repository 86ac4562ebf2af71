package usbhost

import (
	"errors"
	"fmt"
	"io/fs"
)

// A Pruner removes from a tree what a phone no longer holds, folder by folder.
type Pruner struct {
	Tree  Tree
	Tally *Tally
	// Sure is asked once, before the first removal, whether the phone is still there: one that was locked or pulled out
	// while it was listed looks like an empty one. Its error ends the run.
	Sure func() error

	sure bool
}

// Folder removes from the tree's folder dir what now does not name (its values tell directories from files), and what
// changed between file and directory. Names for which keep is true stay even if now lacks them. It returns the names of the
// files that the tree holds in dir after that. An error is the tree's, or Sure's.
func (p *Pruner) Folder(dir string, now map[string]bool, keep func(name string) bool) (files map[string]bool, err error) {
	entries, err := fs.ReadDir(p.Tree, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %q in the snapshot: %w", dir, err)
	}
	files = make(map[string]bool, len(entries))
	for _, e := range entries {
		isDir, listed := now[e.Name()]
		switch {
		case listed && isDir == e.IsDir(), !listed && keep(e.Name()):
			if !e.IsDir() {
				files[e.Name()] = true
			}
		default:
			name := e.Name()
			if dir != "." {
				name = dir + "/" + name
			}
			if err := p.Remove(name, e.IsDir()); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// Remove takes name out of the tree and counts the files that go with it.
func (p *Pruner) Remove(name string, isDir bool) error {
	if !p.sure && p.Sure != nil {
		if err := p.Sure(); err != nil {
			return err
		}
	}
	p.sure = true
	files := 1
	if isDir {
		var err error
		if files, err = p.count(name); err != nil {
			return err
		}
	}
	if err := p.Tree.Remove(name); err != nil {
		return fmt.Errorf("remove %q from the snapshot: %w", name, err)
	}
	p.Tally.Removed(files)
	return nil
}

// count counts the files below a folder of the tree.
func (p *Pruner) count(dir string) (n int, err error) {
	entries, err := fs.ReadDir(p.Tree, dir)
	if err != nil {
		return 0, fmt.Errorf("read %q in the snapshot: %w", dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			n++
			continue
		}
		sub, err := p.count(dir + "/" + e.Name())
		if err != nil {
			return 0, err
		}
		n += sub
	}
	return n, nil
}
