//go:build !rescue

package main

import (
	"runtime/debug"

	"phonebackupbox/firmware"
)

// rest gives memory back whenever work has ended and nothing follows it, until the States end. Go's runtime keeps what a backup
// took, for the next one: after a small backup the box held 108 MB for minutes, of which it needed 25 (ADR 057).
func (b *bays) rest(states <-chan firmware.State) {
	worked := true // opening the vault is work, too
	for s := range states {
		switch s.Job.Kind {
		case firmware.NoJob:
			if worked && s.Phase != firmware.Starting {
				worked = false
				b.idle()
			}
		case firmware.JobCheck: // once a minute, and it takes next to nothing
		default:
			worked = true
		}
	}
}

// idle lets go of what is only kept for the next piece of work.
func (b *bays) idle() {
	b.mu.Lock()
	if r := b.rack; r != nil {
		r.array.Rest()
	}
	b.mu.Unlock()
	debug.FreeOSMemory()
}
