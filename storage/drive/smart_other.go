//go:build !linux

package drive

import "fmt"

// SMART is for Linux only: it is the box that watches over drives.
func (d *Drive) SMART() (SMART, error) {
	return SMART{}, fmt.Errorf("%w on this system", ErrNoSMART)
}
