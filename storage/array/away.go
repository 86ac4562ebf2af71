package array

import (
	"context"
	"fmt"

	"phonebackupbox/storage"
)

// HeldAway reports whether a drive that is away, and does not travel, holds a file of a blob. One that travels holds it whole,
// with all that it needs: deleting it here takes nothing from there, and is made good there when the drive comes back.
func (a *Array) HeldAway(_ context.Context, name string) (bool, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	es := a.led.idx.chain(name)
	if len(es) == 0 {
		return false, fmt.Errorf("array: %s: %w", name, a.unknown())
	}
	for _, e := range es {
		for _, no := range a.led.places[e.place].holders {
			if no != nowhere && a.known(no) && !a.travels(no) && a.member(no) == nil {
				return true, nil
			}
		}
	}
	return false, nil
}

var _ storage.Rotator = (*Array)(nil)
