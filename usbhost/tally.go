package usbhost

import (
	"slices"
	"sync"
	"time"
)

// watchEvery bounds how often a Tally calls its Watch: four times a second reads as smooth on a progress bar and costs
// nothing beside the copying.
const watchEvery = 250 * time.Millisecond

// A Tally keeps the Report and the Progress of one run, so that every driver accounts for files in the same way: a file
// that was listed is started, and each Item ends exactly once. It is safe for concurrent use.
type Tally struct {
	mu     sync.Mutex // guards everything below; held while watch is called, which must return at once
	report Report
	now    Progress
	watch  Watch
	last   time.Time // when watch was called
}

// NewTally begins the books of one run. watch may be nil.
func NewTally(watch Watch) *Tally { return &Tally{watch: watch} }

// Phase tells what the driver does from now on.
func (t *Tally) Phase(p Phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Phase, t.now.Name = p, ""
	t.show(true)
}

// List counts files more that the phone (or, on a restore, the snapshot) named, of bytes altogether.
func (t *Tally) List(files int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Listed += files
	t.now.FilesTotal += files
	t.now.BytesTotal += bytes
	t.show(false)
}

// Removed counts files that were removed from the tree.
func (t *Tally) Removed(files int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Removed += files
}

// TakeBack counts a stored file of was bytes as one that is still to be stored, of now bytes: it changed while it was read.
func (t *Tally) TakeBack(was, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Stored--
	t.report.Bytes -= was
	t.now.Files--
	t.now.Bytes -= was
	t.now.BytesTotal += now - was
	t.show(false)
}

// Moved counts bytes that crossed the cable for no file in particular.
func (t *Tally) Moved(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Moved += bytes
	t.now.Moved += bytes
	t.show(false)
}

// Remark reports something about name that is not the end of a listed file: a folder that could not be listed, a
// symbolic link, a file that was put under another name. stale tells that an older version stays in the snapshot.
func (t *Tally) Remark(name, reason string, stale bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Problems = append(t.report.Problems, Problem{Name: name, Reason: reason, Stale: stale})
}

// Report is what the books say now. Problems are in order of names.
func (t *Tally) Report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Problems = slices.Clone(r.Problems)
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return r
}

// Start begins the work on one listed file of size bytes.
func (t *Tally) Start(name string, size int64) *Item {
	return &Item{t: t, name: name, size: size}
}

// show calls watch if it is time to, or if always. The caller holds mu.
func (t *Tally) show(always bool) {
	if t.watch == nil {
		return
	}
	at := time.Now()
	if !always && at.Sub(t.last) < watchEvery {
		return
	}
	t.last = at
	t.watch(t.now)
}

// An Item is one listed file being worked on. It ends with one of Stored, Kept, Failed and Gone.
type Item struct {
	t     *Tally
	name  string
	size  int64
	shown int64 // bytes of it that are in t.now.Bytes
}

// Moved counts n bytes of the file that crossed the cable.
func (i *Item) Moved(n int) {
	t := i.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Moved += int64(n)
	t.now.Moved += int64(n)
	add := min(int64(n), i.size-i.shown) // a file read twice, or longer than listed, must not pass the total
	i.shown += add
	t.now.Bytes += add
	t.now.Name = i.name
	t.show(false)
}

// Again counts n bytes that crossed the cable for the file although they are stored already.
func (i *Item) Again(n int) { i.t.Moved(int64(n)) }

// Had counts the first bytes of the file as done: an earlier run stored them.
func (i *Item) Had(bytes int64) {
	t := i.t
	t.mu.Lock()
	defer t.mu.Unlock()
	add := min(bytes, i.size-i.shown)
	i.shown += add
	t.now.Bytes += add
}

// Resize corrects the file's size, in bytes, where what was read is not what was listed, and the total with it.
func (i *Item) Resize(size int64) {
	t := i.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.BytesTotal += size - i.size
	i.size = size
}

// Stored ends the file as read and stored, or as sent and checked.
func (i *Item) Stored() { i.end(func(r *Report) { r.Stored++; r.Bytes += i.size }) }

// Kept ends the file as unchanged.
func (i *Item) Kept() { i.end(func(r *Report) { r.Kept++; r.Bytes += i.size }) }

// Failed ends the file as a problem. stale tells that an older version of it stays in the snapshot.
func (i *Item) Failed(reason string, stale bool) {
	i.end(func(r *Report) {
		r.Problems = append(r.Problems, Problem{Name: i.name, Reason: reason, Listed: true, Stale: stale})
	})
}

// Gone ends the file as never listed: it was deleted on the phone between the listing and the reading.
func (i *Item) Gone() {
	t := i.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Listed--
	t.now.FilesTotal--
	t.now.BytesTotal -= i.size
	t.now.Bytes -= i.shown
	t.show(t.now.Files == t.now.FilesTotal)
}

func (i *Item) end(enter func(*Report)) {
	t := i.t
	t.mu.Lock()
	defer t.mu.Unlock()
	enter(&t.report)
	t.now.Files++
	t.now.Bytes += i.size - i.shown
	t.now.Name = i.name
	t.show(t.now.Files == t.now.FilesTotal)
}
