package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// resumeRecord is the document of resume/HEX: files of a phone that are wholly stored, though no snapshot names them yet, and
// beginnings of files, whose chunks have fewer bytes than Size.
type resumeRecord struct {
	Phone string       `json:"phone"`
	Files []resumeFile `json:"files"`
}

type resumeFile struct {
	Name    string    `json:"name"` // quoted as restic quotes names
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`
	Content []hash    `json:"content"`
}

// A recorder collects what the next resume records will say. It has a mutex of its own, because the keeper must never wait
// for the Tree's: Commit holds that while it waits for the keeper to sync.
type recorder struct {
	mu    sync.Mutex
	logs  []string         // all records that Commit makes needless, those of earlier runs included
	fresh []freshFile      // created, and not in a record yet
	said  []freshFile      // in the records of names
	names []string         // records since they were last made one
	parts map[string]*part // by path: beginnings of files, of this run and of earlier ones

	reading map[string]*reading // by path: large files that are being read
	begun   string              // the record of their beginnings, "" if there is none
}

type freshFile struct {
	path string
	e    *entry
}

// syncAfter is the longest that a put pack waits for a Sync.
const syncAfter = 5 * time.Second

// recordFiles is how many files a resume record names at most, unless it was merged: about 2 MB of JSON.
const recordFiles = 10_000

// maxSaid is how many files a recorder remembers for merging.
const maxSaid = 20_000

// keep runs beside an open Tree: it syncs, indexes and writes resume records as packs are put.
func (t *Tree) keep() {
	timer := time.NewTimer(syncAfter)
	defer timer.Stop()
	for {
		due := false
		select {
		case <-t.quit:
			return
		case <-t.w.kick:
		case <-timer.C:
			due = true
		}
		t.w.mu.Lock()
		unsynced, failed := t.w.unsynced, t.w.err != nil
		t.w.mu.Unlock()
		if failed {
			continue // Create and Commit tell
		}
		due = due || unsynced >= t.v.pace.sync
		if err := t.note(due && unsynced > 0); err != nil {
			t.w.mu.Lock()
			t.w.fail(err)
			t.w.mu.Unlock()
			continue
		}
		if due {
			timer.Reset(syncAfter)
		}
	}
}

// note writes records of what was put. If a Sync is due, they come before it, so that it makes them durable together with
// what they name: records that came after would wait for the next, and a power cut cost as much as was put meanwhile.
func (t *Tree) note(due bool) error {
	if err := t.record(); err != nil || !due {
		return err
	}
	old, err := t.recordBegun()
	if err != nil {
		return err
	}
	if err := t.w.sync(); err != nil {
		return err
	}
	if err := t.dropRecord(old); err != nil {
		return err
	}
	return t.w.writeIndex(t.v.pace.index)
}

// record writes a resume record of the files that have become wholly stored. It may be durable before their packs
// are: Keep believes no record but looks for each chunk.
func (t *Tree) record() error {
	t.rec.mu.Lock()
	var now []freshFile
	rest := t.rec.fresh[:0]
	for _, f := range t.rec.fresh {
		if t.wholly(f.e) {
			now = append(now, f)
		} else {
			rest = append(rest, f)
		}
	}
	clear(t.rec.fresh[len(rest):])
	t.rec.fresh = rest
	t.rec.mu.Unlock()
	for part := range slices.Chunk(now, recordFiles) {
		if err := t.recordPart(part); err != nil {
			return err
		}
	}
	return nil
}

// recordPart writes one resume record of files that are wholly stored.
func (t *Tree) recordPart(now []freshFile) error {
	name, err := t.writeRecord(now)
	if err != nil {
		return err
	}
	t.rec.mu.Lock()
	t.rec.logs = append(t.rec.logs, name)
	t.rec.names = append(t.rec.names, name)
	t.rec.said = append(t.rec.said, now...)
	merge := len(t.rec.names) >= t.v.pace.merge
	if len(t.rec.said) > maxSaid {
		// Records of so many small files are large already; what they said need not be remembered to merge them.
		t.rec.names, t.rec.said, merge = nil, nil, false
	}
	t.rec.mu.Unlock()
	if merge {
		return t.merge()
	}
	return nil
}

// merge replaces the last records by one, so that a first backup of a terabyte does not leave 60,000.
func (t *Tree) merge() error {
	name, err := t.writeRecord(t.rec.said) // only the keeper's goroutine touches said
	if err != nil {
		return err
	}
	if err := t.w.sync(); err != nil {
		return err
	}
	t.rec.mu.Lock()
	old := t.rec.names
	t.rec.names, t.rec.said = nil, nil
	t.rec.logs = append(slices.DeleteFunc(t.rec.logs, func(l string) bool { return slices.Contains(old, l) }), name)
	t.rec.mu.Unlock()
	return t.v.deleteAll(t.w.ctx, old)
}

// writeRecord puts one resume record and returns its name.
func (t *Tree) writeRecord(files []freshFile) (string, error) {
	list := make([]resumeFile, len(files))
	for i, f := range files {
		list[i] = resumeFile{quote(f.path), f.e.size, f.e.mtime(), f.e.ids()}
	}
	return t.putRecord(list)
}

func (t *Tree) putRecord(files []resumeFile) (name string, err error) {
	p, err := json.Marshal(resumeRecord{Phone: quote(t.phone.ID), Files: files})
	if err != nil {
		return "", fmt.Errorf("vault: resume record: %w", err)
	}
	h, err := t.v.writeDocument(t.w.ctx, "resume", p)
	return "resume/" + h.String(), err
}

// wholly reports whether all chunks of a file are in packs that were put.
func (t *Tree) wholly(e *entry) bool {
	if !e.settled() {
		return false
	}
	ids := e.ids()
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id hash) bool { return !t.isPut(id) })
}

// isPut reports whether a chunk is in a pack that was put. t.w.mu is held.
func (t *Tree) isPut(id hash) bool {
	var places [4]place
	return slices.ContainsFunc(t.v.index.find(dataBlob, id, places[:0]), func(p place) bool { return t.w.present[p.pack] })
}

// parseResume reads a resume record.
func parseResume(p []byte) (resumeRecord, error) {
	var r resumeRecord
	if err := json.Unmarshal(p, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.Phone = unquote(r.Phone)
	for i := range r.Files {
		f := &r.Files[i]
		if f.Size < 0 {
			return r, fmt.Errorf("%w: a file of %d bytes", ErrDamaged, f.Size)
		}
		f.Name = unquote(f.Name)
	}
	return r, nil
}

// loadResume reads the records that earlier runs for this phone left. One that is damaged costs only time.
func (t *Tree) loadResume(ctx context.Context) error {
	t.resume = newResumes(t.v.index)
	for info, err := range t.v.s.List(ctx, "resume/") {
		if err != nil {
			return fmt.Errorf("vault: list resume records: %w", err)
		}
		p, err := t.v.readDocument(ctx, info.Name, maxTree)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var r resumeRecord
		if err == nil {
			r, err = parseResume(p)
		}
		if err != nil {
			t.v.o.Log.Warn("a resume record cannot be read", slog.Any("err", err))
			if errors.Is(err, ErrDamaged) {
				t.rec.logs = append(t.rec.logs, info.Name)
			}
			continue
		}
		if r.Phone != t.phone.ID {
			continue
		}
		t.rec.logs = append(t.rec.logs, info.Name)
		for _, f := range r.Files {
			t.resume.add(f)
			t.loadPart(f)
		}
	}
	return nil
}
