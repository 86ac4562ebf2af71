package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"phonebackupbox/image/card"
)

// mountPerm mounts the one place that the box writes to, grown to the card's end, checked, and made anew on a card that never
// had one. If it cannot be mounted, the box runs without a memory: that is told, and what is there is left as it is.
func mountPerm(r *reaper) {
	if err := perm(r); err != nil {
		say("/perm cannot be used, and is left as it is: %v", err)
		say("settings, pairings and the key that are on it are not used; what the box notes is lost when it is switched off")
		if err := unix.Mount("tmpfs", "/perm", "tmpfs", strict, "size=25%,mode=700"); err != nil {
			say("mount /perm: %v", err)
		}
		defer func() { // boxd must not make a key there: it would be gone with the power
			if err := os.WriteFile("/perm/box/not-kept", nil, 0o600); err != nil {
				say("%v", err)
			}
		}()
	}
	if err := os.Mkdir("/perm/box", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		say("%v", err)
	}
}

func perm(r *reaper) error {
	c, err := card.Find()
	if err != nil {
		return err
	}
	if err := grow(c); err != nil {
		say("/perm stays as small as it is: %v", err)
	}
	device := c.Part(card.Perm)
	blank, err := isBlank(device)
	if err != nil {
		return err
	}
	mounted := false
	if blank {
		say("/perm is made: the card is blank there")
		if code, err := r.run(program("mke2fs"), "-q", "-F", "-t", "ext4", "-L", "perm", device); err != nil || code != 0 {
			return errors.Join(fmt.Errorf("mke2fs ended with %d", code), err)
		}
	} else if mounted = clean(device) && mountExt4(device) == nil; !mounted { // what looks clean may be half a superblock
		if err := check(r.run, device); err != nil {
			return err
		}
	}
	if !mounted {
		if err := mountExt4(device); err != nil {
			return fmt.Errorf("mount %s: %w", device, err)
		}
	}
	if err := fill(device); err != nil {
		say("the file system on /perm stays as small as it is: %v", err)
	}
	return nil
}

func mountExt4(device string) error {
	return unix.Mount(device, "/perm", "ext4", strict|unix.MS_NOATIME, "errors=remount-ro")
}

// grow makes the last partition reach to the card's end, in the table and in the kernel's mind.
func grow(c card.Card) error {
	size, err := c.Size()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.Device(), os.O_RDWR|unix.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	mbr := make([]byte, 512) // one sector: written wholly, or not at all
	if _, err := io.ReadFull(f, mbr); err != nil {
		return err
	}
	start, length, grown, err := card.Grow(mbr, size)
	if err != nil || !grown {
		return err
	}
	if _, err := f.WriteAt(mbr, 0); err != nil {
		return err
	}
	// struct blkpg_partition and blkpg_ioctl_arg, Linux, include/uapi/linux/blkpg.h.
	part := struct {
		start, length    int64
		number           int32
		device, nameless [64]byte
	}{start: start, length: length, number: card.Perm}
	arg := struct {
		op, flags, length int32
		data              unsafe.Pointer
	}{op: blkpgResize, length: int32(unsafe.Sizeof(part)), data: unsafe.Pointer(&part)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return fmt.Errorf("the partition's new size: %w", errno)
	}
	say("/perm reaches to the card's end now: %d MB", length/1e6)
	return nil
}

const blkpgResize = 3 // BLKPG_RESIZE_PARTITION

// blankness is how much of a partition is looked at to tell whether anything was ever on it, in bytes.
const blankness = 1 << 20

// isBlank reports whether nothing at all is at the beginning of a partition.
func isBlank(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, blankness))
	if err != nil {
		return false, fmt.Errorf("%s: %w", device, err)
	}
	return len(bytes.Trim(b, "\x00")) == 0, nil
}

// clean reports whether an ext4 file system was unmounted and has no errors: all that e2fsck -p would look at (Linux,
// Documentation/filesystems/ext4/super.rst).
func clean(device string) bool {
	const (
		magic   = 0xef53
		valid   = 1   // as its state; 2 is for errors
		journal = 0x4 // among its compatible features
		recover = 0x4 // among its incompatible ones: the journal is to be replayed
	)
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 1024)
	if _, err := f.ReadAt(b, 1024); err != nil {
		return false
	}
	return binary.LittleEndian.Uint16(b[56:]) == magic && binary.LittleEndian.Uint16(b[58:]) == valid &&
		binary.LittleEndian.Uint32(b[92:])&journal != 0 && binary.LittleEndian.Uint32(b[96:])&recover == 0
}

// mends is how often e2fsck may try. A power cut can leave half of a superblock that was being written. e2fsck then takes one of the
// others; where that one is from when the file system was grown while it was mounted, e2fsck plays the journal back, which brings
// the first superblock back, ends with 12, and finds all in order when it is run once more.
const mends = 2

// check has e2fsck mend what a power cut left; its exit codes are bits (e2fsck(8)): 1 mended, 2 mended and to be mounted anew,
// 4 not mended, 8 not even looked at, as when its superblock is gone: then -y takes one of the others.
func check(run func(args ...string) (int, error), device string) error {
	bad := func(code int) bool { return code > 3 || code < 0 }
	code, err := run(program("e2fsck"), "-p", device)
	for try := 0; try < mends && err == nil && bad(code); try++ {
		say("/perm is damaged (e2fsck ended with %d); it is mended as far as can be", code)
		code, err = run(program("e2fsck"), "-f", "-y", device)
	}
	if errors.Is(err, fs.ErrNotExist) {
		say("/perm is not checked: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if bad(code) {
		return fmt.Errorf("e2fsck ended with %d", code)
	}
	return nil
}

// fill grows the mounted file system to its partition's size.
func fill(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	dir, err := os.Open("/perm")
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return err
	}
	blocks := uint64(size / st.Bsize)
	if st.Blocks >= blocks-blocks/8 { // st.Blocks is without what the file system needs for itself
		return nil
	}
	// EXT4_IOC_RESIZE_FS is _IOW('f', 16, __u64), Linux, fs/ext4/ext4.h. It grows while mounted, and a power cut leaves either size.
	const resize = 1<<30 | 8<<16 | 'f'<<8 | 16
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), resize, uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return fmt.Errorf("resize: %w", errno)
	}
	return nil
}

// program is the path of one of the image's programs, whichever of the usual folders it lies in.
func program(name string) string {
	for _, dir := range []string{"/sbin", "/bin", "/usr/sbin"} {
		if path := dir + "/" + name; unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	return "/sbin/" + name
}
