//go:build !linux

package drive

import "os"

// forget does nothing: what is read back may come from memory.
func forget(*os.File) error { return nil }

// reserveFile cannot: a test tries the beginning only, or all.
func reserveFile(*os.File, int64) error { return errNoReserve }
