package vault

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An indexCache keeps in a folder of this machine what index files say, so that a vault opens without reading, decompressing
// and parsing them. There is a file for each index file, and since that is named by the hash of its content, so that it never
// changes, a file of the cache can be missing but never out of date. It is sealed with a key of its own, derived from the
// vault's: it tells nothing that a drive does not, and one that is damaged, torn or another's is as good as missing.
type indexCache struct {
	dir string
	key *sealer
	log *slog.Logger
}

// cachedFrom is the size of index files from which they are cached, in bytes. The small ones of every night are read from
// the drives: an SD card lasts longer that way.
const cachedFrom = 64 << 10

// cacheMark begins a cache's content; the index file's ID and the packs follow.
const cacheMark = "phonebackupbox index 1\n"

// openCache prepares a cache in dir, which it makes when it first writes. A nil cache keeps nothing.
func (v *Vault) openCache(dir string) (*indexCache, error) {
	if dir == "" {
		return nil, nil
	}
	key, err := v.key.derive(cacheMark)
	if err != nil {
		return nil, err
	}
	return &indexCache{filepath.Join(dir, v.cfg.ID[:16]), key, v.o.Log}, nil
}

// derive makes keys for another purpose out of a sealer's.
func (s *sealer) derive(purpose string) (*sealer, error) {
	k := s.keys()
	p, err := hkdf.Key(sha256.New, slices.Concat(k.encrypt[:], k.k[:], k.r[:]), nil, purpose, 64)
	if err != nil {
		return nil, fmt.Errorf("vault: derive a key: %w", err)
	}
	return newSealer((*[64]byte)(p))
}

// load calls add for each pack of an index file if the cache has it whole.
func (c *indexCache) load(index hash, add func(pack hash, blobs []packedBlob)) bool {
	if c == nil {
		return false
	}
	name := filepath.Join(c.dir, index.String())
	if info, err := os.Stat(name); err != nil || info.Size() > maxTree {
		return false
	}
	p, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	if p, err = c.key.open(p); err != nil {
		return false
	}
	p, ok := bytes.CutPrefix(p, append([]byte(cacheMark), index[:]...))
	if !ok || !parseCached(p, func(hash, []packedBlob) {}) {
		return false
	}
	return parseCached(p, add)
}

// save keeps what appendCached made of an index file. Without it the next Open takes longer: that is all.
func (c *indexCache) save(index hash, packs []byte) {
	if c == nil {
		return
	}
	if err := c.write(index, packs); err != nil {
		c.log.Debug("an index file is not cached", slog.Any("err", err))
	}
}

func (c *indexCache) write(index hash, packs []byte) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(c.key.sealed(append(append([]byte(cacheMark), index[:]...), packs...)))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, index.String()))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// tidy removes what belongs to none of the index files that there are.
func (c *indexCache) tidy(indexes map[string]bool) {
	if c == nil {
		return
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return // there is none yet
	}
	for _, e := range entries {
		if _, err := parseHash(e.Name()); (err == nil || strings.HasPrefix(e.Name(), ".new-")) && !indexes[e.Name()] {
			if err := os.Remove(filepath.Join(c.dir, e.Name())); err != nil {
				c.log.Debug("a cached index file stays", slog.Any("err", err))
			}
		}
	}
}

// appendCached appends a pack of an index file: its ID, the number of its blobs, and of each how many bytes after the one
// before it begins (modulo 2³²), 1 for a tree plus 2 if compressed, its lengths and its ID.
func appendCached(p []byte, pack hash, blobs []packedBlob) []byte {
	p = binary.AppendUvarint(append(p, pack[:]...), uint64(len(blobs)))
	end := uint32(0)
	for _, b := range blobs {
		p = binary.AppendUvarint(p, uint64(b.off-end))
		end = b.off + b.length
		p = append(p, byte(b.typ)|byte(b2i(b.plain != 0))<<1)
		p = binary.AppendUvarint(p, uint64(b.length))
		if b.plain != 0 {
			p = binary.AppendUvarint(p, uint64(b.plain))
		}
		p = append(p, b.id[:]...)
	}
	return p
}

// parseCached is the inverse of appendCached for all packs; blobs are valid until add returns. It reports whether p was made
// by appendCached.
func parseCached(p []byte, add func(pack hash, blobs []packedBlob)) bool {
	r := cacheReader{p: p}
	var blobs []packedBlob
	for len(r.p) > 0 {
		var pack hash
		r.hash(&pack)
		blobs = blobs[:0]
		end := uint32(0)
		for n := r.number(); n > 0 && !r.bad; n-- {
			b := packedBlob{off: end + r.number()}
			kind := r.byte()
			b.typ, b.length = blobType(kind&1), r.number()
			if kind&2 != 0 {
				b.plain = r.number()
			}
			r.hash(&b.id)
			if r.bad || kind > 3 || kind&2 != 0 && b.plain == 0 || !b.valid() {
				return false
			}
			end = b.off + b.length
			blobs = append(blobs, b)
		}
		if r.bad {
			return false
		}
		add(pack, blobs)
	}
	return true
}

// A cacheReader takes bytes apart. Once bad, it returns zeros.
type cacheReader struct {
	p   []byte
	bad bool
}

func (r *cacheReader) number() uint32 {
	n, size := binary.Uvarint(r.p)
	if size <= 0 || n >= 1<<32 || size > 1 && r.p[size-1] == 0 { // one spelling each
		r.bad, r.p = true, nil
		return 0
	}
	r.p = r.p[size:]
	return uint32(n)
}

func (r *cacheReader) byte() byte {
	if len(r.p) == 0 {
		r.bad = true
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

func (r *cacheReader) hash(h *hash) {
	if len(r.p) < len(h) {
		r.bad, r.p = true, nil
		return
	}
	r.p = r.p[copy(h[:], r.p):]
}
