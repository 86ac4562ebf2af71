package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
)

// door is a claimed page and a hand at the box.
type door struct {
	t     *testing.T
	h     *Handler
	src   *source
	claim *Claim
	store *shelf
	did   []firmware.Command
}

func newDoor(t *testing.T, o Options) *door {
	t.Helper()
	d := &door{t: t, src: newSource(household()), store: &shelf{}}
	d.claim = openClaim(t, d.store, &clock{now: noon, trusted: true})
	o.Claim, o.Do, o.Now = d.claim, d.do, atNoon
	d.h = New(d.src, o)
	return d
}

// do stands for the box: it asks for one press at a time.
func (d *door) do(_ context.Context, c firmware.Command) error {
	d.did = append(d.did, c)
	s := d.src.State()
	switch c := c.(type) {
	case firmware.AskConsent:
		if s.Consent != nil {
			return errors.New("another page waits")
		}
		s.Consent = &firmware.Consent{For: c.For, What: c.What, Until: noon.Add(firmware.AskFor)}
	case firmware.DropConsent:
		if s.Consent != nil && s.Consent.For == c.For {
			s.Consent = nil
		}
	}
	d.src.set(s)
	return nil
}

// press is the hand at the box.
func (d *door) press() {
	s := d.src.State()
	if s.Consent != nil {
		yes := *s.Consent
		yes.Yes = true
		s.Consent = &yes
	}
	d.src.set(s)
}

// browserless keeps cookies as a browser does.
type browserless struct {
	d       *door
	from    string
	cookies map[string]string
}

func (d *door) browser(from string) *browserless { return &browserless{d, from, map[string]string{}} }

func (b *browserless) send(method, path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	b.d.t.Helper()
	var jar []string
	for name, value := range b.cookies {
		jar = append(jar, name+"="+value)
	}
	if len(jar) > 0 {
		headers = append([]string{"Cookie: " + strings.Join(jar, "; ")}, headers...)
	}
	w := visit(b.d.h, method, path, b.from, form, headers...)
	for _, c := range w.Result().Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
			b.d.t.Errorf("cookie %q: %+v", c.Name, c)
		}
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

// json sends a JSON object.
func (b *browserless) json(method, path, body string, headers ...string) (*httptest.ResponseRecorder, map[string]any) {
	b.d.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "192.168.1.7", b.from
	r.Header.Set("Content-Type", "application/json")
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	b.d.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookies[c.Name] = c.Value
	}
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		b.d.t.Errorf("%s %s: %v: %s", method, path, err, w.Body)
	}
	return w, v
}

func (b *browserless) knock(code string) *httptest.ResponseRecorder {
	b.d.t.Helper()
	return b.send("POST", "/join", url.Values{"code": {code}, "name": {"Anna's tablet"}})
}

// join goes all the way in.
func (b *browserless) join() {
	b.d.t.Helper()
	code := b.d.claim.Code()
	if code == "" {
		var err error
		if code, err = b.d.claim.NewCode(); err != nil {
			b.d.t.Fatal(err)
		}
	}
	if w := b.knock(code); w.Code != http.StatusSeeOther {
		b.d.t.Fatalf("the code: %d %s", w.Code, w.Body)
	}
	b.d.press()
	if w := b.send("GET", "/join/wait", nil); w.Code != http.StatusSeeOther || b.cookies[cookieName] == "" {
		b.d.t.Fatalf("the press: %d %s", w.Code, w.Body)
	}
	if !b.isIn() {
		b.d.t.Fatal("not let in")
	}
}

func (b *browserless) isIn() bool {
	b.d.t.Helper()
	return strings.Contains(b.send("GET", "/", nil).Body.String(), "Stop backing it up")
}

var aToken = regexp.MustCompile(`name="token" value="([0-9a-f]{64})"`)

func (b *browserless) token(path string) string {
	b.d.t.Helper()
	m := aToken.FindStringSubmatch(b.send("GET", path, nil).Body.String())
	if m == nil {
		b.d.t.Fatalf("%s has no form", path)
	}
	return m[1]
}

