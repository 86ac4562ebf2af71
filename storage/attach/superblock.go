package attach

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// superblock is what a file system says of itself.
type superblock struct {
	Type  string // as mount(2) calls it; "" for what the box does not mount
	Name  string // as people call it; "" for nothing known
	UUID  string // lower-case hexadecimal digits, 8 or 32; not sure to be unique
	Label string // that its owner gave it; "" if none, or not known
	Dirty bool   // it was not unmounted, or has errors
	Use   string // what it is used for, where it is nothing to be mounted: in words that go on after "is"
}

// head is how much is read of a device to find out what is on it: Btrfs has its superblock at 64 KiB.
const head = 68 << 10

// probe finds out which file system a device holds. It reads head bytes, and fewer are no error: the device is small.
func probe(r io.ReaderAt) (superblock, error) {
	b := make([]byte, head)
	if n, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
		return superblock{}, fmt.Errorf("attach: read: %w", err)
	} else if n == 0 {
		return superblock{}, fmt.Errorf("attach: read: %w", io.ErrUnexpectedEOF)
	}
	for _, parse := range []func([]byte) (superblock, bool){signed, ext, exFAT, fat} {
		if s, ok := parse(b); ok {
			return s, nil
		}
	}
	return superblock{}, nil
}

const (
	forWindows = "for Windows, which this box cannot write safely"
	forMacs    = "for Macs, which this box cannot write"
	forServers = "which this box cannot mount"
	sealed     = "encrypted by another computer"
	squashfs   = "squashfs"
)

// signatures tell apart what the box does not mount: libblkid knows the same places (util-linux, libblkid/src/superblocks).
var signatures = []struct {
	at    int
	magic string
	is    superblock
}{
	{3, "NTFS    ", superblock{Name: "NTFS", Use: forWindows}},
	{3, "-FVE-FS-", superblock{Name: "BitLocker", Use: sealed}},
	{3, "ReFS\x00\x00\x00\x00", superblock{Name: "ReFS", Use: forWindows}},
	{0, "LUKS\xba\xbe", superblock{Name: "LUKS", Use: sealed}},
	{32, "NXSB", superblock{Name: "APFS", Use: forMacs}},
	{1024, "H+\x00\x04", superblock{Name: "HFS+", Use: forMacs}},
	{1024, "HX\x00\x05", superblock{Name: "HFS+", Use: forMacs}},
	{1024, "BD", superblock{Name: "HFS", Use: forMacs}},
	{64<<10 + 64, "_BHRfS_M", superblock{Name: "Btrfs", Use: forServers}},
	{0, "XFSB", superblock{Name: "XFS", Use: forServers}},
	{1024, "\x10\x20\xf5\xf2", superblock{Name: "F2FS", Use: forServers}},
	{0, "hsqs", superblock{Name: squashfs, Use: "a system's own, for reading only"}},
	{32<<10 + 1, "CD001", superblock{Name: "CD-ROM", Use: "for reading only"}},
	{512, "LABELONE", superblock{Name: "LVM", Use: forServers}},
	{4096 - 10, "SWAPSPACE2", superblock{Name: "swap", Use: "a computer's swap space"}},
	{4096, "\xfc\x4e\x2b\xa9", superblock{Name: "Linux RAID", Use: "part of a RAID of another computer"}},
}

func signed(b []byte) (superblock, bool) {
	for _, s := range signatures {
		if bytes.HasPrefix(b[s.at:], []byte(s.magic)) {
			return s.is, true
		}
	}
	return superblock{}, false
}

// ext parses the superblock of ext2, ext3 and ext4 (Linux, Documentation/filesystems/ext4/super.rst).
func ext(b []byte) (superblock, bool) {
	const (
		magic      = 0xef53
		hasJournal = 0x4 // among the compatible features
		recover    = 0x4 // among the incompatible ones: the journal is to be replayed
		journalDev = 0x8
		extents    = 0x40
		clean      = 1 // of the states; 2 is for errors
	)
	b = b[1024:2048]
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	if binary.LittleEndian.Uint16(b[56:]) != magic {
		return superblock{}, false
	}
	compatible, incompatible, state := u32(92), u32(96), binary.LittleEndian.Uint16(b[58:])
	s := superblock{UUID: hex.EncodeToString(b[104:120]), Label: label(b[120:136]), Dirty: state != clean || incompatible&recover != 0}
	switch {
	case incompatible&journalDev != 0:
		s = superblock{Name: "ext4 journal", Use: "the journal of another computer's drive"}
	case compatible&hasJournal == 0:
		s.Type, s.Name = "ext2", "ext2"
	case incompatible&extents == 0:
		s.Type, s.Name = "ext4", "ext3" // the driver of ext4 has both
	default:
		s.Type, s.Name = "ext4", "ext4"
	}
	return s, true
}

// exFAT parses its boot sector (Microsoft, "exFAT file system specification", 3.1).
func exFAT(b []byte) (superblock, bool) {
	const dirty, failed = 0x2, 0x4 // of VolumeFlags
	if !bytes.HasPrefix(b[3:], []byte("EXFAT   ")) || b[510] != 0x55 || b[511] != 0xaa {
		return superblock{}, false
	}
	flags := binary.LittleEndian.Uint16(b[106:])
	return superblock{Type: "exfat", Name: "exFAT", UUID: fmt.Sprintf("%08x", binary.LittleEndian.Uint32(b[100:])), Dirty: flags&(dirty|failed) != 0}, true
}

// fat parses the boot sector of FAT12, FAT16 and FAT32 (Microsoft, "FAT: General Overview of On-Disk Format", 1.03, p. 9 to 12).
// What is dirty is told by a byte that the specification reserves for Windows and that Linux uses as Windows does
// (fs/fat/inode.c, fat_set_state).
func fat(b []byte) (superblock, bool) {
	const dirty = 0x3 // not unmounted, or a disk error
	jump := b[0] == 0xeb && b[2] == 0x90 || b[0] == 0xe9
	sector, cluster, tables := binary.LittleEndian.Uint16(b[11:]), b[13], b[16]
	if !jump || b[510] != 0x55 || b[511] != 0xaa || tables == 0 || tables > 2 || cluster == 0 || cluster&(cluster-1) != 0 ||
		sector < 512 || sector > 4096 || sector&(sector-1) != 0 {
		return superblock{}, false
	}
	at, name := 0x40, "FAT32" // the block of BS_DrvNum, which lies further on in FAT32
	if binary.LittleEndian.Uint16(b[22:]) != 0 {
		at, name = 0x24, "FAT"
	}
	s := superblock{Type: "vfat", Name: name, Dirty: b[at+1]&dirty != 0, UUID: "00000000"}
	if b[at+2] == 0x29 { // the fields that follow are there
		s.UUID, s.Label = fmt.Sprintf("%08x", binary.LittleEndian.Uint32(b[at+3:])), label(b[at+7:at+18])
	}
	if s.Label == "NO NAME" {
		s.Label = ""
	}
	return s, true
}

// label is the text in a field that spaces or zeros fill up.
func label(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, string(b)))
}
