package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// The phone that is copied, at scale 1: about 4.2 GB. Photographs and videos do not compress, half of the small files do.
const (
	photos     = 900 // of 2 to 4 MiB
	videos     = 12  // of 50 to 100 MB
	smallFiles = 10000
)

// phone writes the data set below dir, the same for the same scale, and returns its files and bytes. Scale thins out the
// numbers of files, not their sizes.
func phone(dir string, scale float64) (files int, bytes int64, err error) {
	w := writer{rnd: rand.New(rand.NewPCG(42, 2025)), noise: rand.NewChaCha8([32]byte{42}), at: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i := range many(photos, scale) {
		size := 2<<20 + w.rnd.Int64N(2<<20)
		w.put(filepath.Join(dir, "DCIM", fmt.Sprintf("%03d_PHOTO", i/200), fmt.Sprintf("IMG_%05d.JPG", i)), size, w.noise)
	}
	for i := range many(videos, scale) {
		size := 50_000_000 + w.rnd.Int64N(50_000_000)
		w.put(filepath.Join(dir, "DCIM", "VIDEO", fmt.Sprintf("VID_%03d.MP4", i)), size, w.noise)
	}
	for i := range many(smallFiles, scale) {
		size := 1000 + w.rnd.Int64N(99_000)
		var from io.Reader = w.noise
		name := fmt.Sprintf("%05d.thumb", i)
		if i%2 == 0 {
			from, name = &prose{rnd: w.rnd}, fmt.Sprintf("%05d.json", i)
		}
		w.put(filepath.Join(dir, "Android", "media", fmt.Sprintf("app%02d", i%20), fmt.Sprintf("%02d", i/20%50), name), size, from)
	}
	return w.files, w.bytes, w.err
}

func many(n int, scale float64) int { return max(1, int(float64(n)*scale+0.5)) }

// writer writes files until the first error.
type writer struct {
	rnd   *rand.Rand
	noise *rand.ChaCha8
	at    time.Time // modification time of the next file
	files int
	bytes int64
	err   error
}

func (w *writer) put(name string, size int64, from io.Reader) {
	if w.err != nil {
		return
	}
	if w.err = os.MkdirAll(filepath.Dir(name), 0o755); w.err != nil {
		return
	}
	f, err := os.Create(name)
	if err != nil {
		w.err = err
		return
	}
	b := bufio.NewWriterSize(f, 1<<20)
	_, w.err = io.CopyN(b, from, size)
	for _, step := range []func() error{b.Flush, f.Close, func() error { return os.Chtimes(name, w.at, w.at) }} {
		if w.err == nil {
			w.err = step()
		}
	}
	w.at = w.at.Add(time.Minute)
	w.files++
	w.bytes += size
}

// prose is endless text that compresses as an app's settings and messages do, about threefold.
type prose struct {
	rnd  *rand.Rand
	rest []byte
}

func (p *prose) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		words := []string{"message", "contact", "thumbnail", "timestamp", "conversation", "attachment", "status", "delivered"}
		p.rest = fmt.Appendf(nil, "{\"%s\": %d, \"%s\": \"%016x\"},\n", words[p.rnd.IntN(8)], p.rnd.IntN(1e6), words[p.rnd.IntN(8)], p.rnd.Uint64())
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
