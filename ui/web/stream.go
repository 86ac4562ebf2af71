package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"phonebackupbox/firmware"
)

const (
	frameEvery = 100 * time.Millisecond // the lights breathe, so they are looked at this often
	stateEvery = 250 * time.Millisecond // no person reads faster
	clockEvery = time.Second            // "3 s ago" and countdowns go on while nothing happens
	aliveEvery = 15 * time.Second       // a silent stream says that it is alive, or proxies and phones drop it
	writeLimit = 10 * time.Second       // a reader that takes nothing for so long is gone
	retryAfter = 3 * time.Second        // when a page that lost the box asks again
)

// sections are the parts of the page that change, each the template of that name and the element of that id.
var sections = []string{"headline", "progress", "faults", "receipt", "phones", "drives", "activity", "software"}

func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	s, now := h.source.State(), h.options.Now()
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, "page", h.view(s, now, h.allowed(r))); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(b.Bytes()) // a reader that went away is no concern of ours
}

// view is the page of a State; may says that whoever looks may change something.
func (h *Handler) view(s firmware.State, now time.Time, may bool) view {
	var lamps *Lamps
	if h.options.Lamps != nil {
		l := h.options.Lamps(s, now)
		lamps = &l
	}
	v := look(s, now, lamps)
	if !may {
		return v
	}
	v.May, v.Software = true, h.software()
	for i, p := range s.Phones { // look has kept their order
		v.Phones[i].Action = h.ofPhone(s, p)
	}
	for i, d := range s.Health.Drives {
		v.Drives[i].Action = h.ofDrive(s, d)
	}
	return v
}

// serveEvents keeps one page up to date until it goes away, the box stops or the Handler is closed.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "Too many pages are open.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies hold streams back otherwise
	if r.Method == http.MethodHead {
		return
	}
	st := stream{h: h, may: h.allowed(r), w: w, control: http.NewResponseController(w), sent: map[string]string{}}
	states, unsubscribe := h.source.Subscribe()
	defer unsubscribe()
	st.run(r.Context(), states)
}

// stream is one page being kept up to date. One goroutine uses it.
type stream struct {
	h       *Handler
	may     bool // see view
	w       http.ResponseWriter
	control *http.ResponseController
	sent    map[string]string // what the page shows, by section
	lamps   string            // the lights as last sent
	last    time.Time         // of the last bytes sent, by package time
}

// run returns when there is nobody to send to, or nothing to send any more.
func (st *stream) run(ctx context.Context, states <-chan firmware.State) {
	frames := time.NewTicker(frameEvery)
	defer frames.Stop()
	var s firmware.State
	var drawn time.Time // when the sections were last looked at
	fresh := false
	if st.write(fmt.Sprintf("retry: %d\n\n", retryAfter.Milliseconds())) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.h.closed:
			return
		case next, ok := <-states:
			if !ok {
				return
			}
			s, fresh = next, true
		case <-frames.C:
		}
		if drawn.IsZero() && !fresh {
			continue // nothing is known yet
		}
		var err error
		if since := time.Since(drawn); fresh && since >= stateEvery || since >= clockEvery {
			drawn, fresh = time.Now(), false
			err = st.update(s)
		}
		if err == nil {
			err = st.alight(s)
		}
		if err == nil && time.Since(st.last) >= aliveEvery {
			err = st.write(": alive\n\n")
		}
		if err != nil {
			return // the page is gone
		}
	}
}

// update sends the sections that changed.
func (st *stream) update(s firmware.State) error {
	v := st.h.view(s, st.h.options.Now(), st.may)
	for _, name := range sections {
		var b bytes.Buffer
		if err := st.h.pages.ExecuteTemplate(&b, name, v); err != nil {
			return err
		}
		html := b.String()
		if old, ok := st.sent[name]; ok && old == html {
			continue // the first time all is sent: the page may have been made from an older State
		}
		line, err := json.Marshal(map[string]string{"id": name, "html": html, "title": v.Title})
		if err != nil {
			return err
		}
		if err := st.write("event: section\ndata: " + string(line) + "\n\n"); err != nil {
			return err
		}
		st.sent[name] = html
	}
	return nil
}

// alight sends the lights if they changed as far as an eye can tell.
func (st *stream) alight(s firmware.State) error {
	if st.h.options.Lamps == nil {
		return nil
	}
	glows := make([]string, 0, len(Lamps{}))
	for _, level := range st.h.options.Lamps(s, st.h.options.Now()) {
		glows = append(glows, glow(level))
	}
	line := strings.Join(glows, ",")
	if line == st.lamps {
		return nil
	}
	st.lamps = line
	return st.write("event: lamps\ndata: [" + line + "]\n\n")
}

// write sends one event at once.
func (st *stream) write(event string) error {
	// Not every ResponseWriter has deadlines; those of package http do.
	_ = st.control.SetWriteDeadline(time.Now().Add(writeLimit))
	if _, err := io.WriteString(st.w, event); err != nil {
		return err
	}
	st.last = time.Now()
	return st.control.Flush()
}
