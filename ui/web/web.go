// Package web shows the box's State as one page: what it does now, its lights, the phones, the drives and what happened.
// The page is made here, by html/template, and is whole without JavaScript; a small script keeps it up to date from a
// stream of server-sent events (HTML Standard, 9.2). It tells neither serial numbers nor the names of
// files, and where Options do not say otherwise it only shows. Who may do more a Claim decides (docs/adr/047-claim.md).
package web

import (
	"context"
	"embed"
	"html/template"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"phonebackupbox/firmware"
)

// Source is where States come from. *firmware.Box is one.
type Source interface {
	// State is the newest State.
	State() firmware.State
	// Subscribe returns a channel of States, newest only, which is closed when the source ends.
	Subscribe() (states <-chan firmware.State, cancel func())
}

// Lamps is the brightness of the five white lights from left to right and of the amber one, each from 0 (dark) to 255,
// linear as the eye sees it.
type Lamps [6]uint8

// Options may all be left out.
type Options struct {
	// Hosts are the names by which the box may be called, such as "phonebackupbox.local". Addresses and localhost always
	// may. A request for another name is refused: it comes from a page that made its own name point at the box.
	Hosts []string

	// Lamps tells what the lights show at an instant; nil: the page shows no lights.
	Lamps func(firmware.State, time.Time) Lamps

	// Now is the box's clock; nil: time.Now.
	Now func() time.Time

	// Do has the box do what the page offers; nil: the page only shows.
	Do func(context.Context, firmware.Command) error

	// Claim knows the devices that were let in, and lets in more; strangers then see no names. nil: everybody sees all, for a page
	// that nobody elsewhere can reach.
	Claim *Claim

	// Allowed reports whether whoever sends a request may change things without having been let in; nil: nobody may.
	Allowed func(*http.Request) bool

	// Words shows the key's words while they are nowhere but in the box; nil: they are not shown.
	Words Words

	// Settings are shown and changed; nil: none are.
	Settings Settings

	// Updates takes new software in; nil: this box takes none.
	Updates Updates

	// Texts are for whoever may change something, such as the log.
	Texts []Text

	// MaxStreams bounds the pages of devices that were let in, and those of others, that are kept up to date at once; 0: 16. Further
	// ones are shown, but stand still.
	MaxStreams int
}

//go:embed page.html forms.html app.js style.css icon.svg
var files embed.FS

// Handler serves the page. Make it with New.
type Handler struct {
	source  Source
	options Options
	mux     *http.ServeMux
	guarded http.Handler // mux, behind what refuses other sites' requests
	pages   *template.Template
	key     []byte           // of its actions' tokens
	slots   [2]chan struct{} // one for each stream: of strangers, and of those that were let in
	guesses guesses
	errands errands
	sheets  sheets
	closed  chan struct{} // closed by Close
	once    sync.Once
}

// New makes the page of a box. It starts nothing.
func New(source Source, o Options) *Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = 16
	}
	h := &Handler{
		source: source, options: o, mux: http.NewServeMux(), key: newKey(),
		pages: template.Must(template.ParseFS(files, "page.html", "forms.html")), // embedded, so a test has parsed it
		slots: [2]chan struct{}{make(chan struct{}, o.MaxStreams), make(chan struct{}, o.MaxStreams)}, closed: make(chan struct{}),
	}
	h.mux.HandleFunc("GET /{$}", h.servePage)
	h.mux.HandleFunc("GET /events", h.serveEvents)
	h.mux.HandleFunc("POST /update", h.serveUpload)
	h.mux.HandleFunc("PUT /update", h.serveUpload)
	h.mux.HandleFunc("GET /update", h.serveUpdates)
	h.mux.HandleFunc("GET /text/{name}", h.serveText)
	h.mux.HandleFunc("POST /do", h.serveDo)
	h.mux.HandleFunc("GET /join", h.serveJoin)
	h.mux.HandleFunc("POST /join", h.serveKnock)
	h.mux.HandleFunc("GET /join/wait", h.serveWait)
	h.mux.HandleFunc("GET /devices", h.inside(h.serveDevices))
	h.mux.HandleFunc("POST /devices/remove", h.inside(h.serveTurnAway))
	h.mux.HandleFunc("GET /words", h.inside(h.serveWords))
	h.mux.HandleFunc("POST /words", h.inside(h.serveAskWords))
	h.mux.HandleFunc("GET /words/sheet", h.inside(h.serveSheet))
	h.mux.HandleFunc("GET /words/check", h.inside(h.serveAskBack))
	h.mux.HandleFunc("POST /words/check", h.inside(h.serveCheck))
	h.mux.HandleFunc("GET /settings", h.inside(h.serveSettings))
	h.mux.HandleFunc("POST /settings", h.inside(h.serveChange))
	h.mux.HandleFunc("POST /devices/code", h.inside(h.serveNewCode))
	for name, kind := range map[string]string{
		"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		h.mux.HandleFunc("GET /"+name, asset(name, kind))
	}
	h.guarded = http.NewCrossOriginProtection().Handler(h.mux)
	return h
}

// Close ends all streams, so that a server can shut down: give it to http.Server.RegisterOnShutdown.
func (h *Handler) Close() { h.once.Do(func() { close(h.closed) }) }

// policy lets the page load nothing but its own script and style, and nobody frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy":      policy,
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), usb=()",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Cache-Control":                "no-store",
	} {
		w.Header().Set(name, value)
	}
	if !h.mayBeCalled(r.Host) {
		http.Error(w, "This box is not known by that name. Use its address.", http.StatusMisdirectedRequest)
		return
	}
	h.guarded.ServeHTTP(w, r)
}

// mayBeCalled guards against DNS rebinding: a stranger's page can give its own name our address, but not us its name.
func (h *Handler) mayBeCalled(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if name == "localhost" || net.ParseIP(strings.Trim(name, "[]")) != nil {
		return true
	}
	for _, known := range h.options.Hosts {
		if known != "" && strings.EqualFold(known, name) {
			return true
		}
	}
	return false
}

// asset serves one embedded file. It may be kept, but is asked for again after every start of the box.
func asset(name, kind string) http.HandlerFunc {
	started := time.Now().UTC().Truncate(time.Second)
	return func(w http.ResponseWriter, r *http.Request) {
		f, err := files.Open(name)
		if err != nil { // it was embedded when this was compiled
			http.Error(w, "missing", http.StatusInternalServerError)
			return
		}
		defer f.Close() // an embedded file has nothing to close
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		content, ok := f.(interface {
			Read([]byte) (int, error)
			Seek(int64, int) (int64, error)
		})
		if !ok {
			http.Error(w, "missing", http.StatusInternalServerError)
			return
		}
		http.ServeContent(w, r, name, started, content)
	}
}
