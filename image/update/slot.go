package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
)

// Medium is where bytes stay: a partition, or a file on the boot partition.
type Medium interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable, and has what is read after it come from the medium itself, not from a cache.
	Sync() error
}

// Slot is one of the two partitions that hold a root, by its number in the partition table.
type Slot int

// The slots.
const (
	SlotA Slot = 2
	SlotB Slot = 3
)

// Other is the slot that s is not.
func (s Slot) Other() Slot { return SlotA + SlotB - s }

// ErrTooLarge: the root does not fit its partition.
var ErrTooLarge = errors.New("the update is larger than the room for it on this card: write the new card image instead (make flash)")

// step is how much is written and read at once, in bytes.
const step = 1 << 20

// Install writes the root that follows h in r to a partition of room bytes which no running system uses, and reads it back.
// When it returns nil, exactly what was signed is there and durable. When it does not, the partition may hold anything.
// watch, if not nil, is told how many bytes were written.
func Install(ctx context.Context, r io.Reader, h Header, to Medium, room int64, watch func(done int64)) error {
	if h.Size > room {
		return ErrTooLarge
	}
	if err := Take(ctx, r, h, to, watch); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return fmt.Errorf("update: flush: %w", err)
	}
	sum := sha256.New()
	buf := make([]byte, step)
	for at := int64(0); at < h.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(step, h.Size-at)]
		if n, err := to.ReadAt(p, at); n < len(p) {
			return fmt.Errorf("update: read back: %w", err)
		}
		sum.Write(p)
		at += int64(len(p))
	}
	if !h.fits(sum) {
		return errors.New("update: the card does not give back what was written to it: replace the card")
	}
	return nil
}

// Take writes the root that follows h in r to a file or a partition, and checks that it is the one that h vouches for and that nothing
// follows it. watch is Install's.
func Take(ctx context.Context, r io.Reader, h Header, to io.WriterAt, watch func(done int64)) error {
	sum := sha256.New()
	buf := make([]byte, step)
	for at := int64(0); at < h.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(step, h.Size-at)]
		if _, err := io.ReadFull(r, p); err != nil {
			return shortOf(err, ErrDamaged)
		}
		sum.Write(p)
		if _, err := to.WriteAt(p, at); err != nil {
			return fmt.Errorf("update: write: %w", err)
		}
		at += int64(len(p))
		if watch != nil {
			watch(at)
		}
	}
	if !h.fits(sum) {
		return ErrDamaged
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n != 0 {
		return ErrDamaged
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("update: read: %w", err)
	}
	return nil
}

func (h Header) fits(sum hash.Hash) bool { return hex.EncodeToString(sum.Sum(nil)) == h.SHA256 }

// maxLine bounds a kernel command line, in bytes (arm64: COMMAND_LINE_SIZE is 2048).
const maxLine = 2048

// rootArg finds the root's partition in a command line: the disk's signature in hexadecimal and the partition's number, as the
// kernel wants them for an MBR (Linux, block/early-lookup.c).
var rootArg = regexp.MustCompile(`(?:^|\s)root=PARTUUID=([0-9a-f]{8})-0([23])(?:\s|$)`)

// Root reads a command line: the signature of the disk, and the slot that it starts from.
func Root(line []byte) (disk string, slot Slot, err error) {
	at, err := digit(line)
	if err != nil {
		return "", 0, err
	}
	return string(line[at-10 : at-2]), Slot(line[at] - '0'), nil
}

// digit is where in a command line the number of the slot is.
func digit(line []byte) (int, error) {
	found := rootArg.FindAllSubmatchIndex(line, 2)
	if len(found) != 1 || bytes.Count(line, []byte("root=")) != 1 {
		return 0, errors.New("update: the command line does not name one of the two root partitions, once")
	}
	return found[0][4], nil
}

// Point has the command line in file start from a slot. One byte of the file changes, in its place: a sector that the power
// cut tore, whatever part of it is old, is the old line or the new one and never a third. FAT has no rename that would do.
func Point(file Medium, slot Slot) error {
	line, err := readLine(file)
	if err != nil {
		return err
	}
	at, err := digit(line)
	if err != nil {
		return err
	}
	if line[at] == '0'+byte(slot) {
		return nil
	}
	if _, err := file.WriteAt([]byte{'0' + byte(slot)}, int64(at)); err != nil {
		return fmt.Errorf("update: command line: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("update: command line: %w", err)
	}
	if line, err = readLine(file); err != nil {
		return err
	}
	if _, now, err := Root(line); err != nil || now != slot {
		return errors.New("update: the card does not give back what was written to it: replace the card")
	}
	return nil
}

func readLine(file io.ReaderAt) ([]byte, error) {
	line, err := io.ReadAll(io.NewSectionReader(file, 0, maxLine+1))
	if err != nil {
		return nil, fmt.Errorf("update: command line: %w", err)
	}
	if len(line) > maxLine {
		return nil, fmt.Errorf("update: the command line is longer than %d bytes", maxLine)
	}
	return line, nil
}
