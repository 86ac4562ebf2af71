//go:build !rescue

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
)

// server answers every request with what it holds then.
type server struct {
	mu    sync.Mutex // guards what follows
	body  []byte
	code  int
	asked int
}

// holds has it answer with body from now on.
func (s *server) holds(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.body = http.StatusOK, body
}

// RoundTrip implements http.RoundTripper: a bubble of fake time has no network.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	w := httptest.NewRecorder()
	w.WriteHeader(s.code)
	_, _ = io.Copy(w, bytes.NewReader(s.body))
	return w.Result(), nil
}

// The box looks once a day, if it may; what is no newer and what is not there is no news, what is not signed is told once, and a new
// release is installed.
func TestUpdatesAreFetched(t *testing.T) {
	key := maker(t)
	good := signed(t, key, "1.2", 5)
	for _, allow := range []bool{false, true} {
		s, f := &server{body: []byte("not there"), code: http.StatusNotFound}, newFlash(t)
		old := http.DefaultClient.Transport
		http.DefaultClient.Transport = s
		defer func() { http.DefaultClient.Transport = old }()
		synctest.Test(t, func(t *testing.T) {
			u := f.start(t, f.line, "3")
			u.fetch = fetching{allow, "https://example.org/boxd.update"}
			err := onFlash(t, u, fine, func(until func(string, func(firmware.State) bool) firmware.State) {
				day := func() firmware.State { time.Sleep(fetchEvery); return u.box.State() }
				if st := day(); told(st, firmware.UpdateRefusedFault) {
					t.Errorf("%v", st.Faults)
				}
				s.holds(signed(t, key, "0.1", 1))
				if st := day(); told(st, firmware.UpdateRefusedFault) || st.Update != "" {
					t.Errorf("%v", st.Faults)
				}
				s.holds(bytes.Replace(good, []byte("1.2"), []byte("9.9"), 1))
				if st := day(); told(st, firmware.UpdateRefusedFault) != allow {
					t.Errorf("allowed: %v; %v", allow, st.Faults)
				}
				if err := u.box.Do(t.Context(), firmware.Acknowledge{}); err != nil {
					t.Fatal(err)
				}
				if st := day(); told(st, firmware.UpdateRefusedFault) {
					t.Errorf("told again: %v", st.Faults)
				}
				s.holds(good)
				if st := day(); updated(st) != allow {
					t.Errorf("allowed: %v; %+v", allow, st.Restart)
				}
			})
			if err != nil || allow != (s.asked == 5) || !allow && s.asked > 0 {
				t.Errorf("%v; asked %d times", err, s.asked)
			}
		})
	}
}

func TestUpdateSettings(t *testing.T) {
	for text, ok := range map[string]bool{"[update]\nallow = true\nurl = \"https://example.org/boxd.update\"": true, "[update]\nurl = \"http://10.0.0.1/u\"": true,
		"[update]\nallow = true": false, "[update]\nurl = \"file:///etc/passwd\"": false, "[update]\nurl = \"nowhere\"": false, "[update]\nalow = true": false} {
		if c, err := parseConfig("box.toml", []byte(text)); (err == nil) != ok || ok && !strings.HasPrefix(c.Update.URL, "http") {
			t.Errorf("%s: %+v, %v", text, c.Update, err)
		}
	}
}
