package mtp

import (
	"context"
	"slices"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// toldFor is how long a backup believes what Info was told of the storages: the one follows the other at once.
const toldFor = 10 * time.Second

// told keeps the storages that Info was told, for a backup that follows at once. A slow phone takes its time for each.
type told struct {
	mu       sync.Mutex // guards what follows
	storages []storageInfo
	at       time.Time
}

func (t *told) put(all []storageInfo) {
	t.mu.Lock()
	t.storages, t.at = all, time.Now()
	t.mu.Unlock()
}

// take returns the storages, once; none if they were told too long ago, or changed since.
func (t *told) take() []storageInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.storages
	t.storages = nil
	if time.Since(t.at) > toldFor {
		return nil
	}
	return all
}

// lookAtStorages asks which storages there are now.
func (s *session) lookAtStorages(ctx context.Context, x *index) error {
	all, err := s.storages(ctx)
	if err == nil && len(all) == 0 {
		err = usbhost.ErrLocked
	}
	if err == nil {
		x.storages, x.doubt = all, false
	}
	return err
}

// doubtful reports whether the objects listed do not fit the storages that were told of before: one lies on another, which was
// put in just now, or one of them, if a while ago, holds nothing.
func (x *index) doubtful() bool {
	holds := make([]bool, len(x.storages))
	for i := range x.objects {
		o := &x.objects[i]
		at := slices.IndexFunc(x.storages, func(s storageInfo) bool { return s.id == o.storage })
		if at < 0 {
			return true
		}
		holds[at] = true
	}
	return x.doubt && slices.Contains(holds, false)
}
