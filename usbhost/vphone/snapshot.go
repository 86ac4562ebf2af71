package vphone

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Entry is one file or folder as the phone holds it, seen past every driver: for proofs.
type Entry struct {
	Path    string
	Folder  bool
	Size    int64 // bytes
	ModTime time.Time
	content Content
}

// Entries lists everything that the storage holds now, in the byte order of paths.
func (s *Storage) Entries() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Entry
	var walk func(n *Node, path string)
	walk = func(n *Node, path string) {
		for _, k := range n.kids {
			p := path + k.name
			e := Entry{Path: p, Folder: k.folder, ModTime: k.mod, content: k.content}
			if k.content != nil {
				e.Size = k.content.Size()
			}
			all = append(all, e)
			walk(k, p+"/")
		}
	}
	walk(s.root, "")
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// SHA256 reads the whole file and hashes it.
func (e Entry) SHA256() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	r, err := e.Open()
	if err != nil {
		return sum, err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, 1<<20)); err != nil {
		return sum, fmt.Errorf("vphone: hash %q: %w", e.Path, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Open reads a file's content.
func (e Entry) Open() (io.Reader, error) {
	if e.content == nil {
		return nil, fmt.Errorf("vphone: open %q: is a folder: %w", e.Path, fs.ErrInvalid)
	}
	return io.NewSectionReader(e.content, 0, e.Size), nil
}

// Load copies a directory of this machine onto the storage, below the folder path. Files are read from the disk when the
// phone is asked for them; they must stay as they are. Anything but files and directories is left out.
func (s *Storage) Load(dir, path string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		to := strings.Trim(path+"/"+filepath.ToSlash(rel), "/")
		if rel == "." {
			to = path
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			return s.Mkdir(to, info.ModTime())
		case info.Mode().IsRegular():
			abs, err := filepath.Abs(p)
			if err != nil {
				return err
			}
			return s.Put(to, info.ModTime(), onDisk{path: abs, size: info.Size()})
		}
		return nil
	})
}
