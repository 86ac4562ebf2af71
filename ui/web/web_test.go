package web

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// source is a Source that a test moves on.
type source struct {
	mu    sync.Mutex // guards what follows
	state firmware.State
	subs  map[chan firmware.State]bool
	heard chan struct{} // receives once for each subscription
}

func newSource(s firmware.State) *source {
	return &source{state: s, subs: map[chan firmware.State]bool{}, heard: make(chan struct{}, 64)}
}

func (f *source) State() firmware.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *source) Subscribe() (<-chan firmware.State, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan firmware.State, 1)
	ch <- f.state
	f.subs[ch] = true
	f.heard <- struct{}{}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.subs[ch] {
			delete(f.subs, ch)
			close(ch)
		}
	}
}

func (f *source) set(s firmware.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
	for ch := range f.subs {
		select {
		case <-ch:
		default:
		}
		ch <- s
	}
}

func (f *source) listeners() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs)
}

func (f *source) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.subs {
		delete(f.subs, ch)
		close(ch)
	}
}

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

// healthy is a box with two phones and three drives on a good day.
func healthy() firmware.State {
	full := &firmware.Backup{ID: "a1", Phone: "mtp:1", Generation: 7, Time: noon.Add(-9 * time.Hour), Files: 12041, Bytes: 48_300_000_000, Complete: true}
	return firmware.State{
		Phase: firmware.Idle, Since: noon,
		Phones: []firmware.Phone{
			{ID: "mtp:SERIAL-1", Name: "Anna's Pixel", Maker: "Google", Model: "Pixel 8", Enrolled: true, Order: 1, Port: 1, Outcome: firmware.Stored, LastComplete: full},
			{ID: "mtp:SERIAL-2", Name: "Ben", Maker: "Samsung", Model: "Galaxy A54", Enrolled: true, Order: 2, Need: "Plug in: no full backup for 4 days.",
				LastComplete: &firmware.Backup{Time: noon.Add(-4 * 24 * time.Hour), Files: 8210, Bytes: 23_900_000_000},
				LastPartial:  &firmware.Backup{Time: noon.Add(-30 * time.Hour), Files: 8190, Bytes: 23_700_000_000, Problems: 20}},
		},
		Health: firmware.Health{Known: true, Want: 1, Now: 1, Snapshots: 31, Bytes: 81_400_000_000, Drives: []firmware.Drive{
			{ID: "d1", Label: "Blue stick", State: firmware.DriveOK, Free: 71_000_000_000, Total: 128_000_000_000},
			{ID: "d2", Label: "Old SSD", State: firmware.DriveOK, Free: 180_000_000_000, Total: 250_000_000_000},
			{ID: "d3", Label: "At grandma's", State: firmware.DriveAway, Free: -1, Total: -1},
		}},
		Upkeep: firmware.Upkeep{Shrunk: []usbhost.ID{"mtp:SERIAL-2"}, Checks: []firmware.Check{
			{Drive: "d1", Done: true, Full: fullCheck(3, 0)}, {Drive: "d2", Fraction: 0.432, Bad: 1, Full: fullCheck(20, 3)}, {Drive: "d3", Fraction: 0.1},
		}},
		Lines: []firmware.Line{
			{At: noon.Add(-9 * time.Hour), Text: "Anna's Pixel is plugged in."},
			{At: noon.Add(-8 * time.Hour), Text: "Anna's Pixel: all 12,041 files are in the vault, read back and compared."},
		},
	}
}

// fullCheck is how a full check so many days ago ended.
func fullCheck(days, mended int) *firmware.Full {
	return &firmware.Full{At: firmware.Stamp{Clock: noon.AddDate(0, 0, -days)}, Mended: mended}
}

// copying is the same box in the middle of a backup.
func copying() firmware.State {
	s := healthy()
	s.Phase, s.Current, s.Job = firmware.Copying, "mtp:SERIAL-1", firmware.Job{N: 1, Kind: firmware.JobBackup, Phone: "mtp:SERIAL-1"}
	s.Progress = &firmware.Progress{Doing: "copying", Files: 5120, FilesTotal: 12160, Bytes: 20_400_000_000, BytesTotal: 48_900_000_000,
		Moved: 600_000_000, Rate: 38_200_000, Left: 12 * time.Minute, Name: "DCIM/Camera/SECRET_NAME.jpg"}
	return s
}

