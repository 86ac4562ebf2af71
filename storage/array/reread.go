package array

import (
	"context"
	"fmt"

	"phonebackupbox/storage"
)

// Reread reads all of a blob that the drives present hold, every copy, shard and parity, and compares it with the
// checksums taken when it was put. What is damaged or missing is remembered for Health and Repair. It is an error only
// if the blob cannot be read any more. Each file is read in as few pieces as buf has room for: with 4 MiB the drives are
// asked a quarter as often as with less than 1 MiB.
func (a *Array) Reread(ctx context.Context, name string, buf []byte) error {
	facts := a.facts(name)
	if len(facts) == 0 {
		a.mu.RLock()
		defer a.mu.RUnlock()
		return fmt.Errorf("array: reread %s: %w", name, a.unknown())
	}
	whole := true
	for _, f := range facts {
		table, err := a.table(ctx, f)
		whole = whole && err == nil
		if err != nil {
			continue
		}
		for _, b := range f.all() {
			if b.h.m == nil { // away
				continue
			}
			_, _, err := a.verifyFile(ctx, f, table, b, &buf)
			whole = whole && err == nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if whole {
		return nil
	}
	if err := a.readable(ctx, name); err != nil {
		return fmt.Errorf("array: reread %s: %w", name, err)
	}
	return nil
}

var _ storage.Rereader = (*Array)(nil)
