//go:build !linux

package plain

import "os"

// syncJournalless does nothing: plain drives are written by Linux.
func syncJournalless(*os.File) error { return nil }