// troubled is a box that needs help, with names chosen by somebody hostile.
func troubled() firmware.State {
	s := healthy()
	s.Phase = firmware.Problem
	s.Phones[0].Name = "<script>alert(1)</script>\x1b[31m\u202eevil"
	s.Phones[0].Outcome = firmware.Partial
	for _, f := range firmware.Faults() {
		if f.Code == firmware.DrivesNeeded || f.Code == firmware.FilesLeftOut {
			f.Detail = "\"><img src=x onerror=alert(1)>"
			s.Faults = append([]firmware.Fault{f}, s.Faults...) // B-15 is the graver one
		}
	}
	s.Health.Now = -1
	s.Health.Drives[1].State, s.Health.Drives[1].Note = firmware.DriveFailing, "gave errors"
	return s
}

// TestChecksAreTold: what the last full check of each drive found, how far the next one is, and what is held back.
func TestChecksAreTold(t *testing.T) {
	s := healthy()
	v := look(s, noon, nil)
	for i, want := range []string{
		"Last full check 3 days ago: all good",
		"Last full check 20 days ago: 3 files were damaged and are mended; the next is 43 % done; 1 damaged file found",
		"First full check 10 % done",
	} {
		if got := v.Drives[i].Check; got != want {
			t.Errorf("drive %d: %q, want %q", i, got, want)
		}
	}
	if v.Phones[0].Kept != "" || v.Phones[1].Kept == "" {
		t.Errorf("held back: %q, %q", v.Phones[0].Kept, v.Phones[1].Kept)
	}
	body, err := io.ReadAll(get(t, New(newSource(s), Options{Now: atNoon}), "GET", "127.0.0.1", "/").Body)
	if err != nil || !strings.Contains(string(body), v.Drives[0].Check) || !strings.Contains(string(body), v.Phones[1].Kept) {
		t.Errorf("the page does not say it (%v):\n%s", err, body)
	}
}

