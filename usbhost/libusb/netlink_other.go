//go:build !linux

package libusb

import (
	"errors"
	"fmt"
	"os"
)

func uevents() (*os.File, error) {
	return nil, fmt.Errorf("libusb: kernel events: %w", errors.ErrUnsupported)
}

func lostEvents(error) bool { return false }
