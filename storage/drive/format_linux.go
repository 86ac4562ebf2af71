package drive

import (
	"errors"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// FormatOf tells what file system the folder dir lies on. Where the kernel does not say, the Format is empty.
func FormatOf(dir string) (Format, error) {
	f, err := os.Open(dir)
	if err != nil {
		return Format{}, err
	}
	format, err := formatOfFile(f)
	return format, errors.Join(err, f.Close())
}

func formatOfFile(f *os.File) (Format, error) {
	info, err := mountOf(f)
	if err != nil || info == nil {
		return Format{}, err
	}
	format := formatOf(info.FSType)
	format.Device, format.Mount = info.Source, info.Mountpoint
	var st unix.Statfs_t
	err = unix.Fstatfs(int(f.Fd()), &st)
	format.cluster = st.Bsize
	return format, err
}

// mountOf finds the mount that f lies on by its number, since paths may change meanwhile; nil if the kernel is older than
// 5.8 and does not tell numbers.
func mountOf(f *os.File) (*mountinfo.Info, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return nil, nil
	}
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.ID != int(st.Mnt_id), i.ID == int(st.Mnt_id)
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// syncAll writes all that is changed in the file system of f to its drive. It tells of errors since f was opened.
func syncAll(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// noJournal reports whether f is on FAT or exFAT, by the numbers of statfs(2).
func noJournal(f *os.File) bool {
	const exfat = 0x2011bab0 // Linux 6.12, include/uapi/linux/magic.h
	var s unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &s) != nil {
		return false
	}
	return s.Type == unix.MSDOS_SUPER_MAGIC || s.Type == exfat
}
