//go:build !linux

package drive

import "os"

// FormatOf knows file systems on Linux only: other systems read drives, the box writes them.
func FormatOf(dir string) (Format, error) {
	_, err := os.Stat(dir)
	return Format{}, err
}

func formatOfFile(*os.File) (Format, error) { return Format{}, nil }

// syncAll is asked for on fragile file systems only, and none is known here.
func syncAll(*os.File) error { return nil }

// noJournal is asked on every system, but writing to FAT and exFAT is for Linux.
func noJournal(*os.File) bool { return false }
