package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"phonebackupbox/storage"
)

// A source reads blobs. It remembers windows of packs, because small files lie side by side and a store checks whole
// blocks whatever it is asked for. It is safe for concurrent use.
type source struct {
	v    *Vault
	bufs buffers

	mu      sync.Mutex
	windows []*window // the newest last
}

// A window is a part of a pack as it is stored.
type window struct {
	pack uint32
	off  int64
	p    []byte        // complete once ready is closed
	err  error         // of reading p
	ok   chan struct{} // closed when p and err are final
	refs int           // readers that copy from it now; source.mu guards it and gone
	gone bool          // no longer in windows: the last reader gives p back
}

const (
	windowSize  = 512 << 10 // bytes read at once for small blobs
	windowCount = 8         // windows that a source remembers: 4 MiB
	smallBlob   = 64 << 10  // sealed blobs up to this size are read by windows
)

func (v *Vault) newSource() *source { return &source{v: v, bufs: newBuffers()} }

// read returns a blob's plain bytes, checked against its hash. buf is used if its capacity suffices; a blob that is not
// compressed needs overhead more bytes than it has.
func (s *source) read(ctx context.Context, typ blobType, id hash, buf []byte) ([]byte, error) {
	var places [4]place
	found := s.v.index.find(typ, id, places[:0])
	var failed error
	// The newest place comes first: an older copy was perhaps out of reach when it was stored again.
	for i := len(found) - 1; i >= 0; i-- {
		p, err := s.readAt(ctx, found[i], buf)
		if err == nil {
			return p, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = cmp.Or(failed, err)
	}
	if failed == nil {
		failed = fmt.Errorf("vault: %w", s.v.unnamed(typ, id))
	}
	return nil, failed
}

// readAt reads a blob from one of its places.
func (s *source) readAt(ctx context.Context, at place, buf []byte) ([]byte, error) {
	sealed := buf[:0]
	if at.plain != 0 { // buf is for what it decompresses to
		sealed = s.bufs.get(int(at.length))
	}
	if cap(sealed) < int(at.length) {
		sealed = make([]byte, at.length)
	}
	sealed = sealed[:at.length]
	if err := s.sealedBytes(ctx, at, sealed); err != nil {
		return nil, fmt.Errorf("vault: %s blob %s in pack %s: %w", at.typ, at.id, s.v.index.pack(at.pack).id, err)
	}
	p, err := s.v.plain(at.packedBlob, sealed, buf)
	if err != nil {
		return nil, fmt.Errorf("vault: %s blob %s in pack %s: %w", at.typ, at.id, s.v.index.pack(at.pack).id, err)
	}
	if at.plain != 0 {
		s.bufs.put(sealed)
	}
	return p, nil
}

// plain decrypts the sealed bytes of a blob in place, decompresses them, into dst if its capacity suffices, and checks the
// hash.
func (v *Vault) plain(b packedBlob, p, dst []byte) ([]byte, error) {
	p, err := v.key.open(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if b.plain != 0 {
		if p, err = v.zip.decompress(p, int64(b.plain), maxTree, dst); err != nil {
			return nil, err
		}
	}
	if sha256.Sum256(p) != b.id {
		return nil, fmt.Errorf("%w: content does not fit the hash", ErrDamaged)
	}
	return p, nil
}

// sealedBytes fetches the sealed bytes of a blob into p.
func (s *source) sealedBytes(ctx context.Context, at place, p []byte) error {
	s.v.mu.Lock()
	t := s.v.tree
	s.v.mu.Unlock()
	if t != nil {
		if done, err := t.w.copyOpen(at, p); done {
			return err
		}
	}
	if at.length > smallBlob {
		_, err := s.v.s.Get(ctx, packName(s.v.index.pack(at.pack).id), int64(at.off), p)
		return damagedIfShort(err)
	}
	w := s.window(ctx, at)
	defer s.release(w)
	select {
	case <-w.ok:
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.err != nil {
		// Something else in the window may be what cannot be read.
		s.forget(w)
		_, err := s.v.s.Get(ctx, packName(s.v.index.pack(at.pack).id), int64(at.off), p)
		return damagedIfShort(err)
	}
	copy(p, w.p[int64(at.off)-w.off:])
	return nil
}

// damagedIfShort adds ErrDamaged to what a store says of a pack that is gone, too short or corrupt.
func damagedIfShort(err error) error {
	if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// window returns a window that holds all of a small blob. The first to ask for it reads it. The caller releases it.
func (s *source) window(ctx context.Context, at place) *window {
	s.mu.Lock()
	for i, w := range s.windows {
		if w.pack == at.pack && w.off <= int64(at.off) && int64(at.off)+int64(at.length) <= w.off+int64(len(w.p)) {
			copy(s.windows[i:], s.windows[i+1:])
			s.windows[len(s.windows)-1] = w
			w.refs++
			s.mu.Unlock()
			return w
		}
	}
	name, size := s.v.packSpan(ctx, at)
	w := &window{pack: at.pack, off: int64(at.off), ok: make(chan struct{}), refs: 1}
	w.p = s.bufs.get(int(max(int64(at.length), min(windowSize, size-int64(at.off)))))
	if len(s.windows) == windowCount {
		s.evict(0)
	}
	s.windows = append(s.windows, w)
	s.mu.Unlock()
	defer close(w.ok)
	_, w.err = s.v.s.Get(ctx, name, w.off, w.p)
	return w
}

// forget drops a window that could not be read.
func (s *source) forget(w *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.windows, w); i >= 0 {
		s.evict(i)
	}
}

// evict drops a window. s.mu is held.
func (s *source) evict(i int) {
	w := s.windows[i]
	s.windows = append(s.windows[:i], s.windows[i+1:]...)
	w.gone = true
	s.reuse(w)
}

// release says that the caller has copied what it wanted.
func (s *source) release(w *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.refs--
	s.reuse(w)
}

// reuse gives back the memory of a window that nobody needs any more. s.mu is held; who read it had a reference, so that
// err is final.
func (s *source) reuse(w *window) {
	if w.gone && w.refs == 0 && w.err == nil {
		s.bufs.put(w.p)
		w.p = nil
	}
}

// packSpan is a pack's name and size. Index files do not tell the size, so it is asked for once.
func (v *Vault) packSpan(ctx context.Context, at place) (name string, size int64) {
	p := v.index.pack(at.pack)
	name = packName(p.id)
	if p.size == 0 {
		info, err := v.s.Stat(ctx, name)
		if err != nil {
			return name, 0
		}
		p.size = info.Size
		v.index.setSize(at.pack, info.Size)
	}
	return name, p.size
}

// checkPackHash reads all of a pack and checks that it is what was put under its name.
func (v *Vault) checkPackHash(ctx context.Context, id hash, size int64) error {
	h := sha256.New()
	p := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; off += int64(len(p)) {
		p = p[:min(int64(len(p)), size-off)]
		if _, err := v.s.Get(ctx, packName(id), off, p); err != nil {
			return fmt.Errorf("vault: pack %s: %w", id, err)
		}
		h.Write(p)
	}
	if hash(h.Sum(nil)) != id {
		return fmt.Errorf("vault: pack %s: %w: content does not fit the name", id, ErrDamaged)
	}
	return nil
}
