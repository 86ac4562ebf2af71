package web

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// Every form has a twin: the same path takes the same names as a JSON object, and answers in JSON whoever sends or asks for it.
// A form must bring the token that its page was given; JSON needs none, since no other site's page can send it (a browser asks
// before, and is answered no).

// maxForm bounds what is sent, in bytes.
const maxForm = 16 << 10

// wantsJSON reports whether a program asks.
func wantsJSON(r *http.Request) bool {
	return isJSON(r) || strings.Contains(r.Header.Get("Accept"), "application/json")
}

func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// token is what a visitor's forms must bring.
func (h *Handler) token(v visitor) string {
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte("form\x00" + v.id()))
	return hex.EncodeToString(mac.Sum(nil))
}

// errForm: what was sent is none of the page's forms.
var errForm = errors.New("that form is not the page's")

// fields are what was sent: a form's with its texts, a JSON object's with whatever it has. v is nil where a form needs no token.
func (h *Handler) fields(w http.ResponseWriter, r *http.Request, v *visitor) (map[string]any, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	out := map[string]any{}
	if isJSON(r) {
		d := json.NewDecoder(r.Body)
		d.UseNumber()
		if err := d.Decode(&out); err != nil || out == nil {
			return nil, errors.New("that is no JSON object")
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New("more than one JSON object")
		}
		return out, nil
	}
	if err := r.ParseForm(); err != nil {
		return nil, errForm
	}
	if v != nil && !hmac.Equal([]byte(r.PostForm.Get("token")), []byte(h.token(*v))) {
		return nil, errForm
	}
	for name, values := range r.PostForm {
		if name != "token" && len(values) > 0 {
			out[name] = strings.TrimSpace(values[len(values)-1])
		}
	}
	return out, nil
}

// text is one field; "" if it is absent or something else.
func text(fields map[string]any, name string) string {
	s, _ := fields[name].(string)
	return s
}

// reply shows a page, or says the same in JSON. v is the page's; its fields without a name for JSON stay off that.
func (h *Handler) reply(w http.ResponseWriter, r *http.Request, code int, page string, v any) {
	if wantsJSON(r) {
		b, err := json.Marshal(v)
		if err != nil {
			http.Error(w, "The answer could not be made.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write(append(b, '\n')) // a reader that went away is no concern of ours
		return
	}
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, page, v); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}

// refusal is why something was not done.
type refusal struct {
	Error string `json:"error"`
	Back  string `json:"-"` // where the page leads back to
}

// refuse says why something was not done, in a sentence.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, code int, format string, args ...any) {
	h.reply(w, r, code, "sorry", refusal{fmt.Sprintf(format, args...), "/"})
}

// done leads a browser on, and tells a program the result.
func (h *Handler) done(w http.ResponseWriter, r *http.Request, to string, result any) {
	if wantsJSON(r) {
		h.reply(w, r, http.StatusOK, "", result)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
