//go:build !rescue

package main

import (
	"sync"
	"time"
)

// pulse tells whether boxd is alive: each of its loops must check in, again and again, within a time of its own. Its methods may
// be called from any goroutine. A nil pulse takes everything and says nothing.
type pulse struct {
	mu    sync.Mutex // guards what follows
	loops map[string]*vital
}

type vital struct {
	within time.Duration
	last   time.Time
}

func newPulse() *pulse { return &pulse{loops: make(map[string]*vital)} }

// expect has a loop check in within so long of now, and of each beat. It replaces what was expected of that loop before.
func (p *pulse) expect(loop string, within time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loops[loop] = &vital{within, time.Now()}
}

// beat is a loop's sign of life. One that nothing is expected of may give it all the same.
func (p *pulse) beat(loop string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.loops[loop]; v != nil {
		v.last = time.Now()
	}
}

// excuse expects nothing more of a loop.
func (p *pulse) excuse(loop string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.loops, loop)
}

// hung is the loop that is overdue at the time now, the longest if there are several, and for how long it has been silent; ""
// if all are well.
func (p *pulse) hung(now time.Time) (loop string, silent time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, v := range p.loops {
		if d := now.Sub(v.last); d > v.within && (loop == "" || d > silent || d == silent && name < loop) {
			loop, silent = name, d
		}
	}
	return loop, silent
}
