package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/firmware"
)

// visit sends one request from an address, with further headers "Name: value".
func visit(h http.Handler, method, path, from string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Host, r.RemoteAddr = "localhost", from
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const here, elsewhere = "127.0.0.1:5000", "192.168.1.9:5000"

var aForm = regexp.MustCompile(`name="do" value="([0-9a-f]{64})"><button>([^<]*)</button>`)

// forms are the tokens of the forms on a page, by what their buttons say.
func forms(page string) map[string]string {
	out := map[string]string{}
	for _, m := range aForm.FindAllStringSubmatch(page, -1) {
		out[m[2]] = m[1]
	}
	return out
}

// household is a box with an enrolled phone, a stranger and an unknown drive.
func household() firmware.State {
	return firmware.State{Phase: firmware.Idle,
		Phones: []firmware.Phone{{ID: "mtp:SECRET1", Name: "Anna", Enrolled: true, Order: 1}, {ID: "mtp:SECRET2", Name: "Ben", Port: 2}},
		Health: firmware.Health{Known: true, Drives: []firmware.Drive{{ID: "SECRET3", Label: "Stick", State: firmware.DriveUnknown}}}}
}

func TestTheComputerOfTheBoxMayChangeThings(t *testing.T) {
	var did []firmware.Command
	h := New(newSource(household()), Options{Allowed: FromThisComputer, Do: func(_ context.Context, c firmware.Command) error { did = append(did, c); return nil }})
	page := visit(h, "GET", "/", here, nil).Body.String()
	offered := forms(page)
	if len(offered) != 3 || strings.Contains(page, "SECRET") {
		t.Fatalf("offered %v:\n%s", offered, page)
	}
	for _, tt := range []struct {
		button string
		asks   bool
		want   firmware.Command
	}{
		{"Back it up from now on", false, firmware.EnrolPhone{Phone: "mtp:SECRET2"}},
		{"Stop backing it up…", true, firmware.ForgetPhone{Phone: "mtp:SECRET1"}},
		{"Use it for backups", true, firmware.AdoptDrive{Drive: "SECRET3"}},
	} {
		did = nil
		form := url.Values{"do": {offered[tt.button]}}
		w := visit(h, "POST", "/do", here, form)
		if tt.asks {
			if w.Code != http.StatusOK || len(did) > 0 || !strings.Contains(w.Body.String(), `name="sure"`) {
				t.Errorf("%s: does not ask: %d, did %v\n%s", tt.button, w.Code, did, w.Body)
			}
			form.Set("sure", "yes")
			w = visit(h, "POST", "/do", here, form)
		}
		if w.Code != http.StatusSeeOther || !slices.Equal(did, []firmware.Command{tt.want}) {
			t.Errorf("%s: %d, did %+v", tt.button, w.Code, did)
		}
	}
}

func TestOthersMayOnlyLook(t *testing.T) {
	do := func(_ context.Context, c firmware.Command) error { t.Errorf("did %+v", c); return nil }
	h := New(newSource(household()), Options{Allowed: FromThisComputer, Do: do})
	enrol := url.Values{"do": {forms(visit(h, "GET", "/", here, nil).Body.String())["Back it up from now on"]}}
	if enrol.Get("do") == "" {
		t.Fatal("nothing is offered")
	}
	for name, tt := range map[string]struct {
		from    string
		headers []string
	}{
		"from elsewhere":    {elsewhere, nil},
		"passed on":         {here, []string{"X-Forwarded-For: 127.0.0.1"}},
		"passed on, by RFC": {here, []string{"Forwarded: for=127.0.0.1"}},
	} {
		if page := visit(h, "GET", "/", tt.from, nil, tt.headers...).Body.String(); len(forms(page)) > 0 || !strings.Contains(page, "only shows") {
			t.Errorf("%s: is offered %v", name, forms(page))
		}
		if w := visit(h, "POST", "/do", tt.from, enrol, tt.headers...); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Origin: http://evil.example"} {
		if w := visit(h, "POST", "/do", here, enrol, header); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", header, w.Code)
		}
	}
	other := New(newSource(household()), Options{Allowed: FromThisComputer, Do: do})
	for what, token := range map[string]string{"another box's token": forms(visit(other, "GET", "/", here, nil).Body.String())["Back it up from now on"], "none": "", "junk": strings.Repeat("a", 64)} {
		if w := visit(h, "POST", "/do", here, url.Values{"do": {token}}); w.Code != http.StatusConflict {
			t.Errorf("%s: %d", what, w.Code)
		}
	}
	if w := visit(h, "POST", "/do", here, url.Values{"do": {strings.Repeat("a", maxForm)}}); w.Code != http.StatusBadRequest {
		t.Errorf("a form without end: %d", w.Code)
	}
	for name, h := range map[string]*Handler{"nothing can be done": New(newSource(household()), Options{Allowed: FromThisComputer}), "nobody may": New(newSource(household()), Options{Do: do})} {
		if page := visit(h, "GET", "/", here, nil).Body.String(); len(forms(page)) > 0 {
			t.Errorf("%s: is offered %v", name, forms(page))
		}
	}
}
