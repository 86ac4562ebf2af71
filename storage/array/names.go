package array

import (
	"context"
	"strings"
	"sync"
)

// nameLocks serialises what changes one blob.
type nameLocks struct {
	mu   sync.Mutex // guards busy
	busy map[string]chan struct{}
}

// acquire waits until nobody else changes name.
func (n *nameLocks) acquire(ctx context.Context, name string) error {
	name = strings.Clone(name)
	for {
		n.mu.Lock()
		other, taken := n.busy[name]
		if !taken {
			n.busy[name] = make(chan struct{})
			n.mu.Unlock()
			return nil
		}
		n.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *nameLocks) release(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.busy[name])
	delete(n.busy, name)
}
