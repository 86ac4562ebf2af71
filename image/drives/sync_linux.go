package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"phonebackupbox/storage/drive"
)

// syncBlobs is how many blobs a Sync makes durable here.
const syncBlobs = 3

// syncs puts blobs on every disk and syncs, says so, and waits for a line, again and again: whoever reads cuts the power
// where nothing but that Sync can have made them durable.
func syncs(g *guest) error {
	from, err := g.synced()
	if err != nil {
		return err
	}
	drives := make([]*drive.Drive, len(g.media))
	for i, m := range g.media {
		if drives[i], err = openOrCreate(m); err != nil {
			return err
		}
	}
	in := bufio.NewScanner(os.Stdin)
	for n := from + 1; ; n++ {
		for i, d := range drives {
			for k := range syncBlobs {
				name, p := syncBlob(g.media[i].fstype, n, k)
				if err := d.Put(context.Background(), name, p); err != nil {
					return err
				}
			}
			if err := d.Sync(context.Background()); err != nil {
				return err
			}
		}
		say("SYNCED %d", n)
		if !in.Scan() {
			return errors.Join(errors.New("nobody cut the power"), in.Err())
		}
	}
}

func openOrCreate(m medium) (*drive.Drive, error) {
	if !exists(filepath.Join(m.dir, "sync")) {
		return drive.Create(filepath.Join(m.dir, "sync"), "0f8fad5b-d9cb-469f-a165-70867728950e")
	}
	return drive.Open(filepath.Join(m.dir, "sync"), drive.Options{})
}

// synced is up to which number the test was told that blobs are durable.
func (g *guest) synced() (n int, err error) {
	if _, err := fmt.Sscan(g.args["synced"], &n); err != nil {
		return 0, fmt.Errorf("synced=%q: %w", g.args["synced"], err)
	}
	return n, nil
}

// syncBlob is the kth blob of the nth Sync.
func syncBlob(fstype string, n, k int) (name string, p []byte) {
	r := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-16s%8d%8d", fstype, n, k))))
	var id [32]byte
	p = make([]byte, 5000+r.Uint64()%60_000)
	_, _ = r.Read(id[:]) // never fails (math/rand/v2)
	_, _ = r.Read(p)
	return fmt.Sprintf("data/%02x/%x", id[0], id), p
}

// held looks whether all is there that was said to be durable.
func held(g *guest) error {
	upTo, err := g.synced()
	if err != nil {
		return err
	}
	for _, m := range g.media {
		d, err := drive.Open(filepath.Join(m.dir, "sync"), drive.Options{})
		if err != nil {
			return fmt.Errorf("%s: %w", m.fstype, err)
		}
		for n := range upTo {
			for k := range syncBlobs {
				name, want := syncBlob(m.fstype, n+1, k)
				got := make([]byte, len(want)+1)
				size, err := d.Get(context.Background(), name, 0, got)
				if err != io.EOF || !bytes.Equal(got[:size], want) {
					return fmt.Errorf("%s: blob %d of Sync %d: %d bytes of %d, %v", m.fstype, k, n+1, size, len(want), err)
				}
			}
		}
		if err := d.Close(); err != nil {
			return fmt.Errorf("%s: %w", m.fstype, err)
		}
	}
	say("HELD %d", upTo)
	return nil
}
