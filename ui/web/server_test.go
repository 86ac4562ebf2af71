package web

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"phonebackupbox/firmware"
)

// TestServerShutsDownWithPagesOpen: over a real connection, an open page does not keep the box from stopping.
func TestServerShutsDownWithPagesOpen(t *testing.T) {
	h := New(newSource(healthy()), Options{})
	server := httptest.NewUnstartedServer(h)
	server.Config.RegisterOnShutdown(h.Close)
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // only read from
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("Content-Type %q", kind)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "event: section") {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
}

// FuzzPage: whatever phones and drives call themselves, the page has the elements it always has and no character that
// controls anything.
func FuzzPage(f *testing.F) {
	f.Add("Anna's Pixel", "gave errors")
	f.Add("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>")
	f.Add("\x00\x1b]0;x\x07\u202e\u2066", "\xff\xfe&#x3c;script&#x3e;")
	f.Add("</time></bdi></section>", "' onmouseover='x")
	f.Fuzz(func(t *testing.T, name, note string) {
		s := healthy()
		for i := range s.Phones {
			s.Phones[i].Name, s.Phones[i].Maker, s.Phones[i].Model, s.Phones[i].Need = name, note, name, note
		}
		for i := range s.Health.Drives {
			s.Health.Drives[i].Label, s.Health.Drives[i].Note = name, note
		}
		s.Phase, s.Current = firmware.Copying, s.Phones[0].ID
		s.Lines = []firmware.Line{{At: noon, Text: note}}
		html := page(t, s)
		if got := strings.Count(html, "<script"); got != 1 {
			t.Errorf("%d scripts", got)
		}
		if got := strings.Count(html, "<img"); got != 0 {
			t.Errorf("%d images", got)
		}
		if opened, closed := strings.Count(html, "<bdi>"), strings.Count(html, "</bdi>"); opened != closed {
			t.Errorf("%d names opened, %d closed", opened, closed)
		}
		for _, r := range html {
			if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("the page holds %q", r)
			}
		}
	})
}