func TestCodeAndPressLetADeviceIn(t *testing.T) {
	d := newDoor(t, Options{})
	b := d.browser(elsewhere)
	code := d.claim.Code()
	if page := b.send("GET", "/", nil).Body.String(); strings.Contains(page, "Anna") || strings.Contains(page, "Stick") || len(forms(page)) > 0 || !strings.Contains(page, `href="/join"`) {
		t.Errorf("a stranger sees:\n%s", page)
	}
	if page := b.send("GET", "/join", nil, "User-Agent: Mozilla/5.0 (iPad; …)"); !strings.Contains(page.Body.String(), `value="iPad"`) {
		t.Errorf("the form: %s", page.Body)
	}
	if w := b.knock(strings.ToLower(code)); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/join/wait" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := b.send("GET", "/join/wait", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "press the button") || !strings.Contains(w.Body.String(), `http-equiv="refresh"`) || b.isIn() {
		t.Errorf("without a press: %d %s", w.Code, w.Body)
	}
	if asked, ok := d.did[0].(firmware.AskConsent); !ok || asked.What != "let Anna's tablet in" || asked.For == b.cookies[ticketName] {
		t.Errorf("asked %+v", d.did)
	}
	d.press()
	if w := d.browser(elsewhere).send("GET", "/join/wait", nil); w.Code != http.StatusGone {
		t.Errorf("another browser takes the press: %d", w.Code)
	}
	if w := b.send("HEAD", "/join/wait", nil); w.Code != http.StatusOK || b.cookies[cookieName] != "" {
		t.Errorf("HEAD: %d", w.Code)
	}
	ticket := b.cookies[ticketName]
	if w := b.send("GET", "/join/wait", nil); w.Code != http.StatusSeeOther || len(b.cookies[cookieName]) != 64 || b.cookies[ticketName] != "" {
		t.Fatalf("with the press: %d, %v", w.Code, b.cookies)
	}
	if d.claim.Code() != code {
		t.Error("the code went before the device came back")
	}
	if !b.isIn() || d.claim.Code() != "" {
		t.Error("not let in, or the code is still in clear")
	}
	again := d.browser(elsewhere)
	again.cookies[ticketName] = ticket
	if w := again.send("GET", "/join/wait", nil); w.Code != http.StatusGone || len(d.claim.Devices()) != 1 {
		t.Errorf("one press lets two in: %d, %+v", w.Code, d.claim.Devices())
	}
	second := d.browser("192.168.1.10:5000")
	if second.knock(code); d.src.State().Consent == nil {
		t.Error("a second device cannot come in with the code on the label")
	}
}

func TestWhatDoesNotLetIn(t *testing.T) {
	d := newDoor(t, Options{})
	b := d.browser(elsewhere)
	if w := b.knock("00000-00000"); w.Code != http.StatusForbidden || d.src.State().Consent != nil || !strings.Contains(w.Body.String(), "not the box") {
		t.Errorf("a wrong code: %d, asked %v", w.Code, d.did)
	}
	d.press()
	if w := b.send("GET", "/join/wait", nil); w.Code != http.StatusGone || b.isIn() {
		t.Errorf("a press alone: %d", w.Code)
	}
	b.cookies[cookieName] = strings.Repeat("0", 64)
	if b.isIn() {
		t.Error("any cookie lets in")
	}
	one, two := d.browser(elsewhere), d.browser("192.168.1.10:5000")
	one.knock(d.claim.Code())
	if w := two.knock(d.claim.Code()); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "nother page waits") {
		t.Errorf("a second page asks for the press of the first: %d %s", w.Code, w.Body)
	}
	if w := one.knock(d.claim.Code()); w.Code != http.StatusSeeOther {
		t.Errorf("who begins again must wait for himself: %d", w.Code)
	}
	d.src.set(household()) // nobody pressed in time
	two.knock(d.claim.Code())
	d.press()
	if w := one.send("GET", "/join/wait", nil); w.Code != http.StatusGone || one.isIn() {
		t.Errorf("who waited before takes another's press: %d", w.Code)
	}
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Origin: http://evil.example", "Sec-Fetch-Site: same-site"} {
		if w := d.browser("10.0.0.3:1").send("POST", "/join", url.Values{"code": {d.claim.Code()}}, header); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", header, w.Code)
		}
	}
	for name, h := range map[string]*Handler{"no claim": New(d.src, Options{Do: d.do}), "nothing can be done": New(d.src, Options{Claim: d.claim})} {
		for _, method := range []string{"GET", "POST"} {
			if w := visit(h, method, "/join", elsewhere, url.Values{"code": {d.claim.Code()}}); w.Code != http.StatusNotFound {
				t.Errorf("%s: %s: %d", name, method, w.Code)
			}
		}
	}
}

