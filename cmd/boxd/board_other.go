//go:build !rescue && !linux

package main

import (
	"errors"

	"phonebackupbox/hal"
)

// Other systems run no board.
func openWatchdog() (hal.Watchdog, error) { return nil, nil }

func openBoard(wiring) (board, error) { return nil, errors.ErrUnsupported }

func supply() hal.Supply { return nil }

func ofInit() bool { return false }

func switchOff() error { return errors.ErrUnsupported }
