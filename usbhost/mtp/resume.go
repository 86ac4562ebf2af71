package mtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"phonebackupbox/usbhost"
)

// Of a file that an earlier run began, the first bytes and the last megabyte of what is stored are read once more and compared
// before it is gone on with. The first bytes are those that change with every commit to a database (SQLite's change counter
// is at 24) and when a film is finished. Neither length lets a packet be full (see windowGap).
const (
	headSample = 4000
	tailSample = bufSize - windowGap
)

// resume finds out whether the tree has the beginning of a file from an earlier run, and lets the job go on from there. Size
// and date are as they were, or the tree offers nothing. Its error ends the run.
func (b *backup) resume(ctx context.Context, f *fetcher, j *job) error {
	tree, ok := b.into.(usbhost.Resumer)
	if !ok || j.file.size <= careful || !f.partly(j.file.size) || j.file.mtime == unknownTime {
		return nil
	}
	begun, err := tree.Begun(j.path, j.file.size, j.file.time())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("begin %q: %w", j.path, err)
	}
	from := begun.Size()
	if from <= 0 || from >= j.file.size {
		return nil
	}
	tail := min(from, tailSample)
	for _, part := range []struct{ off, n int64 }{{from - tail, tail}, {0, min(headSample, from-tail)}} {
		same, err := f.sameBytes(ctx, j, begun, part.off, part.n)
		if err != nil && fatal(ctx, err) {
			return err
		}
		if err != nil || !same {
			b.p.s.log.Info("mtp: the beginning of a file is not what it was; reading it anew", "bytes", from, "err", err)
			return nil
		}
	}
	j.from = from
	j.item.Had(from)
	return nil
}

// sameBytes compares n bytes of a file on the phone with those that the tree has.
func (f *fetcher) sameBytes(ctx context.Context, j *job, have io.ReaderAt, off, n int64) (bool, error) {
	if n > windowGap && (n%512 == 0 || (n+headerSize)%512 == 0) {
		off, n = off+1, n-1
	}
	if n <= 0 {
		return true, nil
	}
	buf, err := f.buffer(ctx)
	if err != nil {
		return false, err
	}
	defer func() { f.pool <- buf }()
	r := f.s.partial(j.file.handle, off, n)
	got := 0
	r.read = func(ctx context.Context, x *exchange) error {
		x.expect(n)
		var err error
		got, err = io.ReadFull(&dataReader{ctx: ctx, x: x}, buf[:n])
		j.item.Again(got)
		return err
	}
	if _, err := f.s.do(ctx, r); err != nil {
		return false, err
	}
	if int64(got) < n {
		return false, nil
	}
	want := make([]byte, n)
	if m, err := have.ReadAt(want, off); int64(m) < n {
		return false, fmt.Errorf("read the snapshot: %w", err)
	}
	return bytes.Equal(buf[:n], want), nil
}
