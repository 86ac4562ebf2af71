//go:build !linux

package attach

import (
	"errors"
	"fmt"
)

// Open makes ready to watch drives: only the box's system, Linux, can.
func Open(Options) (*Mounts, error) {
	return nil, fmt.Errorf("attach: drives: %w", errors.ErrUnsupported)
}

func lostEvents(error) bool { return false }
