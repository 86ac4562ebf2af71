package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"time"
)

// A resumes knows the files that runs which never committed had stored, in about 50 bytes each: a first backup of a million
// files that is cut near its end leaves nearly all of them to know. A path is known by its hash, with something at random
// before it, so that nobody can choose two that are taken for each other; a chunk by its number in the index.
type resumes struct {
	x    *index
	salt [16]byte
	one  map[pathKey]resumed  // files of one chunk or none
	many map[pathKey]longFile // files of more
}

type pathKey [16]byte

// resumed is a file's modification time and its only chunk.
type resumed struct {
	sec   int64
	nsec  uint32
	chunk uint32 // noChunk is none
}

const noChunk = 1<<32 - 1

type longFile struct {
	mtime  time.Time
	chunks []uint32
}

func newResumes(x *index) *resumes {
	r := &resumes{x: x, one: map[pathKey]resumed{}, many: map[pathKey]longFile{}}
	rand.Read(r.salt[:]) // never fails (Go 1.24)
	return r
}

func (r *resumes) key(path string) pathKey {
	var room [256]byte
	sum := sha256.Sum256(append(append(room[:0], r.salt[:]...), path...))
	return pathKey(sum[:16])
}

// add takes a file of a resume record in, if the index knows its chunks and they are of the file's size. A later record
// counts more.
func (r *resumes) add(f resumeFile) {
	size := int64(0)
	chunks := make([]uint32, len(f.Content))
	for i, id := range f.Content {
		n, ok := r.x.size(dataBlob, id)
		first, found := r.x.first(dataBlob, id)
		if !ok || !found {
			return
		}
		chunks[i], size = first, size+n
	}
	if size != f.Size {
		return
	}
	k := r.key(f.Name)
	delete(r.one, k)
	delete(r.many, k)
	if len(chunks) > 1 {
		r.many[k] = longFile{f.ModTime, chunks}
		return
	}
	one := resumed{f.ModTime.Unix(), uint32(f.ModTime.Nanosecond()), noChunk}
	if len(chunks) == 1 {
		one.chunk = chunks[0]
	}
	r.one[k] = one
}

// find returns the chunks of a file that was stored with this size and modification time.
func (r *resumes) find(path string, size int64, mtime time.Time) (chunks []hash, ok bool) {
	if r == nil || len(r.one) == 0 && len(r.many) == 0 {
		return nil, false
	}
	k := r.key(path)
	var numbers []uint32
	if f, ok := r.one[k]; ok && time.Unix(f.sec, int64(f.nsec)).Equal(mtime) {
		if f.chunk != noChunk {
			numbers = []uint32{f.chunk}
		}
	} else if f, ok := r.many[k]; ok && f.mtime.Equal(mtime) {
		numbers = f.chunks
	} else {
		return nil, false
	}
	for _, n := range numbers {
		id, blobSize := r.x.blob(n)
		chunks, size = append(chunks, id), size-blobSize
	}
	return chunks, size == 0
}
