package array

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"phonebackupbox/storage"
)

// Stat implements storage.Store. It reads nothing. ErrUnavailable: too many drives are away to read the blob; ErrCorrupt: too
// much is known to be damaged or lost. Both come with the blob's size.
func (a *Array) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := cmp.Or(ctx.Err(), checkName("stat", name)); err != nil {
		return storage.Info{}, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	i := a.led.idx.get(name)
	if i == 0 {
		return storage.Info{}, fmt.Errorf("array: stat %s: %w", name, a.unknown())
	}
	info := storage.Info{Name: name, Size: int64(a.led.idx.entries[i].size)}
	if err := a.standing(name, i); err != nil {
		return info, fmt.Errorf("array: stat %s: %w", name, err)
	}
	return info, nil
}

// standing tells why a blob cannot be read now, by the ledger and by what reads found. The caller holds mu.
func (a *Array) standing(name string, i uint32) error {
	if a.broken[name] {
		return storage.ErrCorrupt
	}
	err := storage.ErrCorrupt
	for ; i != 0; i = a.led.idx.entries[i].next {
		p := a.led.places[a.led.idx.entries[i].place]
		if p.spare(func(no driveNo) bool { return a.member(no) != nil }) >= 0 {
			return nil
		}
		if p.spare(func(no driveNo) bool { return no != nowhere && !a.led.drives[a.led.driveIDs[no]].removed }) >= 0 {
			err = storage.ErrUnavailable
		}
	}
	return err
}

// unknown is the error for a name that the ledger does not have. The caller holds mu.
func (a *Array) unknown() error {
	if a.led.incomplete {
		return fmt.Errorf("the ledger is damaged: %w", storage.ErrUnavailable)
	}
	return storage.ErrNotExist
}

// List implements storage.Store. It reads nothing.
func (a *Array) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		a.mu.RLock()
		names := a.led.idx.list(prefix)
		incomplete := a.led.incomplete
		a.mu.RUnlock()
		for name := range names {
			if err := ctx.Err(); err != nil {
				yield(storage.Info{}, err)
				return
			}
			a.mu.RLock()
			i := a.led.idx.get(name)
			info := storage.Info{Name: name, Size: int64(a.led.idx.entries[i].size)}
			a.mu.RUnlock()
			if i != 0 && !yield(info, nil) { // 0: deleted meanwhile
				return
			}
		}
		if incomplete {
			yield(storage.Info{}, fmt.Errorf("array: list %s: the ledger is damaged: %w", prefix, storage.ErrUnavailable))
		}
	}
}
