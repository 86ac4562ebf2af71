//go:build !linux

package folder

import (
	"errors"
	"os"
)

const openFlags = os.O_RDONLY

func space(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported }

const syncEach = true

func syncAll(*os.Root) error { return nil }
