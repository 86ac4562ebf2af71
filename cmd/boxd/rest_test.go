//go:build !rescue

package main

import (
	"testing"

	"phonebackupbox/firmware"
)

// What work took is given back to the system when it has ended.
func TestMemoryIsGivenBackAfterWork(t *testing.T) {
	for _, kind := range []firmware.JobKind{firmware.JobBackup, firmware.JobDrill} {
		t.Run(string(kind), func(t *testing.T) {
			states := make(chan firmware.State)
			ended := make(chan struct{})
			go func() { defer close(ended); (&bays{}).rest(states) }()
			idle := firmware.State{Phase: firmware.Idle}
			states <- idle // after the start
			states <- firmware.State{Phase: firmware.Idle, Job: firmware.Job{Kind: kind}}
			work()
			before := unused()
			states <- idle
			close(states)
			<-ended
			if after := unused(); after > before-workTakes/2 {
				t.Errorf("%d MB unused, then %d", before>>20, after>>20)
			}
		})
	}
}

const workTakes = 64 << 20 // bytes that work takes

//go:noinline
func work() {
	p := make([]byte, workTakes)
	for i := range p {
		p[i] = 1
	}
}

// unused is the memory that the runtime holds and nothing lies in.
func unused() int64 {
	return inUse("/memory/classes/heap/free:bytes") + inUse("/memory/classes/heap/unused:bytes") + inUse("/memory/classes/heap/objects:bytes")
}
