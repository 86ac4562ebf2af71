package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"phonebackupbox/firmware"
)

// cookies of a browser that was let in, and of one that waits for a press.
const (
	cookieName = "box"
	ticketName = "ticket"
)

// visitor is who sends a request and may see and change things.
type visitor struct {
	device Device // zero at the box's own computer
}

func (v visitor) id() string { return v.device.ID }

// visitor tells who sends a request. It is the one place that decides who may see and change anything.
func (h *Handler) visitor(r *http.Request) (visitor, bool) {
	if c, err := r.Cookie(cookieName); err == nil && h.options.Claim != nil {
		if d, ok := h.options.Claim.device(c.Value); ok {
			return visitor{d}, true
		}
	}
	return visitor{}, h.options.Allowed != nil && h.options.Allowed(r)
}

// allowed reports whether whoever sends a request may change anything.
func (h *Handler) allowed(r *http.Request) bool {
	_, ok := h.visitor(r)
	return ok && h.options.Do != nil
}

// sees reports whether whoever sends a request may see names. A page without a Claim is one that nobody elsewhere reaches.
func (h *Handler) sees(r *http.Request) bool {
	_, ok := h.visitor(r)
	return ok || h.options.Claim == nil
}

// inside serves only who may change things.
func (h *Handler) inside(serve func(http.ResponseWriter, *http.Request, visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, ok := h.visitor(r)
		switch {
		case ok && h.options.Do != nil:
			serve(w, r, v)
		case h.mayJoin() && r.Method == http.MethodGet && !wantsJSON(r):
			http.Redirect(w, r, "/join", http.StatusSeeOther)
		default:
			h.refuse(w, r, http.StatusForbidden, "This can be done only by a device that was let in.")
		}
	}
}

// mayJoin reports whether devices can be let in at all.
func (h *Handler) mayJoin() bool { return h.options.Claim != nil && h.options.Do != nil }

// errand is what a browser asked a press for.
type errand struct {
	name  string // of the device that is to be let in; "" for the words
	asker string // the visitor that wants the words
	until time.Time
}

// errands are those under way, by ticket. The box has one at a time; more are here only until they are forgotten.
type errands struct {
	mu sync.Mutex // guards by
	by map[string]errand
}

// put remembers one for as long as an answer can come.
func (e *errands) put(ticket string, what errand) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil {
		e.by = map[string]errand{}
	}
	for t, o := range e.by {
		if time.Now().After(o.until) {
			delete(e.by, t)
		}
	}
	what.until = time.Now().Add(2 * firmware.AskFor)
	e.by[ticket] = what
}

func (e *errands) get(ticket string) (errand, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	what, ok := e.by[ticket]
	return what, ok && !time.Now().After(what.until)
}

// take gives one out, once.
func (e *errands) take(ticket string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.by[ticket]
	delete(e.by, ticket)
	return ok
}

// ask has the lights ask for a press, and gives the browser the ticket for the answer.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, what errand, words string) error {
	if c, err := r.Cookie(ticketName); err == nil && h.errands.take(c.Value) { // the same browser begins again
		_ = h.options.Do(r.Context(), firmware.DropConsent{For: digest(c.Value)})
	}
	ticket := random()
	if err := h.options.Do(r.Context(), firmware.AskConsent{For: digest(ticket), What: words}); err != nil {
		return err
	}
	h.errands.put(ticket, what)
	h.setCookie(w, ticketName, ticket, 2*firmware.AskFor)
	return nil
}

// answer is how the errand of a request's ticket stands. yes is said once: the press is taken by it.
func (h *Handler) answer(r *http.Request, words bool, asker string) (what errand, yes, waits bool) {
	c, err := r.Cookie(ticketName)
	if err != nil {
		return errand{}, false, false
	}
	what, ok := h.errands.get(c.Value)
	asked := h.source.State().Consent
	if !ok || (what.name == "") != words || what.asker != asker || asked == nil || asked.For != digest(c.Value) {
		return errand{}, false, false
	}
	if !asked.Yes || r.Method != http.MethodGet {
		return what, false, true
	}
	if !h.errands.take(c.Value) {
		return errand{}, false, false
	}
	_ = h.options.Do(context.WithoutCancel(r.Context()), firmware.DropConsent{For: asked.For}) // it runs out by itself otherwise
	return what, true, false
}

func (h *Handler) setCookie(w http.ResponseWriter, name, value string, lasts time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(lasts.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func (h *Handler) dropCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// cookieLasts is as long as browsers keep one at most.
const cookieLasts = 400 * 24 * time.Hour

type joinPage struct {
	Name  string `json:"-"`
	Error string `json:"error,omitempty"`
}

func (h *Handler) serveJoin(w http.ResponseWriter, r *http.Request) {
	if !h.mayJoin() {
		h.refuse(w, r, http.StatusNotFound, "No device can be let in here.")
		return
	}
	h.reply(w, r, http.StatusOK, "join", joinPage{Name: browserName(r.UserAgent())})
}

// serveKnock takes a code and has the lights ask for a press.
func (h *Handler) serveKnock(w http.ResponseWriter, r *http.Request) {
	if !h.mayJoin() {
		h.refuse(w, r, http.StatusNotFound, "No device can be let in here.")
		return
	}
	fields, err := h.fields(w, r, nil) // there is nothing to be had by sending another's form: it takes the code and a press
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, "%s.", capital(err.Error()))
		return
	}
	page := joinPage{Name: text(fields, "name")}
	from := guesser(r.RemoteAddr)
	if wait := h.guesses.wait(from); wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		page.Error = fmt.Sprintf("Too many wrong codes. Wait %s, and try again.", lasting(time.Duration(seconds)*time.Second))
		h.reply(w, r, http.StatusTooManyRequests, "join", page)
		return
	}
	if err := h.options.Claim.Unlock(r.Context(), text(fields, "code")); err != nil {
		h.guesses.wrong(from)
		page.Error = "That is not the box's code. It is on the box's label."
		h.reply(w, r, http.StatusForbidden, "join", page)
		return
	}
	h.guesses.right(from)
	name := tidy(page.Name)
	if err := h.ask(w, r, errand{name: name}, "let "+name+" in"); err != nil {
		page.Error = capital(err.Error()) + "."
		h.reply(w, r, http.StatusConflict, "join", page)
		return
	}
	h.done(w, r, "/join/wait", map[string]any{"waiting": true, "seconds": int(firmware.AskFor.Seconds())})
}