// Who guesses waits, and nobody else does.
func TestGuessingAtTheDoor(t *testing.T) {
	d := newDoor(t, Options{})
	b := d.browser(elsewhere)
	code := 0
	for range guessFree + 2 {
		w := b.knock("00000-00000")
		if code = w.Code; code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("it does not say for how long")
		}
	}
	if code != http.StatusTooManyRequests {
		t.Errorf("it may go on guessing: %d", code)
	}
	if w := b.knock(d.claim.Code()); w.Code != http.StatusTooManyRequests {
		t.Errorf("the right code in the wait: %d", w.Code)
	}
	d.browser("192.168.1.10:5000").join()
}

// Every path that shows or changes something is shut to strangers, and to those that were turned away, with no press and no change.
func TestStrangersAreKeptOut(t *testing.T) {
	d := newDoor(t, Options{})
	in := d.browser(elsewhere)
	in.join()
	id := d.claim.Devices()[0].ID
	token := in.token("/devices")
	enrol := forms(in.send("GET", "/", nil).Body.String())["Back it up from now on"]
	d.did = nil
	posts := map[string]url.Values{"/do": {"do": {enrol}}, "/devices/remove": {"token": {token}, "id": {id}}, "/devices/code": {"token": {token}}}
	stranger := d.browser(elsewhere)
	for path, form := range posts {
		if w := stranger.send("POST", path, form); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := stranger.send("GET", "/devices", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/join" {
		t.Errorf("/devices: %d", w.Code)
	}
	if w, v := stranger.json("POST", "/devices/code", "{}"); w.Code != http.StatusForbidden || v["error"] == "" {
		t.Errorf("JSON: %d %v", w.Code, v)
	}
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Origin: http://evil.example"} {
		for path, form := range posts {
			if w := in.send("POST", path, form, header); w.Code != http.StatusForbidden {
				t.Errorf("%s, %s: %d", path, header, w.Code)
			}
		}
	}
	for path := range posts {
		if path == "/do" {
			continue
		}
		for _, wrong := range []string{"", strings.Repeat("0", 64), enrol} {
			if w := in.send("POST", path, url.Values{"token": {wrong}, "id": {id}}); w.Code != http.StatusBadRequest {
				t.Errorf("%s with the token %.8q: %d", path, wrong, w.Code)
			}
		}
	}
	if len(d.did) > 0 || len(d.claim.Devices()) != 1 {
		t.Errorf("something was done: %+v", d.did)
	}
}

func TestDevicesAreListedAndTurnedAway(t *testing.T) {
	d := newDoor(t, Options{})
	one, two := d.browser(elsewhere), d.browser("192.168.1.10:5000")
	one.join()
	two.join()
	page := one.send("GET", "/devices", nil).Body.String()
	if strings.Count(page, "Anna&#39;s tablet") != 2 || strings.Count(page, "this one") != 1 || strings.Contains(page, one.cookies[cookieName]) {
		t.Errorf("the list:\n%s", page)
	}
	if one.token("/devices") == two.token("/devices") {
		t.Error("one device's forms are another's")
	}
	list, v := one.json("GET", "/devices", "")
	devices, _ := v["devices"].([]any)
	if list.Code != http.StatusOK || len(devices) != 2 {
		t.Fatalf("JSON: %d %v", list.Code, v)
	}
	other := ""
	for _, x := range devices {
		if m := x.(map[string]any); m["this"] != true {
			other = m["id"].(string)
		}
	}
	if w, _ := one.json("POST", "/devices/remove", fmt.Sprintf(`{"id":%q}`, other)); w.Code != http.StatusOK {
		t.Errorf("turned away: %d", w.Code)
	}
	if two.isIn() || !one.isIn() {
		t.Error("the wrong one was turned away")
	}
	if w := one.send("POST", "/devices/remove", url.Values{"token": {one.token("/devices")}, "id": {d.claim.Devices()[0].ID}}); w.Code != http.StatusSeeOther || one.cookies[cookieName] != "" || one.isIn() {
		t.Errorf("leaving: %d", w.Code)
	}
}

