package web

import (
	"context"
	"crypto/subtle"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"phonebackupbox/firmware"
)

// Words gives the key's words.
type Words interface {
	// Words are the 24, in their order; an error where they have left the box already, or cannot be had now.
	Words(ctx context.Context) ([]string, error)
}

// sheetFor is how long the words are shown after the press; sheetTries how often the three that are asked back may be wrong.
const (
	sheetFor   = 10 * time.Minute
	sheetTries = 3
)

// sheets is who may see the words now: one visitor, for a while, after a press of the button.
type sheets struct {
	mu    sync.Mutex // guards what follows
	of    string     // the visitor
	open  bool
	until time.Time
	wrong int
	asked [3]int // numbers of words, from 0, in order
}

func (s *sheets) begin(of string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of, s.open, s.until, s.wrong = of, true, time.Now().Add(sheetFor), 0
	s.choose()
}

// choose picks the three words that are asked back. The caller holds mu.
func (s *sheets) choose() {
	picked := rand.Perm(24)[:3]
	slices.Sort(picked)
	copy(s.asked[:], picked)
}

// may is which words are asked back from a visitor who may see the words.
func (s *sheets) may(of string) (asked [3]int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.open && s.of == of && time.Now().Before(s.until)
}

// fail counts a wrong answer; the next questions are others.
func (s *sheets) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong++; s.wrong >= sheetTries {
		s.open = false
	}
	s.choose()
}

func (s *sheets) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
}

type wordsPage struct {
	In    bool     `json:"in"` // they are nowhere but in the box
	Token string   `json:"-"`
	Words []string `json:"words,omitempty"`
	Asked []int    `json:"asked,omitempty"` // from 1
	Error string   `json:"error,omitempty"`
}

// serveWords says what the words are for, and shows a press that is awaited for them.
func (h *Handler) serveWords(w http.ResponseWriter, r *http.Request, v visitor) {
	if _, yes, waits := h.answer(r, true, v.id()); waits {
		h.wait(w, r, "show the 24 words on this page")
		return
	} else if yes {
		h.dropCookie(w, ticketName)
		h.sheets.begin(v.id())
		h.done(w, r, "/words/sheet", waitPage{In: true})
		return
	}
	in := h.options.Words != nil && h.source.State().Health.WordsIn
	h.reply(w, r, http.StatusOK, "words", wordsPage{In: in, Token: h.token(v)})
}

func (h *Handler) serveAskWords(w http.ResponseWriter, r *http.Request, v visitor) {
	_, err := h.fields(w, r, &v)
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, "%s.", capital(err.Error()))
		return
	}
	if h.options.Words == nil || !h.source.State().Health.WordsIn {
		h.refuse(w, r, http.StatusConflict, "The words have left the box, so it shows them no more.")
		return
	}
	if err := h.ask(w, r, errand{asker: v.id()}, "show the 24 words on a page"); err != nil {
		h.refuse(w, r, http.StatusConflict, "%s.", capital(err.Error()))
		return
	}
	h.done(w, r, "/words", map[string]any{"waiting": true, "seconds": int(firmware.AskFor.Seconds())})
}

// words are the words for a visitor who may see them; otherwise it has answered.
func (h *Handler) words(w http.ResponseWriter, r *http.Request, v visitor) (words []string, asked [3]int, ok bool) {
	asked, may := h.sheets.may(v.id())
	if !may || h.options.Words == nil {
		h.refuse(w, r, http.StatusForbidden, "The words are shown only after a press of the button, for ten minutes. Begin again.")
		return nil, asked, false
	}
	words, err := h.options.Words.Words(r.Context())
	if err != nil || len(words) != 24 {
		h.refuse(w, r, http.StatusConflict, "The words cannot be shown now: they have left the box already, or the drives are not here.")
		return nil, asked, false
	}
	return words, asked, true
}

func (h *Handler) serveSheet(w http.ResponseWriter, r *http.Request, v visitor) {
	if words, _, ok := h.words(w, r, v); ok {
		h.reply(w, r, http.StatusOK, "sheet", wordsPage{In: true, Words: words})
	}
}

func (h *Handler) serveAskBack(w http.ResponseWriter, r *http.Request, v visitor) {
	if _, asked, ok := h.words(w, r, v); ok {
		h.reply(w, r, http.StatusOK, "check", wordsPage{In: true, Token: h.token(v), Asked: []int{asked[0] + 1, asked[1] + 1, asked[2] + 1}})
	}
}

// serveCheck takes the three words that were asked back. Only when they are right are the words known to be on paper.
func (h *Handler) serveCheck(w http.ResponseWriter, r *http.Request, v visitor) {
	fields, err := h.fields(w, r, &v)
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, "%s.", capital(err.Error()))
		return
	}
	words, asked, ok := h.words(w, r, v)
	if !ok {
		return
	}
	right := 1
	for i, n := range asked {
		typed := strings.ToLower(strings.TrimSpace(text(fields, fmt.Sprintf("word%d", i+1))))
		right &= subtle.ConstantTimeCompare([]byte(typed), []byte(words[n]))
	}
	if right != 1 {
		h.sheets.fail()
		h.refuse(w, r, http.StatusUnprocessableEntity, "One of them is not what is on the sheet. Compare all with the page, and try again.")
		return
	}
	if err := h.options.Do(r.Context(), firmware.WordsWritten{}); err != nil {
		h.refuse(w, r, http.StatusConflict, "That cannot be noted now: %s.", err)
		return
	}
	h.sheets.end()
	h.done(w, r, "/", map[string]bool{"done": true})
}
