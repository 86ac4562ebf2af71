package serve

import (
	"bufio"
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"phonebackupbox/storage"
)

// The content types of listings: version 1 has names, version 2 names and sizes.
const (
	typeV1 = "application/vnd.x.restic.rest.v1"
	typeV2 = "application/vnd.x.restic.rest.v2"
)

// list sends the names in a folder as they come, since a vault may hold hundreds of thousands.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, folder string) {
	l := newListing(w, r)
	for info, err := range h.repo.List(r.Context(), folder+"/") {
		if err != nil {
			h.tell(folder+"/", err)
			l.abort()
			return
		}
		if validID(path.Base(info.Name)) && l.add(info) != nil {
			panic(http.ErrAbortHandler) // nobody is listening
		}
	}
	l.end()
}

// A listing is a JSON array on its way to a client.
type listing struct {
	w       http.ResponseWriter
	buf     *bufio.Writer
	control *http.ResponseController
	v2      bool
	n       int
}

func newListing(w http.ResponseWriter, r *http.Request) *listing {
	l := &listing{w: w, buf: bufio.NewWriterSize(w, 32<<10), control: http.NewResponseController(w)}
	kind := typeV1
	if l.v2 = strings.Contains(r.Header.Get("Accept"), typeV2); l.v2 {
		kind = typeV2
	}
	w.Header().Set("Content-Type", kind)
	return l
}

func (l *listing) add(info storage.Info) error {
	if l.n%1000 == 0 { // about 100 KB
		if err := l.control.SetWriteDeadline(time.Now().Add(pieceTime)); err != nil && l.n > 0 {
			return err
		}
	}
	lead := ","
	if l.n++; l.n == 1 {
		lead = "["
	}
	var p []byte
	var err error
	if l.v2 {
		p, err = json.Marshal(struct {
			Name string `json:"name"`
			Size int64  `json:"size"`
		}{path.Base(info.Name), info.Size})
	} else {
		p, err = json.Marshal(path.Base(info.Name))
	}
	if err == nil {
		_, err = l.buf.WriteString(lead + string(p))
	}
	return err
}

func (l *listing) end() {
	tail := "]\n"
	if l.n == 0 {
		tail = "[]\n"
	}
	_, err := l.buf.WriteString(tail)
	if err == nil {
		err = l.buf.Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// abort breaks the connection off, so that nobody takes half a listing for the whole one.
func (l *listing) abort() {
	if l.n > 0 {
		panic(http.ErrAbortHandler)
	}
	http.Error(l.w, "this cannot be listed now", http.StatusForbidden)
}

// names is a set of names, safe for concurrent use.
type names struct {
	mu  sync.Mutex // guards all
	all map[string]bool
}

// maxNames bounds the set: what does not fit costs a client some patience, nothing else.
const maxNames = 10_000

func (s *names) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]bool{}
	}
	if len(s.all) < maxNames {
		s.all[name] = true
	}
}

func (s *names) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name]
}
