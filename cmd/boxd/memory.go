package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// garbage is the GC percentage: nearly all of boxd's memory is a few large buffers that are reused and hold no pointers, so
	// that collecting often costs next to nothing, and letting garbage grow by as much again (the default of 100) costs a 1 GB
	// board memory and saves no time. A first backup's peak was 165 MB with 50 and 135 MB with 20, its processor time the same.
	garbage = 20
	// enough is the runtime's soft limit in bytes: only a vault of many files comes near it, and then garbage goes sooner. With
	// the 10 MB of the program itself it stays below 200 MB.
	enough = 172 << 20
	// underWay is what a command may need beside the indexes of a vault, in bytes: packs, chunks and parity, and some garbage.
	underWay = 76 << 20
)

// frugal makes this process hold no more memory than it needs.
func frugal() {
	debug.SetGCPercent(garbage)
	debug.SetMemoryLimit(enough)
}

// makeRoom moves the limit where the indexes of a vault that was just opened leave too little below it. A limit that cannot be
// kept would cost half of the processor's time.
func makeRoom() {
	if inUse("/memory/classes/heap/objects:bytes")+underWay <= enough {
		return
	}
	runtime.GC()
	debug.SetMemoryLimit(max(enough, inUse("/gc/heap/live:bytes")+underWay))
}

// inUse is one of the runtime's figures.
func inUse(name string) int64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
