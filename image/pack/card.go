package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The card, in bytes. A root has room to grow: an update must fit into the slot that is there.
const (
	sector    = 512
	mib       = 1 << 20
	bootStart = 4 * mib
	bootSize  = 128 * mib
	rootSize  = 192 * mib
	permSize  = 64 * mib // grown to the card's end by the first start
	imageSize = bootStart + bootSize + 2*rootSize + permSize
)

const (
	// diskID is the MBR's signature: the kernel finds the root by it and the partition's number, as PARTUUID.
	diskID = 0xb0c5b0c5
)

// made dates every file and file system: two builds must not differ by when they ran.
var made = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// contents is what goes onto a card.
type contents struct {
	version          string
	kernel, firmware string            // folders
	programs         map[string]string // name in the root → file here
	files            map[string]string // as programs, but nothing to run
	terms            map[string]string // whose licence → file here
	goTerms          []byte            // the licences of Go and of modules
	sources          string            // image/sources/list
	out              string
}

// write makes the image beside out, and gives it its name when it is whole.
func (c contents) write(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.out), ".pack")
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	boot, root, perm, image := filepath.Join(dir, "boot"), filepath.Join(dir, "root"), filepath.Join(dir, "perm"), filepath.Join(dir, "image")
	if err := c.makeBoot(ctx, boot, dir); err != nil {
		return err
	}
	if err := c.makeRoot(ctx, root, dir); err != nil {
		return err
	}
	if err := makePerm(ctx, perm); err != nil {
		return err
	}
	f, err := os.Create(image)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	err = errors.Join(f.Truncate(imageSize), writeTable(f), place(f, boot, bootStart, bootSize),
		place(f, root, bootStart+bootSize, rootSize), place(f, perm, bootStart+bootSize+2*rootSize, permSize), f.Close())
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return os.Rename(image, c.out)
}

// writeTable writes the MBR: boot, root A, root B, /perm.
func writeTable(w io.WriterAt) error {
	const fat32, linux, active = 0x0c, 0x83, 0x80
	mbr := make([]byte, sector)
	binary.LittleEndian.PutUint32(mbr[440:], diskID)
	at := uint32(bootStart / sector)
	for i, p := range []struct {
		flag, kind byte
		size       uint32 // bytes
	}{{active, fat32, bootSize}, {0, linux, rootSize}, {0, linux, rootSize}, {0, linux, permSize}} {
		e := mbr[446+16*i:][:16]
		copy(e, []byte{p.flag, 0xfe, 0xff, 0xff, p.kind, 0xfe, 0xff, 0xff}) // cylinders and heads: none
		binary.LittleEndian.PutUint32(e[8:], at)
		binary.LittleEndian.PutUint32(e[12:], p.size/sector)
		at += p.size / sector
	}
	mbr[510], mbr[511] = 0x55, 0xaa
	_, err := w.WriteAt(mbr, 0)
	return err
}

// place copies a file system to where its partition begins.
func place(w io.WriterAt, path string, at, most int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(io.NewOffsetWriter(w, at), f)
	if err == nil && n > most {
		err = fmt.Errorf("%s has %d bytes; its partition takes %d", filepath.Base(path), n, most)
	}
	return err
}

// makePerm makes an empty ext4 file system. Its identifiers are fixed: each box's card is told from another's by what is on it.
func makePerm(ctx context.Context, path string) error {
	const id = "b0c5b0c5-0000-4000-8000-000000000004"
	return tool(ctx, "e2fsprogs", "mke2fs", "-q", "-t", "ext4", "-L", "perm", "-U", id, "-E", "hash_seed="+id+",root_owner=0:0,lazy_itable_init=0",
		path, fmt.Sprintf("%dk", permSize/1024))
}

// tool runs a program of a Debian package, with the clock as made.
func tool(ctx context.Context, pkg, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // not on the path of those who are not root
	}
	if err != nil {
		return fmt.Errorf("pack: %s is missing (Debian: apt-get install %s)", name, pkg)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	epoch := strconv.FormatInt(made.Unix(), 10)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch, "E2FSPROGS_FAKE_TIME="+epoch, "TZ=UTC", "LC_ALL=C", "MTOOLS_SKIP_CHECK=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pack: %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
