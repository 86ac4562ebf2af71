package web

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// Text is something that can be taken away from the page, as a file.
type Text struct {
	Name  string // of the file, without its end: letters
	Label string
	Make  func() string
}

// serveText serves the text that the request's path names.
func (h *Handler) serveText(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(r) {
		http.Error(w, "This can be read only by a device that was let in.", http.StatusForbidden)
		return
	}
	name, isText := strings.CutSuffix(r.PathValue("name"), ".txt")
	i := slices.IndexFunc(h.options.Texts, func(t Text) bool { return t.Name == name })
	if !isText || i < 0 {
		http.NotFound(w, r)
		return
	}
	text := h.options.Texts[i].Make()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="boxd-`+name+`.txt"`)
	http.ServeContent(w, r, "", h.options.Now(), bytes.NewReader([]byte(text)))
}
