package web

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Updates takes new software in.
type Updates interface {
	// Take takes in what r holds, an update file. It checks the signature before it keeps anything, and returns when all of it came
	// and is what was signed; the box installs it when nothing else is to be done. Errors are told to the owner as they are.
	Take(ctx context.Context, r io.Reader) (version string, err error)
	Status() UpdateStatus
}

// Errors of Take that are no fault of the file.
var (
	ErrBusy   = errors.New("another update is being taken in: wait until that is done")
	ErrNoRoom = errors.New("the card has too little room left for the update: put the file onto a drive, and plug that in")
)

// UpdateStatus is how things stand with updates.
type UpdateStatus struct {
	Version  string    `json:"version"`
	Counter  uint64    `json:"counter"`           // of the release that runs; 0: of none
	Slot     string    `json:"slot"`              // that it runs from: A or B
	Trial    bool      `json:"trial"`             // it is an update that has not proved healthy yet
	Refuses  string    `json:"refuses,omitempty"` // why this box takes no updates
	Waiting  string    `json:"waiting,omitempty"` // the version that is to be installed
	Arriving *Arriving `json:"arriving,omitempty"`
}

// Arriving is an update that is being sent.
type Arriving struct {
	Version string `json:"version"`
	Done    int64  `json:"done"` // bytes
	Size    int64  `json:"size"`
}

const (
	maxUpdate    = 1<<30 + 1<<20    // bytes of a request: an update, and what a form puts around it
	uploadWithin = time.Hour        // one upload
	quietWithin  = 30 * time.Second // a sender that sends nothing for so long is gone
	drainWithin  = time.Minute      // see drain
)

// upload is the body of a request that may take long. It ends when the page is closed, or its sender falls silent.
type upload struct {
	h       *Handler
	body    io.ReadCloser
	control *http.ResponseController
	until   time.Time
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	limit := time.Now().Add(quietWithin)
	if u.until.Before(limit) {
		limit = u.until
	}
	_ = u.control.SetReadDeadline(limit) // only a test's connection has none
	select {
	case <-u.h.closed:
		return 0, errors.New("the box is being stopped: send the update again")
	default:
		return u.body.Read(p)
	}
}

// Close implements io.Closer.
func (u *upload) Close() error { return u.body.Close() }

// drain takes what is left: a browser hears no answer before it has sent all.
func (u *upload) drain() {
	if t := time.Now().Add(drainWithin); t.Before(u.until) {
		u.until = t
	}
	next := time.Time{} // the connection may be used on
	if _, err := io.Copy(io.Discard, u); err != nil {
		next = time.Unix(1, 0) // net/http would wait for the rest before it is done
	}
	_ = u.control.SetReadDeadline(next) // as in Read
}

// watch has a Read that waits hear of the page's end, until it is told to stop.
func (u *upload) watch() (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-u.h.closed:
			_ = u.control.SetReadDeadline(time.Unix(1, 0))
		case <-over:
		}
	})
	return func() { close(over); wg.Wait() }
}

// serveUpload takes an update in: from the page's form, or by PUT as it is.
func (h *Handler) serveUpload(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(r) {
		tell(w, r, http.StatusForbidden, "This can be done only by a device that was let in.")
		return
	}
	if h.options.Updates == nil {
		tell(w, r, http.StatusNotFound, "This box takes no updates: it does not run from a card of its own.")
		return
	}
	u := &upload{h, http.MaxBytesReader(w, r.Body, maxUpdate), http.NewResponseController(w), time.Now().Add(uploadWithin)}
	r.Body = u
	stop := u.watch()
	code, words := h.takeUpload(r)
	u.drain()
	stop()
	tell(w, r, code, words)
}

// takeUpload takes in what a request holds, and returns what is to be answered.
func (h *Handler) takeUpload(r *http.Request) (code int, words string) {
	from, err := h.fileOf(r)
	if err != nil {
		return http.StatusBadRequest, "That form is not the page's, or no file was chosen."
	}
	version, err := h.options.Updates.Take(r.Context(), from)
	var long *http.MaxBytesError
	switch {
	case err == nil:
		return http.StatusAccepted, "Version " + plain(version) + " came whole. It is installed when nothing else is to be done, and kept if it proves healthy."
	case errors.Is(err, ErrBusy):
		code = http.StatusConflict
	case errors.Is(err, ErrNoRoom):
		code = http.StatusInsufficientStorage
	case errors.As(err, &long):
		code = http.StatusRequestEntityTooLarge
	default:
		code = http.StatusUnprocessableEntity
	}
	return code, "Not taken: " + plain(err.Error()) + "."
}

// updateToken is what the page's form for updates says, so that nobody else's form does.
func (h *Handler) updateToken() string { return h.action("update", "", "", "", nil).Token }

// fileOf is the file that a request holds. The form says its token before it.
func (h *Handler) fileOf(r *http.Request) (io.Reader, error) {
	if r.Method == http.MethodPut {
		return r.Body, nil
	}
	form, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	part, err := form.NextPart()
	if err != nil {
		return nil, err
	}
	token, err := io.ReadAll(io.LimitReader(part, maxForm))
	if err != nil || part.FormName() != "do" || !hmac.Equal(token, []byte(h.updateToken())) {
		return nil, errors.Join(err, errors.New("web: not a form of this page"))
	}
	if part, err = form.NextPart(); err == nil && (part.FormName() != "file" || part.FileName() == "") {
		err = errors.New("web: no file was chosen")
	}
	return part, err
}

// tell answers in words: a program that sent a file as it is with JSON, a person with text.
func tell(w http.ResponseWriter, r *http.Request, code int, words string) {
	switch {
	case r.Method == http.MethodPut:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]string{"said": words}) // a reader that went away is no concern of ours
	case code == http.StatusAccepted:
		http.Redirect(w, r, "/#software", http.StatusSeeOther)
	default:
		http.Error(w, words, code)
	}
}

// serveUpdates tells how things stand with updates.
func (h *Handler) serveUpdates(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(r) || h.options.Updates == nil {
		http.Error(w, "There is nothing to see here.", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h.options.Updates.Status()) // as in tell
}
