// Package serve shows a repository to other backup programs: the reading half of restic's REST protocol
// (restic's doc/REST_backend.rst), versions 1 and 2, over a Store. Nothing that a client sends is ever stored, with one
// exception: its locks are kept in memory, since stock restic makes one before it reads.
package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"phonebackupbox/storage"
)

// Repository is what a Handler reads: part of a storage.Store.
type Repository interface {
	Stat(ctx context.Context, name string) (storage.Info, error)
	Get(ctx context.Context, name string, off int64, p []byte) (n int, err error)
	List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error]
}

// Options for New. All may be left out.
type Options struct {
	// User and Password are asked for on every request, unless User is "".
	User, Password string
	// LocalOnly refuses requests that were made to another name than this computer's own: a page in a browser here could
	// otherwise read along under a name that it has pointed at us.
	LocalOnly bool
	// Refresh is called when a client opens the repository, before its config is read.
	Refresh func(context.Context)
	// Failed is told what could not be read and why; the client only gets a status.
	Failed func(name string, err error)
}

// Handler serves one repository at the root of its URL. New makes one.
type Handler struct {
	repo  Repository
	o     Options
	locks locks
	// buffers are for bodies on their way to clients. A body waits for one, so that memory is bounded whatever the
	// number of clients.
	buffers chan []byte
	weak    names // blobs that broke off while they were sent
}

const (
	// pieceSize is how much is read from the repository at once, in bytes.
	pieceSize = 1 << 20
	// bodies is how many blobs are on their way at once.
	bodies = 8
	// pieceTime is how long a client may take for a piece. 1 MiB in a minute is slower than any network worth using.
	pieceTime = time.Minute
)

// New makes a Handler for a repository.
func New(repo Repository, o Options) *Handler {
	h := &Handler{repo: repo, o: o, buffers: make(chan []byte, bodies)}
	for range bodies {
		h.buffers <- nil // made when first needed
	}
	return h
}

