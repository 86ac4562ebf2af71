//go:build !rescue && linux

package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"phonebackupbox/ui/web"
)

// A box is claimed over the network: with the code that it tells, and a finger on its button. Then the code is nowhere any more, and
// the device is known after a restart.
func TestABoxIsClaimed(t *testing.T) {
	s, boot := newSite(t, 1, 0), t.TempDir()
	state := filepath.Join(s.dir, "state")
	b := runSite(t, s, state, filepath.Join(s.dir, "no phone"), "--boot", boot, "--web", "0.0.0.0:0")
	port := b.until("http://")
	port = port[strings.LastIndexByte(port, ':')+1:]
	said := b.until("the box's code is")
	code := regexp.MustCompile(`[0-9A-Z]{5}-[0-9A-Z]{5}`).FindString(said)
	onCard := readFile(t, filepath.Join(boot, codeName))
	if code == "" || !strings.Contains(onCard, code) {
		t.Fatalf("it says %q, and on the card is %q", said, onCard)
	}
	b.until("The box is ready.")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// What was passed on by another program counts as from elsewhere, although the test is on this computer.
	browser := &http.Client{Jar: jar, Transport: passedOn{}}
	at := "http://127.0.0.1:" + strings.TrimRight(strings.TrimSpace(port), "/")
	ask := func(resp *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		p, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	if p := ask(browser.Get(at + "/")); !strings.Contains(p, "/join") || strings.Contains(p, "/devices") {
		t.Fatalf("a stranger sees:\n%s", p)
	}
	if p := ask(browser.PostForm(at+"/join", url.Values{"code": {code}, "name": {"Anna's tablet"}})); !strings.Contains(p, "Now press the button") {
		t.Fatalf("the code is answered with:\n%s", p)
	}
	b.until("a page asks")
	b.tap()
	b.until("said yes to a page: let Anna's tablet in")
	if p := ask(browser.Get(at + "/join/wait")); !strings.Contains(p, "/devices") {
		t.Fatalf("the press is answered with:\n%s", p)
	}
	if err := b.stop(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(boot, codeName)); err == nil {
		t.Error("the code is still on the card")
	}
	claim, err := web.OpenClaim(claimStore{state}, nil)
	if err != nil || claim.Code() != "" || len(claim.Devices()) != 1 || claim.Unlock(t.Context(), code) != nil {
		t.Errorf("what is left: %+v, %v", claim, err)
	}
	if info, err := os.Stat(filepath.Join(state, claimName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
}

// passedOn marks requests as passed on.
type passedOn struct{}

func (passedOn) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Via", "1.1 test")
	return http.DefaultTransport.RoundTrip(r)
}

// The file on the card follows the claim wherever the power failed between the two.
func TestTheCodeOnTheCardFollowsTheClaim(t *testing.T) {
	dir := t.TempDir()
	p, err := openBootPart(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, codeName)
	there := func() string { b, _ := os.ReadFile(name); return string(b) }
	if err := p.keepCode(""); err != nil || there() != "" {
		t.Errorf("nothing to erase: %v", err)
	}
	for _, code := range []string{"AAAAA-AAAAA", "BBBBB-BBBBB"} {
		if err := p.keepCode(code); err != nil || !strings.Contains(there(), code) {
			t.Errorf("%s: %v: %q", code, err, there())
		}
	}
	if err := os.WriteFile(name, []byte("half a fi"), 0o600); err != nil { // by whoever had the card
		t.Fatal(err)
	}
	if err := p.keepCode("BBBBB-BBBBB"); err != nil || there() != string(codeText("BBBBB-BBBBB")) {
		t.Errorf("put right: %v: %q", err, there())
	}
	kept, err := os.Open(name) // sees what becomes of the bytes themselves
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := p.keepCode(""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name); err == nil {
		t.Error("it is still there")
	}
	if left, err := io.ReadAll(kept); err != nil || strings.TrimSpace(string(left)) != "" {
		t.Errorf("its sectors hold %q, %v", left, err)
	}
}

// A reset, and a file that is damaged, make a new code.
func TestAResetEndsTheClaim(t *testing.T) {
	state := t.TempDir()
	first, err := web.OpenClaim(claimStore{state}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := putStateFile(state, resetName, nil); err != nil {
		t.Fatal(err)
	}
	if err := finishReset(state, nil); err != nil {
		t.Fatal(err)
	}
	second, err := web.OpenClaim(claimStore{state}, nil)
	if err != nil || second.Code() == first.Code() {
		t.Errorf("after a reset the code is the same: %v", err)
	}
	if err := os.WriteFile(filepath.Join(state, claimName), []byte(`{"check":`), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := web.OpenClaim(claimStore{state}, nil)
	if err != nil || third.Code() == "" || third.Code() == second.Code() {
		t.Errorf("after damage: %v", err)
	}
	if belongs(claimName) {
		t.Error("who may use the box goes into the vault")
	}
}