type waitPage struct {
	Waiting bool   `json:"waiting"`
	In      bool   `json:"in"`
	What    string `json:"-"`
	Left    string `json:"-"`
}

// serveWait lets a device in once the press has come.
func (h *Handler) serveWait(w http.ResponseWriter, r *http.Request) {
	if !h.mayJoin() {
		h.refuse(w, r, http.StatusNotFound, "No device can be let in here.")
		return
	}
	what, yes, waits := h.answer(r, false, "")
	switch {
	case waits:
		h.wait(w, r, "let this device in")
	case !yes:
		h.refuse(w, r, http.StatusGone, "No press came in time, or the box was started anew. Begin again.")
	default:
		token, err := h.options.Claim.admit(what.name)
		if err != nil {
			h.refuse(w, r, http.StatusInternalServerError, "The box cannot write that down: its card may be full or broken.")
			return
		}
		h.dropCookie(w, ticketName)
		h.setCookie(w, cookieName, token, cookieLasts)
		h.done(w, r, "/", waitPage{In: true})
	}
}

// wait shows that a press is awaited, for what.
func (h *Handler) wait(w http.ResponseWriter, r *http.Request, what string) {
	left := ""
	if c := h.source.State().Consent; c != nil {
		left = lasting(max(c.Until.Sub(h.options.Now()).Round(time.Second), time.Second))
	}
	h.reply(w, r, http.StatusOK, "wait", waitPage{Waiting: true, What: what, Left: left})
}

type devicesPage struct {
	Devices []deviceView `json:"devices"`
	Token   string       `json:"-"`
	Claim   bool         `json:"-"`
	Code    string       `json:"code,omitempty"` // a new one, shown once
}

type deviceView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Seen string `json:"seen,omitempty"`
	This bool   `json:"this,omitempty"`
}

func (h *Handler) devices(v visitor) devicesPage {
	p := devicesPage{Token: h.token(v), Claim: h.options.Claim != nil, Devices: []deviceView{}}
	if !p.Claim {
		return p
	}
	for _, d := range h.options.Claim.Devices() {
		dv := deviceView{ID: d.ID, Name: d.Name, This: d.ID == v.device.ID}
		if !d.Seen.IsZero() {
			dv.Seen = ago(d.Seen, h.options.Now())
		}
		p.Devices = append(p.Devices, dv)
	}
	return p
}

func (h *Handler) serveDevices(w http.ResponseWriter, r *http.Request, v visitor) {
	h.reply(w, r, http.StatusOK, "devices", h.devices(v))
}

// serveTurnAway takes a device's leave: another's, or the visitor's own.
func (h *Handler) serveTurnAway(w http.ResponseWriter, r *http.Request, v visitor) {
	fields, err := h.fields(w, r, &v)
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, "%s.", capital(err.Error()))
		return
	}
	err = ErrNoDevice
	if h.options.Claim != nil {
		err = h.options.Claim.Remove(text(fields, "id"))
	}
	switch {
	case errors.Is(err, ErrNoDevice):
		h.refuse(w, r, http.StatusConflict, "There is no such device any more.")
	case err != nil:
		h.refuse(w, r, http.StatusInternalServerError, "The box cannot write that down: its card may be full or broken.")
	case text(fields, "id") == v.device.ID:
		h.dropCookie(w, cookieName)
		h.done(w, r, "/", map[string]bool{"done": true})
	default:
		h.done(w, r, "/devices", map[string]bool{"done": true})
	}
}

// serveNewCode makes a new code and shows it, once.
func (h *Handler) serveNewCode(w http.ResponseWriter, r *http.Request, v visitor) {
	_, err := h.fields(w, r, &v)
	if err != nil || h.options.Claim == nil {
		h.refuse(w, r, http.StatusBadRequest, "That form is not the page's.")
		return
	}
	p := h.devices(v)
	if p.Code, err = h.options.Claim.NewCode(); err != nil {
		h.refuse(w, r, http.StatusInternalServerError, "The box cannot write that down: its card may be full or broken.")
		return
	}
	h.reply(w, r, http.StatusOK, "devices", p)
}

// browserName is what a browser's device may be called until its owner says better.
func browserName(agent string) string {
	names := []string{"iPhone", "iPad", "Android", "Windows", "Macintosh", "CrOS", "Linux"}
	i := slices.IndexFunc(names, func(n string) bool { return strings.Contains(agent, n) })
	if i < 0 {
		return "this device"
	}
	return []string{"iPhone", "iPad", "Android phone", "Windows computer", "Mac", "Chromebook", "Linux computer"}[i]
}

// discreet is a State as strangers may see it: what the box does and whether it needs somebody, and no names.
func discreet(s firmware.State) firmware.State {
	s.Phones, s.Faults = slices.Clone(s.Phones), slices.Clone(s.Faults)
	for i := range s.Phones {
		s.Phones[i].Name, s.Phones[i].Maker, s.Phones[i].Model = "", "", ""
	}
	for i := range s.Faults {
		s.Faults[i].Detail = ""
	}
	s.Lines, s.Receipt = nil, nil
	return s
}