// folders are those that clients may see. All else in a vault is nobody's business.
var folders = []string{"data", "index", "keys", "snapshots", locksFolder}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case h.o.LocalOnly && !isLocal(r.Host):
		http.Error(w, "this repository is for programs on its own computer", http.StatusForbidden)
	case !h.allowed(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="restic"`)
		http.Error(w, "user and password, please", http.StatusUnauthorized)
	case r.URL.Path == "/":
		h.root(w, r)
	default:
		h.route(w, r)
	}
}

// isLocal reports whether the Host of a request means this computer.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (h *Handler) allowed(r *http.Request) bool {
	if h.o.User == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	// Hashes have one length: how long the comparison takes says nothing.
	a, b := sha256.Sum256([]byte(user+"\x00"+password)), sha256.Sum256([]byte(h.o.User+"\x00"+h.o.Password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// root answers a person with a browser, and clients that want to make a repository.
func (h *Handler) root(w http.ResponseWriter, r *http.Request) {
	if onlyReading(w, r) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, "This is a restic repository, read-only.\nUse it with: restic -r rest:http://"+r.Host+"/ snapshots\n")
	}
}

// onlyReading refuses everything but GET and HEAD.
func onlyReading(w http.ResponseWriter, r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost, http.MethodDelete:
		// To stock restic that is final; it would try others again for 15 minutes.
		http.Error(w, "this repository is read-only", http.StatusForbidden)
	default:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "read-only: GET and HEAD", http.StatusMethodNotAllowed)
	}
	return false
}

// route finds out what a path means: config, FOLDER/ or FOLDER/ID.
func (h *Handler) route(w http.ResponseWriter, r *http.Request) {
	folder, id, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case folder == "config" && !ok:
		if onlyReading(w, r) {
			if h.o.Refresh != nil {
				h.o.Refresh(r.Context())
			}
			h.blob(w, r, "config")
		}
	case !ok || !slices.Contains(folders, folder) || id != "" && !validID(id):
		http.NotFound(w, r)
	case folder == locksFolder:
		h.locks.serve(w, r, id)
	case !onlyReading(w, r):
	case id == "":
		h.list(w, r, folder)
	case folder == "data":
		h.blob(w, r, path.Join(folder, id[:2], id))
	default:
		h.blob(w, r, path.Join(folder, id))
	}
}

// validID accepts a SHA-256 in lowercase hexadecimal.
func validID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// blob sends a blob, or the range of it that was asked for.
func (h *Handler) blob(w http.ResponseWriter, r *http.Request, name string) {
	info, err := h.repo.Stat(r.Context(), name)
	if err != nil {
		h.fail(w, r, name, err)
		return
	}
	off, n, partial, ok := parseRange(r.Header.Get("Range"), info.Size)
	w.Header().Set("Accept-Ranges", "bytes")
	if !ok {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		http.Error(w, "no such range", http.StatusRequestedRangeNotSatisfiable)
		return
	}
	b := body{h: h, name: name, off: off, n: n, status: http.StatusOK}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	if partial {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, info.Size))
		b.status = http.StatusPartialContent
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(b.status)
		return
	}
	b.send(w, r)
}

// A body is a range of a blob on its way to a client.
type body struct {
	h      *Handler
	name   string
	off, n int64
	status int
}

func (b body) send(w http.ResponseWriter, r *http.Request) {
	var buf []byte
	select {
	case buf = <-b.h.buffers:
	case <-r.Context().Done():
		return
	}
	if buf == nil {
		buf = make([]byte, pieceSize)
	}
	defer func() { b.h.buffers <- buf }()
	if b.h.weak.has(b.name) { // what cannot be sent to its end is not begun: clients would try again for long
		if err := b.pieces(r.Context(), buf, func([]byte) error { return nil }); err != nil {
			b.h.fail(w, r, b.name, err)
			return
		}
	}
	begun, control := false, http.NewResponseController(w)
	err := b.pieces(r.Context(), buf, func(p []byte) error {
		if !begun {
			begun = true
			w.WriteHeader(b.status)
		}
		if err := control.SetWriteDeadline(time.Now().Add(pieceTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return gone{err}
		}
		return nil
	})
	switch {
	case err == nil:
	case errors.As(err, new(gone)) || r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody is listening
	case !begun:
		b.h.fail(w, r, b.name, err)
	default:
		b.h.weak.add(b.name)
		b.h.tell(b.name, err)
		panic(http.ErrAbortHandler) // breaks the connection: the client must not take this for the whole
	}
}

// gone is an error of a client that does not listen any more.
type gone struct{ error }

// pieces reads the range, piece by piece.
func (b body) pieces(ctx context.Context, buf []byte, do func([]byte) error) error {
	if b.n == 0 {
		return do(nil)
	}
	for done := int64(0); done < b.n; {
		p := buf[:min(int64(len(buf)), b.n-done)]
		if _, err := b.h.repo.Get(ctx, b.name, b.off+done, p); err != nil {
			return err
		}
		if err := do(p); err != nil {
			return err
		}
		done += int64(len(p))
	}
	return nil
}

// fail answers for a blob that cannot be had.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, name string, err error) {
	for _, of := range []string{"Content-Length", "Content-Range", "Accept-Ranges"} {
		w.Header().Del(of)
	}
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	case errors.Is(err, storage.ErrNotExist):
		http.NotFound(w, r)
	default:
		// Not "does not exist", since it does; and final, since waiting brings no drive back.
		h.tell(name, err)
		http.Error(w, "this cannot be read now", http.StatusForbidden)
	}
}

func (h *Handler) tell(name string, err error) {
	if h.o.Failed != nil {
		h.o.Failed(name, err)
	}
}

// parseRange reads a Range header (RFC 9110, section 14.2) with one range of bytes of a blob of that size. Headers that
// it does not understand and sets of ranges are ignored, as a server may: the whole blob is sent then.
func parseRange(header string, size int64) (off, n int64, partial, ok bool) {
	spec, found := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash || size == 0 {
		return 0, size, false, true
	}
	first, err := strconv.ParseUint(from, 10, 63)
	if from == "" { // the last bytes
		last, err := strconv.ParseUint(to, 10, 63)
		if err != nil {
			return 0, size, false, true
		}
		n := min(int64(last), size)
		return size - n, n, true, n > 0
	}
	if err != nil {
		return 0, size, false, true
	}
	end := uint64(size) - 1
	if to != "" {
		last, err := strconv.ParseUint(to, 10, 63)
		if err != nil || last < first {
			return 0, size, false, true
		}
		end = min(end, last)
	}
	if first >= uint64(size) {
		return 0, 0, false, false
	}
	return int64(first), int64(end-first) + 1, true, true
}