func get(t *testing.T, h http.Handler, method, host, path string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func page(t *testing.T, s firmware.State) string {
	t.Helper()
	w := httptest.NewRecorder()
	New(newSource(s), Options{Now: atNoon, Lamps: func(firmware.State, time.Time) Lamps { return Lamps{255, 255, 128, 0, 0, 0} }}).
		ServeHTTP(w, httptest.NewRequest("GET", "http://192.168.1.7/", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPageIsWholeWithoutScript(t *testing.T) {
	html := page(t, copying())
	for _, want := range []string{
		"Backing up Anna&#39;s Pixel", "41 %", "5,120 of 12,160 files", "20 GB of 49 GB", "38 MB/s", "about 12 min left",
		"9 h ago", "12,041 files, 48 GB", "20 left out", "Plug in: no full backup for 4 days.", "Old SSD", "71 GB free of 128 GB",
		"not here", "Any one drive may fail without loss.", "read back and compared", `http-equiv="refresh"`, `opacity="0.5"`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, secret := range []string{"SECRET_NAME", "SERIAL-1", "mtp:"} {
		if strings.Contains(html, secret) {
			t.Errorf("the page tells %q", secret)
		}
	}
	if strings.Contains(html, "style=") || strings.Contains(html, "<script>") {
		t.Error("the page holds inline style or script, which its own policy forbids")
	}
}

func TestPageDefusesHostileNames(t *testing.T) {
	html := page(t, troubled())
	for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "\u202e"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "B-15", "Too few drives", "B-03", "failing", "gave errors"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestEveryPhaseHasAHeadline: no phase falls through to a wrong "Ready".
func TestEveryPhaseHasAHeadline(t *testing.T) {
	for _, p := range []firmware.Phase{
		firmware.Starting, firmware.VaultLocked, firmware.Asking, firmware.AskingDrive, firmware.AskingPage, firmware.Waiting, firmware.Copying, firmware.Verifying,
		firmware.Done, firmware.Arming, firmware.Confirming, firmware.Restoring, firmware.Restored, firmware.Stopping, firmware.Off,
	} {
		s := healthy()
		s.Phase, s.Current, s.Until = p, "mtp:SERIAL-1", noon.Add(48*time.Second)
		h := headlineOf(s, noon)
		if h.Tone == "" || h.Title == "" || h.Advice == "" || h.Title == "Ready" {
			t.Errorf("%s: %+v", p, h)
		}
		if safe := p == firmware.Done || p == firmware.Restored; safe != (h.Tone == "ok") || safe != strings.Contains(h.Advice, "may unplug") {
			t.Errorf("%s: %+v: only a finished run may look finished", p, h)
		}
	}
	s := healthy()
	s.Phase, s.Until = firmware.Confirming, noon.Add(48*time.Second)
	if h := headlineOf(s, noon); !strings.Contains(h.Advice, "within 48 s") {
		t.Errorf("confirming: %+v", h)
	}
	if h := headlineOf(troubled(), noon); h.Tone != "bad" || h.Code != "B-15" || h.Detail == "" {
		t.Errorf("problem: %+v", h)
	}
	s.Phase, s.Faults = firmware.VaultLocked, troubled().Faults[1:]
	if h := headlineOf(s, noon); h.Tone == "ok" || h.Code != "B-03" {
		t.Errorf("locked: %+v", h)
	}
}

func TestGuardNeverPromisesTooMuch(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    firmware.Health
		want string
		bad  bool
	}{
		{"not asked", firmware.Health{Want: 1, Now: 1}, "not been asked", false},
		{"as wanted", firmware.Health{Known: true, Want: 1, Now: 1}, "Any one drive may fail", false},
		{"two", firmware.Health{Known: true, Want: 2, Now: 2}, "Any 2 drives may fail", false},
		{"less than wanted", firmware.Health{Known: true, Want: 2, Now: 1}, "you wanted 2", true},
		{"none left", firmware.Health{Known: true, Want: 1}, "another drive fails", true},
		{"none wanted", firmware.Health{Known: true}, "as you chose", false},
		{"not readable", firmware.Health{Known: true, Want: 1, Now: -1}, "cannot be read", true},
		{"lost", firmware.Health{Known: true, Want: 1, Now: 1, Lost: 1}, "lost", true},
	} {
		got, bad := guard(firmware.State{Health: tt.h})
		if !strings.Contains(got, tt.want) || bad != tt.bad {
			t.Errorf("%s: %q, %v", tt.name, got, bad)
		}
	}
}

func TestHeadersAndMethods(t *testing.T) {
	h := New(newSource(healthy()), Options{Hosts: []string{"phonebackupbox.local"}})
	for _, path := range []string{"/", "/app.js", "/style.css", "/icon.svg"} {
		r := get(t, h, "GET", "192.168.1.7:8080", path)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %s, %q", path, r.Status, r.Header.Get("Content-Type"))
		}
		csp := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
			r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Referrer-Policy") != "no-referrer" ||
			r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: headers %v", path, r.Header)
		}
		if r := get(t, h, "HEAD", "localhost", path); r.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %s", path, r.Status)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if r := get(t, h, method, "localhost", path); r.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, r.Status)
			}
		}
	}
	if r := get(t, h, "GET", "localhost", "/../page.html"); r.StatusCode == http.StatusOK {
		t.Error("the template itself is served")
	}
}

func TestOnlyKnownNamesAreAnswered(t *testing.T) {
	h := New(newSource(healthy()), Options{Hosts: []string{"phonebackupbox.local"}})
	for host, want := range map[string]int{
		"192.168.1.7": 200, "192.168.1.7:80": 200, "[fe80::1]:80": 200, "[::1]": 200, "localhost:8080": 200, "PhoneBackupBox.local": 200, "phonebackupbox.local.:80": 200,
		"evil.example": 421, "192.168.1.7.evil.example": 421, "localhost.evil.example": 421, "": 421,
	} {
		if r := get(t, h, "GET", host, "/"); r.StatusCode != want {
			t.Errorf("Host %q: %d, want %d", host, r.StatusCode, want)
		}
	}
}

// recorder is a ResponseWriter whose reader sees each event at once.
type recorder struct {
	header http.Header
	mu     sync.Mutex // guards body and code
	body   strings.Builder
	code   int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) Flush()              {}
func (r *recorder) WriteHeader(code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code = code
}
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(p)
}

// take returns what came since the last time.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.body.String()
	r.body.Reset()
	return s
}

