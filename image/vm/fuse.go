package vm

import "sync"

// Fuse is what a machine's disks get their power through. It counts their writes and flushes, and blows at a chosen one: that
// one and all later ones are not done any more.
type Fuse struct {
	mu    sync.Mutex // guards what follows
	count int
	at    int           // the operation that it blows at; 0 if none
	blown chan struct{} // closed when it has
}

// Arm has the fuse blow at the nth operation from now, 1 being the next. The channel is closed then.
func (f *Fuse) Arm(n int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.blown = f.count+n, make(chan struct{})
	return f.blown
}

// Mend makes a fuse whole again that has blown or was armed.
func (f *Fuse) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.blown = 0, nil
}

// Count is how many operations there have been.
func (f *Fuse) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// holds counts an operation and tells whether there is power for it.
func (f *Fuse) holds() bool {
	if f == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.at == 0 || f.count < f.at {
		return true
	}
	if f.count == f.at {
		close(f.blown)
	}
	return false
}
