package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// noCore keeps the keys in this process's memory from being written to a disk when it crashes, and from being read by other
// programs of the same user. The limit alone would not do: a core that is piped to a program knows none (core(5)).
func noCore() error {
	return errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
