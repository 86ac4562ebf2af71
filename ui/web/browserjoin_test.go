package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// fits looks at a page for what looks wrong on a screen.
func (b *browser) fits(t *testing.T, what string) {
	t.Helper()
	if got := b.eval(t, `document.documentElement.scrollWidth <= window.innerWidth`); got != "true" {
		t.Errorf("%s is wider than the screen", what)
	}
}

// arrive waits for a condition on whatever page the browser comes to; a page that it leaves cannot answer.
func (b *browser) arrive(t *testing.T, condition string) {
	t.Helper()
	for {
		var answer struct{ Result struct{ Value any } }
		err := b.do("Runtime.evaluate", map[string]any{"expression": "Boolean(" + condition + ")", "returnByValue": true}, &answer)
		if err == nil && answer.Result.Value == true {
			return
		}
		if b.ctx.Err() != nil {
			t.Fatalf("never came to %s: %v", condition, err)
		}
		time.Sleep(20 * time.Millisecond) // a browser tells nobody
	}
}

// TestBrowserIsLetIn goes through the door with a real browser, on a phone and on a desk: its cookies, its redirects, its own headers.
func TestBrowserIsLetIn(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	t.Cleanup(cancel)
	d := newDoor(t, Options{Lamps: testLamps, Settings: &wishes{}, Words: &paper{}})
	s := healthy()
	s.Health.WordsIn = true
	d.src.set(s)
	server := httptest.NewUnstartedServer(d.h)
	server.Config.RegisterOnShutdown(d.h.Close)
	server.Start()
	b := startBrowser(ctx, t)
	t.Cleanup(func() { d.h.Close(); server.Close() })
	for _, device := range []struct {
		name, scheme  string
		width, height int
	}{{"phone-light", "light", 390, 844}, {"desk-dark", "dark", 1280, 900}} {
		code, err := d.claim.NewCode()
		if err != nil {
			t.Fatal(err)
		}
		b.open(t, server.URL, device.width, device.height, device.scheme)
		b.arrive(t, `document.readyState === "complete" && document.querySelector('a[href="/join"]')`)
		b.shoot(t, device.name+"-stranger")
		b.fits(t, "a stranger's page")
		b.eval(t, `document.querySelector('a[href="/join"]').click()`)
		b.arrive(t, `document.readyState === "complete" && document.querySelector('input[name="code"]')`)
		b.eval(t, `document.querySelector('input[name="code"]').value = "00000-00000"; document.querySelector('form button').click()`)
		b.arrive(t, `document.readyState === "complete" && document.querySelector('[role="alert"]')`)
		b.shoot(t, device.name+"-join")
		b.fits(t, "the door")
		b.eval(t, fmt.Sprintf(`document.querySelector('input[name="code"]').value = %q; document.querySelector('input[name="name"]').value = "Anna's tablet"; document.querySelector('form button').click()`, strings.ToLower(code)))
		b.arrive(t, `document.readyState === "complete" && location.pathname === "/join/wait"`)
		b.shoot(t, device.name+"-wait")
		b.fits(t, "the wait")
		d.press()
		b.arrive(t, `document.readyState === "complete" && location.pathname === "/" && document.querySelector('a[href="/devices"]')`)
		b.shoot(t, device.name+"-in")
		if got := b.eval(t, `document.cookie`); got != "" {
			t.Errorf("a script can read %q", got)
		}
		b.eval(t, `document.querySelector('a[href="/words"]').click()`)
		b.arrive(t, `document.readyState === "complete" && location.pathname === "/words" && document.querySelector("form button")`)
		b.shoot(t, device.name+"-words")
		b.eval(t, `document.querySelector("form button").click()`)
		b.arrive(t, `document.readyState === "complete" && document.body.textContent.includes("press the button")`)
		d.press()
		b.arrive(t, `document.readyState === "complete" && document.querySelectorAll(".sheet li").length === 24`)
		b.shoot(t, device.name+"-sheet")
		b.fits(t, "the sheet")
		b.eval(t, `location.href = "/words/check"`)
		b.arrive(t, `document.readyState === "complete" && document.querySelectorAll('input[required]').length === 3`)
		b.shoot(t, device.name+"-check")
		b.fits(t, "the three words")
		b.eval(t, `location.href = "/settings"`)
		b.arrive(t, `document.readyState === "complete" && location.pathname === "/settings"`)
		b.eval(t, `document.querySelector('form button').click()`)
		b.arrive(t, `document.readyState === "complete" && document.querySelector('[role="status"]')`)
		b.shoot(t, device.name+"-settings")
		b.fits(t, "the settings")
		b.eval(t, `location.href = "/devices"`)
		b.arrive(t, `document.readyState === "complete" && location.pathname === "/devices"`)
		b.shoot(t, device.name+"-devices")
		b.fits(t, "the devices")
		b.eval(t, `document.querySelector('form button').click()`) // the first is this one: it leaves
		b.arrive(t, `document.readyState === "complete" && location.pathname === "/" && document.querySelector('a[href="/join"]')`)
	}
	for _, line := range b.log {
		if !strings.Contains(line, "403 (Forbidden)") { // the wrong code
			t.Errorf("the browser complained: %s", line)
		}
	}
}
