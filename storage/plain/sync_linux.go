package plain

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncJournalless flushes all of f's file system if that is FAT or exFAT, by the numbers of statfs(2).
func syncJournalless(f *os.File) error {
	const exfat = 0x2011bab0 // Linux 6.12, include/uapi/linux/magic.h
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return err
	}
	if s.Type != unix.MSDOS_SUPER_MAGIC && s.Type != exfat {
		return nil
	}
	return unix.Syncfs(int(f.Fd()))
}
