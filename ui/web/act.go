package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"

	"phonebackupbox/firmware"
)

// An action is something that the page offers to do. Its token stands for it and for the phone or drive that it is about, since the
// page tells no serial numbers. Nobody who has not seen the page can know it: that keeps other sites' forms out, too.
type action struct {
	Token string `json:"do"`
	Label string `json:"label"`
	Sure  string `json:"sure,omitempty"` // asked before it is done; "" where it can be taken back at once
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

// serveDo does what a form asks for, after asking back where that is due.
func (h *Handler) serveDo(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(r) {
		h.refuse(w, r, http.StatusForbidden, "This can be done only by a device that was let in.")
		return
	}
	fields, err := h.fields(w, r, nil) // an action's token is all the token it needs
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, "%s.", capital(err.Error()))
		return
	}
	a := h.find(h.source.State(), text(fields, "do"))
	switch sure := fields["sure"]; {
	case a == nil:
		h.refuse(w, r, http.StatusConflict, "That cannot be done now. Go back, and look at what the page says.")
		return
	case a.Sure != "" && sure != true && sure != "yes":
		h.reply(w, r, http.StatusOK, "ask", *a)
		return
	}
	if err := h.options.Do(r.Context(), a.do); err != nil {
		h.refuse(w, r, http.StatusConflict, "That cannot be done now: %s.", err)
		return
	}
	h.done(w, r, "/", map[string]bool{"done": true})
}
