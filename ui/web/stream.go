package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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

// named are those that strangers do not get.
var named = []string{"receipt", "phones", "drives", "activity", "software"}

// errTurnedAway: whoever looks was let in, and is not any more.
var errTurnedAway = errors.New("web: turned away")

func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	s, now := h.source.State(), h.options.Now()
	v := h.view(s, now, h.sees(r), h.allowed(r))
	v.Join = !v.May && h.mayJoin()
	h.reply(w, r, http.StatusOK, "page", v)
}

// view is the page of a State; sees says that whoever looks may see names, may that he may change something.
func (h *Handler) view(s firmware.State, now time.Time, sees, may bool) view {
	if !sees {
		s = discreet(s)
	}
	var lamps *Lamps
	if h.options.Lamps != nil {
		l := h.options.Lamps(s, now)
		lamps = &l
	}
	v := look(s, now, lamps)
	if v.Sees = sees; !sees {
		v.Phones, v.Drives, v.Stored = nil, nil, ""
		v.Title = capital(v.Title)
		return v
	}
	if v.May = may; !may {
		return v
	}
	v.Software = h.software()
	v.WordsIn = s.Health.WordsIn && h.options.Words != nil
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
	sees, slots := h.sees(r), h.slots[0]
	if sees {
		slots = h.slots[1]
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
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
	st := stream{h: h, r: r, sees: sees, w: w, control: http.NewResponseController(w), sent: map[string]string{}}
	states, unsubscribe := h.source.Subscribe()
	defer unsubscribe()
	st.run(r.Context(), states)
}

// stream is one page being kept up to date. One goroutine uses it.
type stream struct {
	h       *Handler
	r       *http.Request
	sees    bool // see view
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
	sees := st.h.sees(st.r)
	if sees != st.sees {
		return errTurnedAway
	}
	v := st.h.view(s, st.h.options.Now(), sees, st.h.allowed(st.r))
	for _, name := range sections {
		if !sees && slices.Contains(named, name) {
			continue
		}
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
