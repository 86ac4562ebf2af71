package web

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"strings"

	"phonebackupbox/firmware"
)

// An action is something that the page offers to do. Its token stands for it and for the phone or drive that it is about, since the
// page tells no serial numbers. Nobody who has not seen the page can know it: that keeps other sites' forms out, too.
type action struct {
	Token string
	Label string
	Sure  string // asked before it is done; "" where it can be taken back at once
	do    firmware.Command
}

// newKey makes the key of a Handler's tokens.
func newKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return key
}

func (h *Handler) action(kind, id, label, sure string, c firmware.Command) action {
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(kind + "\x00" + id))
	return action{hex.EncodeToString(mac.Sum(nil)), label, sure, c}
}

// ofPhone is what can be done about a phone now; nil if nothing.
func (h *Handler) ofPhone(s firmware.State, p firmware.Phone) *action {
	a := h.action("enrol", string(p.ID), "Back it up from now on", "", firmware.EnrolPhone{Phone: p.ID})
	if p.Enrolled {
		a = h.action("forget", string(p.ID), "Stop backing it up…",
			"From now on the box only charges "+called(p)+". Its backups stay, and it can be taken in again.", firmware.ForgetPhone{Phone: p.ID})
	}
	if s.Allows(a.do) != nil {
		return nil
	}
	return &a
}

// ofDrive is what can be done about a drive now; nil if nothing.
func (h *Handler) ofDrive(s firmware.State, d firmware.Drive) *action {
	a := h.action("adopt", d.ID, "Use it for backups", "It is not formatted, and what is on it stays.", firmware.AdoptDrive{Drive: d.ID})
	if s.Allows(a.do) != nil {
		return nil
	}
	return &a
}

// find is the action of a token, nil if it is not on offer now.
func (h *Handler) find(s firmware.State, token string) (found *action) {
	offers := func(a *action) {
		if a != nil && hmac.Equal([]byte(a.Token), []byte(token)) {
			found = a
		}
	}
	for _, p := range s.Phones {
		offers(h.ofPhone(s, p))
	}
	for _, d := range s.Health.Drives {
		offers(h.ofDrive(s, d))
	}
	return found
}

// allowed reports whether whoever sends a request may change anything. It is the one place that decides so.
func (h *Handler) allowed(r *http.Request) bool {
	return h.options.Do != nil && h.options.Allowed != nil && h.options.Allowed(r)
}

// FromThisComputer reports whether a request comes from the computer that the box runs on. What another program passes on is not.
func FromThisComputer(r *http.Request) bool {
	for _, passed := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(passed) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// maxForm bounds a form, in bytes.
const maxForm = 4096

// serveDo does what a form asks for, after asking back where that is due.
func (h *Handler) serveDo(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(r) {
		http.Error(w, "This can be done only at the computer that the box runs on.", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "That form is not the page's.", http.StatusBadRequest)
		return
	}
	a := h.find(h.source.State(), strings.TrimSpace(r.PostForm.Get("do")))
	switch {
	case a == nil:
		http.Error(w, "That cannot be done now. Go back, and look at what the page says.", http.StatusConflict)
		return
	case a.Sure != "" && r.PostForm.Get("sure") == "":
		h.ask(w, *a)
		return
	}
	if err := h.options.Do(r.Context(), a.do); err != nil {
		http.Error(w, "That cannot be done now: "+err.Error()+".", http.StatusConflict)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// ask shows the page that asks back.
func (h *Handler) ask(w http.ResponseWriter, a action) {
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, "ask", a); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // a reader that went away is no concern of ours
}
