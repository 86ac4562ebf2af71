package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// content is what a disk holds that its owner may miss.
type content int

const (
	nothing  content = iota // that we know of
	ourCard                 // the card of a box
	ourDrive                // a drive with a box's backups
)

const (
	// step is how much is read or written at once, in bytes.
	step = 4 << 20
	// searched is how much of a partition's beginning is searched for the names of a drive's files. The root folders of ext4,
	// exFAT and FAT begin within it on every disk that is taken for a card.
	searched = 256 << 20
)

// marks are names that a box's drive has in its root: as ext4 writes them, as exFAT does, in two bytes a letter and 15 to a
// piece, and as FAT does, 5, 6 and 2 to a piece with other bytes between.
var marks = [][]byte{[]byte("phone-backup-box"), wide("phone-backup-bo")}

var fatMark = [][]byte{wide("phone"), wide("-backu"), wide("p-")}

func wide(s string) []byte {
	b := make([]byte, 0, 2*len(s))
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return b
}

// look finds out what a disk holds, by reading where file systems have their root folder.
func look(ctx context.Context, r io.ReaderAt, d disk) (content, error) {
	mbr := make([]byte, 512)
	if _, err := r.ReadAt(mbr, 0); err != nil {
		return nothing, fmt.Errorf("%s: %w", d.path, err)
	}
	if signature(mbr)>>16 == family {
		return ourCard, nil
	}
	for _, p := range append([]part{{}}, d.parts...) {
		found, err := marked(ctx, io.NewSectionReader(r, p.start, min(searched, d.size-p.start)))
		if err != nil {
			return nothing, fmt.Errorf("%s: %w", d.path, err)
		}
		if found {
			return ourDrive, nil
		}
	}
	return nothing, nil
}

// marked reports whether the mark of a box's drive is in r.
func marked(ctx context.Context, r io.Reader) (bool, error) {
	const overlap = 64 // more than the longest mark: one that lies across two reads is found, too
	buf := make([]byte, overlap+step)
	for kept := 0; ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(r, buf[kept:])
		b := buf[:kept+n]
		for _, m := range marks {
			if bytes.Contains(b, m) {
				return true, nil
			}
		}
		if fatMarked(b) {
			return true, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf, b[len(b)-overlap:])
	}
}

// fatMarked looks for the first piece of a long name in FAT: a byte, 5 letters, 3 bytes, 6 letters, 2 bytes, 2 letters
// (Microsoft's FAT specification, "Long File Name Implementation").
func fatMarked(b []byte) bool {
	for {
		i := bytes.Index(b, fatMark[0])
		if i < 0 || len(b) < i+31 {
			return false
		}
		if p := b[i:]; bytes.HasPrefix(p[13:], fatMark[1]) && bytes.HasPrefix(p[27:], fatMark[2]) {
			return true
		}
		b = b[i+1:]
	}
}

// write writes an image of n bytes, makes it durable, and compares what the card gives back with it.
func write(ctx context.Context, to card, src io.ReaderAt, n int64, out io.Writer) error {
	tell := func(what string, at int64) { fmt.Fprintf(out, "\r%s %3d %%", what, at*100/n) }
	err := each(ctx, n, func(b []byte, at int64) error {
		if _, err := src.ReadAt(b, at); err != nil {
			return err
		}
		_, err := to.WriteAt(b, at)
		tell("writing", at+int64(len(b)))
		return err
	})
	if err == nil {
		fmt.Fprint(out, "\nflushing\n")
		err = to.Sync()
	}
	if err != nil {
		return fmt.Errorf("the card is not written: %w", err)
	}
	if err := to.forget(); err != nil {
		return fmt.Errorf("it cannot be read back: %w", err)
	}
	got := make([]byte, step)
	err = each(ctx, n, func(b []byte, at int64) error {
		if _, err := src.ReadAt(b, at); err != nil {
			return err
		}
		got := got[:len(b)]
		if _, err := to.ReadAt(got, at); err != nil {
			return err
		}
		if !bytes.Equal(got, b) {
			return fmt.Errorf("other bytes than were written, from %d on: use another card", at)
		}
		tell("reading back", at+int64(len(b)))
		return nil
	})
	fmt.Fprintln(out)
	if err != nil {
		return fmt.Errorf("the card does not hold what was written: %w", err)
	}
	return nil
}

// each calls do with each part of n bytes.
func each(ctx context.Context, n int64, do func(b []byte, at int64) error) error {
	buf := make([]byte, step)
	for at := int64(0); at < n; at += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(buf[:min(step, n-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// card is what is written to.
type card interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	// forget has the kernel forget what it has of the card in memory: what is read next comes from the card.
	forget() error
}

// inReader is a card in a reader.
type inReader struct{ *os.File }

func (c inReader) forget() error {
	if err := unix.IoctlSetInt(int(c.Fd()), unix.BLKFLSBUF, 0); err != nil && !errors.Is(err, unix.ENOTTY) {
		return os.NewSyscallError("BLKFLSBUF", err)
	}
	return os.NewSyscallError("fadvise", unix.Fadvise(int(c.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// show has the desktop see the new partitions. It is no matter if it does not.
func (c inReader) show() { _ = unix.IoctlSetInt(int(c.Fd()), unix.BLKRRPART, 0) }