func TestANewCodeIsShownOnce(t *testing.T) {
	d := newDoor(t, Options{})
	b := d.browser(elsewhere)
	b.join()
	w := b.send("POST", "/devices/code", url.Values{"token": {b.token("/devices")}})
	code := regexp.MustCompile(`[0-9A-Z]{5}-[0-9A-Z]{5}`).FindString(w.Body.String())
	if d.claim.Unlock(t.Context(), code) != nil || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d, %q, %v", w.Code, code, w.Header())
	}
	if strings.Contains(b.send("GET", "/devices", nil).Body.String(), code) {
		t.Error("it is shown again")
	}
	if _, v := b.json("POST", "/devices/code", "{}"); d.claim.Unlock(t.Context(), v["code"].(string)) != nil {
		t.Errorf("JSON: %v", v)
	}
}

// All of it can be done by a program.
func TestAProgramIsLetIn(t *testing.T) {
	d := newDoor(t, Options{})
	b := d.browser(elsewhere)
	if w, v := b.json("POST", "/join", `{"code":"x"}`); w.Code != http.StatusForbidden || v["error"] == nil {
		t.Errorf("%d %v", w.Code, v)
	}
	if w, v := b.json("POST", "/join", fmt.Sprintf(`{"code":%q,"name":"script"}`, d.claim.Code())); w.Code != http.StatusOK || v["waiting"] != true {
		t.Fatalf("%d %v", w.Code, v)
	}
	if w, v := b.json("GET", "/join/wait", ""); w.Code != http.StatusOK || v["waiting"] != true || v["in"] != false {
		t.Errorf("%d %v", w.Code, v)
	}
	d.press()
	if w, v := b.json("GET", "/join/wait", ""); w.Code != http.StatusOK || v["in"] != true {
		t.Fatalf("%d %v", w.Code, v)
	}
	w, v := b.json("GET", "/", "")
	phones, _ := v["Phones"].([]any)
	if w.Code != http.StatusOK || len(phones) != 2 {
		t.Fatalf("%d %v", w.Code, v)
	}
	do := phones[0].(map[string]any)["Action"].(map[string]any)["do"]
	d.did = nil
	if w, v := b.json("POST", "/do", fmt.Sprintf(`{"do":%q}`, do)); w.Code != http.StatusOK || v["sure"] == "" || len(d.did) > 0 {
		t.Errorf("asked back: %d %v, did %v", w.Code, v, d.did)
	}
	if w, v := b.json("POST", "/do", fmt.Sprintf(`{"do":%q,"sure":true}`, do)); w.Code != http.StatusOK || v["done"] != true || len(d.did) != 1 {
		t.Errorf("%d %v, did %v", w.Code, v, d.did)
	}
	for _, body := range []string{"", "[]", "null", "{", `{"do":"x"} {}`, `{"do":"` + strings.Repeat("x", maxForm) + `"}`} {
		if w, _ := b.json("POST", "/do", body); w.Code != http.StatusBadRequest {
			t.Errorf("%.20q: %d", body, w.Code)
		}
	}
}

// A stream of a stranger has no names, and that of a device ends when it is turned away.
func TestStreamsOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{})
		d.src.set(copying())
		in := d.browser(elsewhere)
		in.knock(d.claim.Code())
		d.press()
		in.send("GET", "/join/wait", nil)
		follow := func(cookie string) (*recorder, chan struct{}) {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "http://192.168.1.7/events", nil)
			r.RemoteAddr = elsewhere
			r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
			rec, done := &recorder{header: http.Header{}}, make(chan struct{})
			go func() { defer close(done); d.h.ServeHTTP(rec, r) }()
			time.Sleep(2 * time.Second)
			return rec, done
		}
		stranger, strangerDone := follow("")
		if got := stranger.take(); strings.Contains(got, "Anna") || strings.Contains(got, "SSD") || !strings.Contains(got, "Backing up the phone") {
			t.Errorf("a stranger's stream:\n%s", got)
		}
		device, done := follow(in.cookies[cookieName])
		if got := device.take(); !strings.Contains(got, "Anna") {
			t.Errorf("a device's stream:\n%s", got)
		}
		if err := d.claim.Remove(d.claim.Devices()[0].ID); err != nil {
			t.Fatal(err)
		}
		s := copying()
		s.Phones[0].Name = "Zoe"
		d.src.set(s)
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("its stream goes on")
			d.h.Close()
			<-done
		}
		if got := device.take(); strings.Contains(got, "Zoe") {
			t.Errorf("after it was turned away it is told:\n%s", got)
		}
		d.h.Close()
		<-strangerDone
	})
}