// open starts a stream inside a synctest bubble; done is closed when it ended.
func open(ctx context.Context, h http.Handler) (r *recorder, done chan struct{}) {
	r, done = &recorder{header: http.Header{}}, make(chan struct{})
	req := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/events", nil)
	go func() {
		defer close(done)
		h.ServeHTTP(r, req)
	}()
	return r, done
}

// ids lists the sections that a stretch of stream brought, checking its form.
func ids(t *testing.T, stretch string) []string {
	t.Helper()
	var out []string
	for _, event := range strings.Split(strings.TrimSpace(stretch), "\n\n") {
		data, ok := strings.CutPrefix(event, "event: section\ndata: ")
		if !ok {
			continue
		}
		var s struct{ ID, HTML, Title string }
		if err := json.Unmarshal([]byte(data), &s); err != nil || strings.Contains(data, "\n") {
			t.Fatalf("%v in %q", err, data)
		}
		out = append(out, s.ID)
	}
	return out
}

func TestStreamSendsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(healthy())
		h := New(src, Options{Now: atNoon})
		ctx, cancel := context.WithCancel(t.Context())
		r, done := open(ctx, h)
		time.Sleep(time.Second)
		if got := ids(t, r.take()); strings.Join(got, " ") != strings.Join(sections, " ") {
			t.Errorf("first: %v", got)
		}
		src.set(copying())
		time.Sleep(400 * time.Millisecond)
		if got := strings.Join(ids(t, r.take()), " "); got != "headline progress phones" {
			t.Errorf("a backup began: %q", got)
		}
		time.Sleep(aliveEvery + time.Second)
		if got := r.take(); got != ": alive\n\n" {
			t.Errorf("nothing happened, yet %q", got)
		}
		cancel()
		<-done
		if n := src.listeners(); n != 0 {
			t.Errorf("%d subscriptions left", n)
		}
	})
}

func TestStreamIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(copying())
		h := New(src, Options{Now: atNoon})
		r, done := open(t.Context(), h)
		for i := range 1000 { // ten seconds of a phone that reports every 10 ms
			s := copying()
			s.Progress.Files = i
			src.set(s)
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(ids(t, r.take())); n < 30 || n > 60 {
			t.Errorf("%d sections in ten seconds", n)
		}
		src.end() // the box stops
		<-done
	})
}

func TestStreamsAreBoundedAndEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(newSource(healthy()), Options{MaxStreams: 2, Now: atNoon})
		_, first := open(t.Context(), h)
		_, second := open(t.Context(), h)
		synctest.Wait()
		third, refused := open(t.Context(), h)
		<-refused
		if third.code != http.StatusServiceUnavailable {
			t.Errorf("the third stream: %d", third.code)
		}
		h.Close()
		h.Close()
		<-first
		<-second
		again, ended := open(t.Context(), h)
		<-ended
		if again.code == http.StatusServiceUnavailable {
			t.Error("the places were not given back")
		}
	})
}

func TestStreamShowsTheLightsAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(newSource(healthy()), Options{Lamps: func(_ firmware.State, now time.Time) Lamps {
			return Lamps{0, 0, 0, 0, 0, uint8(now.Second() % 2 * 255)} // amber blinks
		}})
		r, done := open(t.Context(), h)
		time.Sleep(10*time.Second + 3*time.Millisecond)
		got := r.take()
		if on, off := strings.Count(got, "[0,0,0,0,0,1]"), strings.Count(got, "[0,0,0,0,0,0]"); on != 5 || off < 5 || off > 6 {
			t.Errorf("on %d times, off %d times in ten seconds", on, off)
		}
		h.Close()
		<-done
	})
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"Anna's 📱 写真":                 "Anna's 📱 写真",
		"a\x00b\x1b[0m\u202ec\u2028d": "a�b�[0m�c�d",
		"one\ntwo\tthree":             "one two three",
		strings.Repeat("x", 500):      strings.Repeat("x", 120) + "…",
		"\xff\xfe":                    "��",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{-1: "?", 0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 9_949_999: "9.9 MB", 9_960_000: "10 MB", 999_900_000: "1.0 GB", 4_294_979_641: "4.3 GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "just now", time.Minute: "60 s ago", 3 * time.Hour: "3 h ago", 100 * time.Hour: "4 days ago", -time.Hour: "14 March 2026", 2000 * time.Hour: "21 December 2025"} {
		if got := ago(noon.Add(-d), noon); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}
