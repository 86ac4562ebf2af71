package serve

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"phonebackupbox/storage"
)

const (
	locksFolder = "locks"
	// maxLock bounds a lock, in bytes; restic's have about 300.
	maxLock = 16 << 10
	// maxLocks bounds how many there are: at most 1 MiB together.
	maxLocks = 64
	// lockTime is how long a client may take to send one.
	lockTime = 30 * time.Second
)

// locks are those that clients made. They are for clients among themselves, so that two of them can hold each other off, and
// gone when the server ends.
type locks struct {
	mu  sync.Mutex // guards all
	all map[string][]byte
}

func (l *locks) serve(w http.ResponseWriter, r *http.Request, id string) {
	switch {
	case id == "" && r.Method == http.MethodGet:
		l.list(w, r)
	case id != "" && r.Method == http.MethodPost:
		l.put(w, r, id)
	case id != "" && r.Method == http.MethodDelete:
		l.remove(w, r, id)
	case id != "" && onlyReading(w, r):
		l.get(w, r, id)
	case id == "":
		w.Header().Set("Allow", "GET")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
	}
}

func (l *locks) list(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	all := maps.Clone(l.all)
	l.mu.Unlock()
	out := newListing(w, r)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if out.add(storage.Info{Name: id, Size: int64(len(all[id]))}) != nil {
			panic(http.ErrAbortHandler)
		}
	}
	out.end()
}

func (l *locks) get(w http.ResponseWriter, r *http.Request, id string) {
	l.mu.Lock()
	p, ok := l.all[id]
	l.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p))
}

func (l *locks) put(w http.ResponseWriter, r *http.Request, id string) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(lockTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		panic(http.ErrAbortHandler) // nobody is there
	}
	p, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLock))
	h := sha256.Sum256(p)
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		http.Error(w, "too large for a lock: more than "+strconv.Itoa(maxLock)+" bytes", http.StatusRequestEntityTooLarge)
		return
	case err != nil || hex.EncodeToString(h[:]) != id:
		http.Error(w, "content does not fit the name", http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, there := l.all[id]
	switch {
	case there:
		http.Error(w, "it is there already", http.StatusForbidden)
	case len(l.all) >= maxLocks:
		http.Error(w, "too many locks; restic unlock removes those of programs that died", http.StatusInsufficientStorage)
	default:
		if l.all == nil {
			l.all = map[string][]byte{}
		}
		l.all[id] = p
	}
}

func (l *locks) remove(w http.ResponseWriter, r *http.Request, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.all[id]; !ok {
		http.NotFound(w, r)
		return
	}
	delete(l.all, id)
}
