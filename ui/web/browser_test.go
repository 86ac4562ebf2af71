package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/firmware"
)

var shots = flag.String("shots", "", "a folder for pictures of the page")

// browser is a headless Chromium, spoken to over a pipe (Chrome DevTools Protocol, messages ended by NUL).
type browser struct {
	to      *os.File
	from    *bufio.Reader
	session string
	n       int
	log     []string // what the browser complained about
	ctx     context.Context
}

// startBrowser starts one, or skips the test where none is installed.
func startBrowser(ctx context.Context, t *testing.T) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here")
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-proxy-server",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{in, out} // 3 and 4
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Skipf("Chromium does not start: %v", err)
	}
	for _, f := range []*os.File{in, out} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b := &browser{ctx: ctx, to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		b.session = ""
		if err := b.do("Browser.close", nil, nil); err != nil {
			t.Logf("Chromium did not close by itself: %v", err)
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		if err := errors.Join(to.Close(), from.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// do sends a command and waits for its answer, keeping complaints that come meanwhile.
func (b *browser) do(method string, params, answer any) error {
	b.n++
	msg := map[string]any{"id": b.n, "method": method}
	if params != nil {
		msg["params"] = params
	}
	if b.session != "" {
		msg["sessionId"] = b.session
	}
	line, err := json.Marshal(msg)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(line, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for {
		line, err := b.from.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimRight(line, "\x00"), &m); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		if m.Method == "Log.entryAdded" || m.Method == "Runtime.exceptionThrown" {
			b.log = append(b.log, string(m.Params))
		}
		if m.ID != b.n {
			continue
		}
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if answer == nil {
			return nil
		}
		return json.Unmarshal(m.Result, answer)
	}
}

// open opens a page as a given device would.
func (b *browser) open(t *testing.T, url string, width, height int, scheme string) {
	t.Helper()
	b.session = ""
	var target struct{ TargetID, SessionID string }
	for _, step := range []func() error{
		func() error { return b.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target) },
		func() error {
			return b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
		},
		func() error { b.session = target.SessionID; return b.do("Log.enable", nil, nil) },
		func() error { return b.do("Runtime.enable", nil, nil) },
		func() error { return b.do("Page.enable", nil, nil) },
		func() error {
			return b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}, nil)
		},
		func() error {
			return b.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		},
		func() error { return b.do("Page.navigate", map[string]any{"url": url}, nil) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// eval runs a script in the page and returns its value, a promise's once it is kept.
func (b *browser) eval(t *testing.T, script string) string {
	t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	if err := b.do("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.ExceptionDetails != nil {
		t.Fatalf("%s: %v", script, answer.ExceptionDetails)
	}
	return fmt.Sprint(answer.Result.Value)
}

// until waits for a script to become true; the test's own deadline ends it otherwise.
func (b *browser) until(t *testing.T, condition string) {
	t.Helper()
	b.eval(t, "new Promise((kept) => { const look = () => { if ("+condition+") kept(true); else requestAnimationFrame(look); }; look(); })")
}

func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	var answer struct{ Data string }
	if err := b.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &answer); err != nil {
		t.Fatal(err)
	}
	png, err := base64.StdEncoding.DecodeString(answer.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

const has = `document.querySelector("h1") && document.body.textContent.includes(%q)`

// TestBrowser opens the page in a real browser and sees it change by itself, on a phone and on a desk.
func TestBrowser(t *testing.T) {
	// Not t.Context: that ends before the browser has been closed.
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	src := newSource(healthy())
	h := New(src, Options{Now: atNoon, Lamps: testLamps})
	server := httptest.NewUnstartedServer(h)
	server.Config.RegisterOnShutdown(h.Close)
	server.Start()
	b := startBrowser(ctx, t)
	t.Cleanup(func() { h.Close(); server.Close() }) // runs before the browser goes, or its stream would hold the server

	for _, device := range []struct {
		name, scheme  string
		width, height int
	}{{"phone-light", "light", 390, 844}, {"phone-dark", "dark", 390, 844}, {"desk-light", "light", 1280, 900}, {"desk-dark", "dark", 1280, 900}} {
		src.set(healthy())
		b.open(t, server.URL, device.width, device.height, device.scheme)
		b.until(t, `document.readyState === "complete" && document.getElementById("link").textContent === "live"`)
		b.shoot(t, device.name+"-ready")
		src.set(copying())
		b.until(t, fmt.Sprintf(has, "Backing up Anna's Pixel"))
		b.until(t, `(document.querySelector("progress") || {}).value === 41`)
		b.until(t, `document.querySelectorAll(".lamp")[4].getAttribute("opacity") === "0.125"`)
		b.shoot(t, device.name+"-copying")
		src.set(troubled())
		b.until(t, fmt.Sprintf(has, "Too few drives"))
		if got := b.eval(t, `document.title + "|" + document.getElementById("announce").textContent`); !strings.HasPrefix(got, "Too few drives") || strings.Count(got, "Too few drives") != 2 {
			t.Errorf("%s: title and announcement %q", device.name, got)
		}
		if got := b.eval(t, `document.querySelectorAll("main script, main img").length`); got != "0" {
			t.Errorf("%s: a hostile name made %s elements", device.name, got)
		}
		if got := b.eval(t, `document.documentElement.scrollWidth <= window.innerWidth`); got != "true" {
			t.Errorf("%s: the page is wider than the screen", device.name)
		}
		b.shoot(t, device.name+"-trouble")
	}
	if len(b.log) > 0 {
		t.Errorf("the browser complained: %s", strings.Join(b.log, "\n"))
	}
}

// testLamps draws a bar that fills, as a backup does.
func testLamps(s firmware.State, _ time.Time) Lamps {
	switch s.Phase {
	case firmware.Copying:
		return Lamps{255, 255, 140, 0, 32, 0}
	case firmware.Problem:
		return Lamps{0, 255, 0, 0, 0, 255}
	}
	return Lamps{60}
}
