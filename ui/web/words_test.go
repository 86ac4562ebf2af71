package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
)

// paper is a Words with 24 that no page has otherwise.
type paper struct{ gone bool }

func (p *paper) Words(context.Context) ([]string, error) {
	if p.gone {
		return nil, errors.New("they have left the box")
	}
	var out []string
	for i := range 24 {
		out = append(out, fmt.Sprintf("zebra%c", 'a'+i))
	}
	return out, nil
}

func wordsDoor(t *testing.T) (*door, *browserless, *paper) {
	t.Helper()
	p := &paper{}
	d := newDoor(t, Options{Words: p})
	s := household()
	s.Health.WordsIn = true
	d.src.set(s)
	b := d.browser(elsewhere)
	b.join()
	return d, b, p
}

// shows goes as far as the words.
func (b *browserless) shows() *http.Response {
	b.d.t.Helper()
	if w := b.send("POST", "/words", url.Values{"token": {b.token("/words")}}); w.Code != http.StatusSeeOther {
		b.d.t.Fatalf("asking: %d %s", w.Code, w.Body)
	}
	if w := b.send("GET", "/words", nil); !strings.Contains(w.Body.String(), "press the button") {
		b.d.t.Fatalf("waiting: %d %s", w.Code, w.Body)
	}
	if w := b.send("GET", "/words/sheet", nil); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "zebra") {
		b.d.t.Errorf("without a press: %d", w.Code)
	}
	b.d.press()
	if w := b.send("GET", "/words", nil); w.Header().Get("Location") != "/words/sheet" {
		b.d.t.Fatalf("the press: %d %s", w.Code, w.Body)
	}
	return b.send("GET", "/words/sheet", nil).Result()
}

// answers are what the form asks back, wrong at one place if wrong is 1 to 3.
func (b *browserless) answers(wrong int) url.Values {
	b.d.t.Helper()
	form := url.Values{"token": {b.token("/words/check")}}
	asked, _ := b.d.h.sheets.may(b.d.claim.Devices()[0].ID)
	words, _ := (&paper{}).Words(b.d.t.Context())
	for i, n := range asked {
		word := " " + strings.ToUpper(words[n])
		if wrong == i+1 {
			word = words[(n+1)%24]
		}
		form.Set(fmt.Sprintf("word%d", i+1), word)
	}
	return form
}

func TestTheWordsAreShownAfterAPressAndAskedBack(t *testing.T) {
	d, b, _ := wordsDoor(t)
	if page := b.send("GET", "/", nil).Body.String(); !strings.Contains(page, `href="/words"`) || strings.Contains(page, "zebra") {
		t.Errorf("the page does not lead to them:\n%s", page)
	}
	resp := b.shows()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	if w := d.browser("192.168.1.20:1").send("GET", "/words/sheet", nil); strings.Contains(w.Body.String(), "zebra") {
		t.Error("a stranger reads them")
	}
	d.did = nil
	if w := b.send("POST", "/words/check", b.answers(0), "Sec-Fetch-Site: cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("another site answers: %d", w.Code)
	}
	for wrong := 1; wrong < sheetTries; wrong++ {
		if w := b.send("POST", "/words/check", b.answers(wrong)); w.Code != http.StatusUnprocessableEntity || len(d.did) > 0 {
			t.Errorf("word %d is wrong: %d, did %v", wrong, w.Code, d.did)
		}
	}
	if w := b.send("POST", "/words/check", b.answers(0)); w.Code != http.StatusSeeOther || !slices.Equal(d.did, []firmware.Command{firmware.WordsWritten{}}) {
		t.Errorf("%d, did %v", w.Code, d.did)
	}
	if w := b.send("GET", "/words/sheet", nil); w.Code != http.StatusForbidden {
		t.Errorf("they are shown again: %d", w.Code)
	}
}

// Three wrong answers, ten minutes, and words that have left the box end it.
func TestWhenTheWordsAreShownNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b, p := wordsDoor(t)
		b.shows()
		for range sheetTries {
			b.send("POST", "/words/check", b.answers(3))
		}
		if w := b.send("GET", "/words/sheet", nil); w.Code != http.StatusForbidden {
			t.Errorf("after three wrong ones: %d", w.Code)
		}
		b.shows()
		time.Sleep(sheetFor)
		if w := b.send("GET", "/words/sheet", nil); w.Code != http.StatusForbidden {
			t.Errorf("after ten minutes: %d", w.Code)
		}
		b.shows()
		p.gone = true
		if w := b.send("GET", "/words/sheet", nil); w.Code != http.StatusConflict || strings.Contains(w.Body.String(), "zebra") {
			t.Errorf("when they have left the box: %d", w.Code)
		}
		b.d.src.set(household())
		if w, _ := b.json("POST", "/words", "{}"); w.Code != http.StatusConflict {
			t.Errorf("asked for then: %d", w.Code)
		}
	})
}

// Another device cannot take the press, nor read the words that one shows; a press for the words lets no device in.
func TestTheWordsAreForOneDevice(t *testing.T) {
	d, b, _ := wordsDoor(t)
	other := d.browser("192.168.1.20:1")
	other.join()
	b.send("POST", "/words", url.Values{"token": {b.token("/words")}})
	d.press()
	thief := d.browser("192.168.1.21:1")
	thief.cookies[ticketName] = b.cookies[ticketName]
	if w := thief.send("GET", "/join/wait", nil); w.Code != http.StatusGone || thief.isIn() {
		t.Errorf("let in by the words' press: %d", w.Code)
	}
	other.cookies[ticketName] = b.cookies[ticketName]
	if w := other.send("GET", "/words", nil); w.Header().Get("Location") != "" {
		t.Error("another device takes the press")
	}
	b.send("GET", "/words", nil)
	if w := other.send("GET", "/words/sheet", nil); w.Code != http.StatusForbidden {
		t.Errorf("another device reads them: %d", w.Code)
	}
	if w := b.send("GET", "/words/sheet", nil); w.Code != http.StatusOK {
		t.Errorf("who asked does not: %d", w.Code)
	}
}

// At the box's own computer, which is no device, a press for the words lets no device in either.
func TestAPressForTheWordsLetsNobodyIn(t *testing.T) {
	p := &paper{}
	d := newDoor(t, Options{Words: p, Allowed: FromThisComputer})
	s := household()
	s.Health.WordsIn = true
	d.src.set(s)
	b := d.browser(here)
	b.send("POST", "/words", url.Values{"token": {b.token("/words")}})
	d.press()
	if w := b.send("GET", "/join/wait", nil); w.Code != http.StatusGone || len(d.claim.Devices()) > 0 {
		t.Errorf("%d, %+v", w.Code, d.claim.Devices())
	}
}
