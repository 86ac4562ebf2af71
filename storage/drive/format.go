package drive

import (
	"errors"
	"fmt"
)

// Format is what is known of the file system that a folder lies on.
type Format struct {
	Type   string `json:"type"`             // as the operating system calls it, such as "vfat"; "" if it does not tell
	Name   string `json:"name"`             // as people call it, such as "FAT32"
	Device string `json:"device,omitempty"` // such as "/dev/sda1"
	Mount  string `json:"mount,omitempty"`  // the mount point

	// MaxFile is the size of the largest file, in bytes; 0 where it is far more than any drive holds.
	MaxFile int64 `json:"max_file,omitempty"`
	// Fragile file systems keep no journal: a power cut may tear names that were being given. Drives on them are sure to
	// open in stock restic only once they were let go of.
	Fragile bool `json:"fragile,omitempty"`
	// Refusal says why no drive is made there, in words, "" if one may be; Warning says what is bad about it.
	Refusal string `json:"refusal,omitempty"`
	Warning string `json:"warning,omitempty"`

	mend    string // the program that mends it without asking
	cluster int64  // the least that a folder takes, in bytes; known of a Drive only
}

// ErrFormat: drives are not made on such a file system.
var ErrFormat = errors.New("not fit for a drive")

// maxFAT is the largest file on FAT, 4 GiB − 1 (Microsoft, "FAT: General Overview of On-Disk Format", 1.03, p. 6).
const maxFAT = 1<<32 - 1

const (
	reformat   = "; format it as exFAT (this erases it) and try again"
	notADrive  = " is no drive that can be unplugged; backups here are lost with this computer"
	readOnlyFS = " can be read only; use a drive that can be written to"
)

// formats is what we know of file systems, by the names that Linux gives them. Linux's drivers for NTFS and HFS+ cannot
// mend what a power cut does to them, and the box's kernel has neither.
var formats = map[string]Format{
	"ext2":  {Name: "ext2", Fragile: true, mend: "e2fsck -p"},
	"ext3":  {Name: "ext3"},
	"ext4":  {Name: "ext4"},
	"xfs":   {Name: "XFS"},
	"btrfs": {Name: "Btrfs"},
	"f2fs":  {Name: "F2FS"},
	"zfs":   {Name: "ZFS"},
	"exfat": {Name: "exFAT", Fragile: true, mend: "fsck.exfat -p"},
	"vfat":  {Name: "FAT32", Fragile: true, MaxFile: maxFAT, mend: "fsck.vfat -a"},
	"msdos": {Name: "FAT", Fragile: true, MaxFile: maxFAT, Refusal: "is mounted without long names (msdos); mount it as vfat"},

	"ntfs":    {Name: "NTFS", Refusal: "is formatted NTFS, for Windows, which a power cut can damage here" + reformat},
	"ntfs3":   {Name: "NTFS", Refusal: "is formatted NTFS, for Windows, which a power cut can damage here" + reformat},
	"fuseblk": {Name: "NTFS or the like", Refusal: "is formatted NTFS or another way that this system reads with a program of its own (FUSE)" + reformat},
	"hfs":     {Name: "HFS", Refusal: "is formatted HFS, for old Macs" + reformat},
	"hfsplus": {Name: "HFS+", Refusal: "is formatted HFS+, for Macs, which Linux cannot write safely" + reformat},
	"apfs":    {Name: "APFS", Refusal: "is formatted APFS, for Macs, which Linux cannot write" + reformat},

	"iso9660":  {Name: "CD-ROM", Refusal: "is a CD-ROM, which" + readOnlyFS},
	"udf":      {Name: "UDF", Refusal: "is formatted UDF, for discs" + reformat},
	"squashfs": {Name: "SquashFS", Refusal: "is a SquashFS image, which" + readOnlyFS},
	"erofs":    {Name: "EROFS", Refusal: "is an EROFS image, which" + readOnlyFS},

	"tmpfs":   {Name: "tmpfs", Warning: "lies in memory: it is gone when this computer is switched off"},
	"ramfs":   {Name: "ramfs", Warning: "lies in memory: it is gone when this computer is switched off"},
	"overlay": {Name: "overlay", Warning: "lies in a container's own files:" + notADrive},
	"9p":      {Name: "9p", Warning: "is a folder shared with a virtual machine:" + notADrive},
	"nfs":     {Name: "NFS", Warning: "lies on the network (NFS): what is flushed may not be safe there"},
	"nfs4":    {Name: "NFS", Warning: "lies on the network (NFS): what is flushed may not be safe there"},
	"cifs":    {Name: "SMB", Warning: "lies on the network (SMB): what is flushed may not be safe there"},
	"smb3":    {Name: "SMB", Warning: "lies on the network (SMB): what is flushed may not be safe there"},
}

// formatOf looks a file system up by the system's name for it.
func formatOf(fstype string) Format {
	f, known := formats[fstype]
	if !known {
		f.Name = fstype
	}
	f.Type = fstype
	return f
}

// CheckFormat returns ErrFormat, in words, if no drive should be made in the folder dir.
func CheckFormat(dir string) error {
	f, err := FormatOf(dir)
	if err != nil {
		return dirError(dir, err)
	}
	return f.check(dir)
}

func (f Format) check(dir string) error {
	if f.Refusal == "" {
		return nil
	}
	return fmt.Errorf("drive: %s %s (%w)", dir, f.Refusal, ErrFormat)
}
