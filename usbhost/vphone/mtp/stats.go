package mtp

import (
	"maps"
	"sort"
)

// Stats tells what a phone was asked since it was made or since ResetStats.
type Stats struct {
	Transactions int                  // commands answered or not, all in all
	Operations   map[uint16]int       // commands, by operation code
	Errors       map[uint16]int       // responses other than OK, by response code
	Files        map[string]FileStats // by path
}

// FileStats tells what crossed the cable of one file.
type FileStats struct {
	Reads    int   // data phases that carried the file's bytes towards the host
	Sent     int64 // bytes that reached the host
	Again    int64 // bytes among them that had reached it before
	Received int64 // bytes that the host sent
	ranges   []span
}

type span struct{ from, to int64 }

func newStats() Stats {
	return Stats{Operations: map[uint16]int{}, Errors: map[uint16]int{}, Files: map[string]FileStats{}}
}

// Stats returns what was counted so far.
func (p *Phone) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Operations, s.Errors, s.Files = maps.Clone(s.Operations), maps.Clone(s.Errors), maps.Clone(s.Files)
	return s
}

// ResetStats starts counting anew.
func (p *Phone) ResetStats() {
	p.mu.Lock()
	p.stats = newStats()
	p.mu.Unlock()
}

// SentAgain is the number of file bytes that were read more than once.
func (s Stats) SentAgain() (bytes int64) {
	for _, f := range s.Files {
		bytes += f.Again
	}
	return bytes
}

// Sent is the number of file bytes that reached the host.
func (s Stats) Sent() (bytes int64) {
	for _, f := range s.Files {
		bytes += f.Sent
	}
	return bytes
}

func (p *Phone) countCommand(op uint16) {
	p.mu.Lock()
	p.stats.Transactions++
	p.stats.Operations[op]++
	p.mu.Unlock()
}

func (p *Phone) countResponse(code uint16) {
	if code == respOK {
		return
	}
	p.mu.Lock()
	p.stats.Errors[code]++
	p.mu.Unlock()
}

func (p *Phone) countSent(path string, off, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.stats.Files[path]
	f.Reads++
	f.Sent += n
	f.Again += f.cover(off, off+n)
	p.stats.Files[path] = f
}

func (p *Phone) countReceived(path string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.stats.Files[path]
	f.Received += n
	p.stats.Files[path] = f
}

// cover adds a range to those read and returns how many of its bytes were among them.
func (f *FileStats) cover(from, to int64) (again int64) {
	if from >= to {
		return 0
	}
	grown := span{from, to}
	var kept []span
	for _, s := range f.ranges {
		if s.to < from || to < s.from {
			kept = append(kept, s)
			continue
		}
		again += max(min(to, s.to)-max(from, s.from), 0)
		grown = span{min(grown.from, s.from), max(grown.to, s.to)}
	}
	kept = append(kept, grown)
	sort.Slice(kept, func(i, j int) bool { return kept[i].from < kept[j].from })
	f.ranges = kept
	return again
}
