package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// secondBytes is what a second phone brings: enough that chunks and packs are under way for as long as it takes.
const secondBytes = 3 << 30

// photos makes a phone of about so many bytes that no vault has seen: photos of 1 to 7 MB, each with a preview, and now and
// then a video.
func photos(dir string, bytes int64) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	var seed [32]byte
	copy(seed[:], time.Now().String())
	content := rand.NewChaCha8(seed)
	r := rand.New(content)
	for i := 0; bytes > 0; i++ {
		folder := filepath.Join(dir, "DCIM", fmt.Sprintf("%03dMEDIA", 100+i/500))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		size := 1<<20 + r.Int64N(6<<20)
		if i%100 == 99 {
			size = 200 << 20
		}
		for name, size := range map[string]int64{"IMG_%05d.jpg": size, "IMG_%05d.thumb": 8<<10 + r.Int64N(32<<10)} {
			if err := photo(filepath.Join(folder, fmt.Sprintf(name, i)), io.LimitReader(content, size)); err != nil {
				return err
			}
			bytes -= size
		}
	}
	return nil
}

// photo makes a file.
func photo(name string, content io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		_ = f.Close() // the first error counts
		return err
	}
	return f.Close()
}
