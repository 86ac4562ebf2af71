package web

import (
	"context"
	"net/http"
)

// Settings are the owner's.
type Settings interface {
	// Settings are all of them, in the order in which they are shown.
	Settings() ([]Setting, error)
	// Change takes over those that are named, all or none, durably: texts as a form has them, or JSON's values; nil, and "" for
	// what is no secret, is the default again. What is unknown or wrong is refused by its name. what says in a sentence when it
	// counts.
	Change(ctx context.Context, changed map[string]any) (what string, err error)
}

// Setting is one of them.
type Setting struct {
	Name    string   `json:"name"` // as in box.toml, with the name of its table and a dot before it
	Group   string   `json:"-"`    // heading
	Title   string   `json:"title"`
	Help    string   `json:"help,omitempty"`
	Kind    string   `json:"kind"` // choice, number, numbers, text or secret
	Choices []string `json:"choices,omitempty"`
	Value   string   `json:"value,omitempty"` // as a form has it; "": the default. A secret's is never told
	Set     bool     `json:"set,omitempty"`   // of a secret: there is one
	Live    bool     `json:"live,omitempty"`  // a change counts at once; others from the next start
}

type settingsPage struct {
	Settings []Setting `json:"settings"`
	Token    string    `json:"-"`
	Done     string    `json:"done,omitempty"`
	Error    string    `json:"error,omitempty"`
}

func (h *Handler) serveSettings(w http.ResponseWriter, r *http.Request, v visitor) {
	h.showSettings(w, r, v, http.StatusOK, settingsPage{})
}

func (h *Handler) showSettings(w http.ResponseWriter, r *http.Request, v visitor, code int, p settingsPage) {
	if h.options.Settings == nil {
		h.refuse(w, r, http.StatusNotFound, "This box has no settings here.")
		return
	}
	var err error
	if p.Settings, err = h.options.Settings.Settings(); err != nil {
		h.refuse(w, r, http.StatusInternalServerError, "The settings cannot be read: %s.", plain(err.Error()))
		return
	}
	p.Token = h.token(v)
	h.reply(w, r, code, "settings", p)
}

func (h *Handler) serveChange(w http.ResponseWriter, r *http.Request, v visitor) {
	fields, err := h.fields(w, r, &v)
	if err != nil || h.options.Settings == nil {
		h.refuse(w, r, http.StatusBadRequest, "That form is not the page's.")
		return
	}
	what, err := h.options.Settings.Change(r.Context(), fields)
	if err != nil {
		h.showSettings(w, r, v, http.StatusUnprocessableEntity, settingsPage{Error: "Nothing is changed: " + plain(err.Error()) + "."})
		return
	}
	h.showSettings(w, r, v, http.StatusOK, settingsPage{Done: what})
}
