package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// wishes is a Settings that takes everything but what is called "wrong".
type wishes struct{ got map[string]any }

func (s *wishes) Settings() ([]Setting, error) {
	return []Setting{
		{Name: "unlock", Group: "Protection", Title: "Where the key is", Kind: "choice", Choices: []string{"card", "keystick"}, Value: "keystick"},
		{Name: "retention.daily", Group: "How many stay", Title: "One a day", Kind: "number", Value: "14", Live: true},
		{Name: "wifi.passphrase", Group: "Network", Title: "Passphrase of the Wi-Fi", Kind: "secret", Set: true},
	}, nil
}

func (s *wishes) Change(_ context.Context, changed map[string]any) (string, error) {
	if _, ok := changed["wrong"]; ok {
		return "", errors.New(`"wrong" is no setting`)
	}
	s.got = changed
	return "Kept.", nil
}

func TestSettingsAreShownAndChanged(t *testing.T) {
	s := &wishes{}
	d := newDoor(t, Options{Settings: s})
	stranger := d.browser(elsewhere)
	if w := stranger.send("GET", "/settings", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/join" {
		t.Errorf("a stranger: %d", w.Code)
	}
	if w := stranger.send("POST", "/settings", url.Values{"unlock": {"card"}}); w.Code != http.StatusForbidden || s.got != nil {
		t.Errorf("a stranger changes: %d %v", w.Code, s.got)
	}
	b := d.browser(elsewhere)
	b.join()
	page := b.send("GET", "/settings", nil).Body.String()
	for _, want := range []string{`<option selected>keystick</option>`, `name="retention.daily" value="14"`, `type="password"`, "stays as it is", "Counts at once."} {
		if !strings.Contains(page, want) {
			t.Errorf("the form has no %s:\n%s", want, page)
		}
	}
	form := url.Values{"unlock": {"card"}, "retention.daily": {" 3 "}, "wifi.passphrase": {""}}
	if w := b.send("POST", "/settings", form); w.Code != http.StatusBadRequest || s.got != nil {
		t.Errorf("without its token: %d %v", w.Code, s.got)
	}
	form.Set("token", b.token("/settings"))
	if w := b.send("POST", "/settings", form); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Kept.") || s.got["retention.daily"] != "3" || s.got["token"] != nil {
		t.Errorf("%d %v", w.Code, s.got)
	}
	form.Set("wrong", "x")
	if w := b.send("POST", "/settings", form); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "&#34;wrong&#34; is no setting") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w, v := b.json("GET", "/settings", ""); w.Code != http.StatusOK || len(v["settings"].([]any)) != 3 {
		t.Errorf("JSON: %d %v", w.Code, v)
	}
	if w, v := b.json("POST", "/settings", `{"retention":{"daily":5}}`); w.Code != http.StatusOK || v["done"] != "Kept." || s.got["retention"] == nil {
		t.Errorf("JSON: %d %v", w.Code, v)
	}
	if w, v := b.json("POST", "/settings", `{"wrong":5}`); w.Code != http.StatusUnprocessableEntity || !strings.Contains(v["error"].(string), "wrong") {
		t.Errorf("JSON: %d %v", w.Code, v)
	}
	if w := newDoor(t, Options{Allowed: FromThisComputer}).browser(here).send("GET", "/settings", nil); w.Code != http.StatusNotFound {
		t.Errorf("without any: %d", w.Code)
	}
}
