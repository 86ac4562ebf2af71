package array

import (
	"cmp"
	"log/slog"
	"sync/atomic"
	"time"
)

// member is a drive that is present.
type member struct {
	Member  // its Store is the guard
	guard   *guard
	log     *slog.Logger
	down    atomic.Pointer[error] // a write failed, or it cannot be written: only read
	suspect atomic.Int64          // Unix nanoseconds until which reads avoid it, because it stalled
}

func (m *member) label() string { return cmp.Or(m.Label, m.ID) }

// fail takes the member out of use for writing.
func (m *member) fail(err error) {
	if m.down.CompareAndSwap(nil, &err) {
		m.log.Warn("drive fails", "drive", m.label(), "err", err)
	}
}

func (m *member) up() bool { return m.down.Load() == nil }

// stall is for how long a drive that stalled is read last.
const suspectFor = 30 * time.Second

func (m *member) stalled() {
	m.suspect.Store(time.Now().Add(suspectFor).UnixNano())
	m.log.Warn("drive stalls", "drive", m.label())
}

func (m *member) isSuspect() bool { return time.Now().UnixNano() < m.suspect.Load() }

// member returns the drive with a number if it is present and counts. The caller holds mu.
func (a *Array) member(no driveNo) *member {
	if no == nowhere {
		return nil
	}
	id := a.led.driveIDs[no]
	if d, ok := a.led.drives[id]; !ok || d.removed {
		return nil
	}
	for _, m := range a.members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// known reports whether a drive counts as holding what the ledger says it does. The caller holds mu.
func (a *Array) known(no driveNo) bool {
	if no == nowhere {
		return false
	}
	id := a.led.driveIDs[no]
	d, ok := a.led.drives[id]
	return ok && !d.removed && !a.draining[id]
}

// writers returns the members that may be written. The caller holds mu.
func (a *Array) writers() []*member {
	var ms []*member
	for _, m := range a.members {
		if d, ok := a.led.drives[m.ID]; ok && !d.removed && m.up() {
			ms = append(ms, m)
		}
	}
	return ms
}
