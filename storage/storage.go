// Package storage names what a place that keeps blobs must do. It holds no implementation: a mounted drive
// (storage/drive), an erasure-coded set of drives (storage/array), a cloud remote and a simulated drive that fails
// when told (storage/vdrive) are all Stores, so they nest, and one Check tests every one of them.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
)

// Errors that a Store returns, always wrapped with the blob's name and told apart with errors.Is.
var (
	// ErrNotExist: nobody knows a blob of that name. It is fs.ErrNotExist.
	ErrNotExist = fs.ErrNotExist
	// ErrExist: the name is taken by other content. Put of the same content is no error. It is fs.ErrExist.
	ErrExist = fs.ErrExist
	// ErrUnavailable: the blob is known, but too many of its holders are away to read it now.
	ErrUnavailable = errors.New("unavailable")
	// ErrCorrupt: what is stored is not what was put, and parity cannot mend it.
	ErrCorrupt = errors.New("corrupt")
	// ErrFull: no room for the blob. Everything stored earlier stays readable.
	ErrFull = errors.New("no space left")
	// ErrReadOnly: the place can be read but not written.
	ErrReadOnly = errors.New("read-only")
)

// MaxBlob is the largest blob that a Store must accept, in bytes. A vault's packs are about 16 MiB; 128 MiB is the
// largest pack that restic makes and the largest tree that we write.
const MaxBlob = 160 << 20

// A Store keeps immutable blobs by name. Every method is safe for concurrent use and returns soon after ctx ends.
// Names satisfy ValidName. A name is never reused for other content, not even after Delete.
type Store interface {
	// Put stores p under name; p may be reused once Put returns. When Put returns nil the blob can be read from this
	// Store; it is durable only after a later Sync. Put of an existing name with the same content is a no-op, with
	// other content ErrExist. A Put that fails leaves no blob behind that Stat or List would show.
	Put(ctx context.Context, name string, p []byte) error

	// Sync makes every Put and Delete that returned before it durable against power loss.
	Sync(ctx context.Context) error

	// Get reads len(p) bytes at offset off into p. As io.ReaderAt, it returns n < len(p) only with an error, io.EOF
	// where the blob ends. Bytes that it returns with a nil error are those that were put.
	Get(ctx context.Context, name string, off int64, p []byte) (n int, err error)

	// Stat tells the blob's size without reading it.
	Stat(ctx context.Context, name string) (Info, error)

	// List yields the blobs whose names begin with prefix, in ascending byte order of names. An error ends the listing
	// and is its last pair. Blobs put or deleted meanwhile may or may not appear.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes a blob. Deleting a name that nobody knows returns ErrNotExist.
	Delete(ctx context.Context, name string) error
}

// Info describes a stored blob.
type Info struct {
	Name string
	Size int64 // bytes
}

// Space is what a place can hold, in bytes.
type Space struct {
	Free, Total int64
}

// A Spacer is a Store that knows its room. Drives are; an array adds its drives' up.
type Spacer interface {
	Space(ctx context.Context) (Space, error)
}

// A Rereader is a Store that can prove more of a blob than Get, which reads no more than it needs. Reread reads back all
// that is stored of a blob, parity included, and compares it with checksums taken when it was put. It is an error if the
// blob cannot be had as it was put; that its protection is damaged is for the Store's own health to tell. buf is room to
// read into, and sets how much is read at once; it may be nil.
type Rereader interface {
	Reread(ctx context.Context, name string, buf []byte) error
}

// A Rotator is a Store some of whose drives may be away. HeldAway reports whether a drive that is known and not here
// holds a blob: what such a drive may need when it comes back is not to be deleted.
type Rotator interface {
	HeldAway(ctx context.Context, name string) (bool, error)
}

// ValidName reports whether name may be given to a Store: slash-separated elements of [a-z0-9._-], none of them empty,
// "." or "..", at most 200 bytes in all. That is what every file system and cloud keeps as it is.
func ValidName(name string) bool {
	if name == "" || len(name) > 200 {
		return false
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "" || elem == "." || elem == ".." {
			return false
		}
		for i := range len(elem) {
			c := elem[i]
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
				return false
			}
		}
	}
	return true
}

// ReadAll reads a whole blob of at most limit bytes.
func ReadAll(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, fmt.Errorf("storage: %s has %d bytes, more than the %d allowed: %w", name, info.Size, limit, ErrCorrupt)
	}
	p := make([]byte, info.Size)
	if _, err := s.Get(ctx, name, 0, p); err != nil {
		return nil, err
	}
	return p, nil
}
