package web

import (
	"encoding/json"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shelf is a Store in memory whose power fails at the nth Save: before it, or right after.
type shelf struct {
	saved []byte
	n     int // Saves until then; 0: never
	after bool
}

var errCut = errors.New("the power failed")

func (s *shelf) Load() ([]byte, error) {
	if s.saved == nil {
		return nil, fs.ErrNotExist
	}
	return s.saved, nil
}

func (s *shelf) Save(p []byte) error {
	if s.n--; s.n == 0 {
		if s.after {
			s.saved = p
		}
		return errCut
	}
	s.saved = p
	return nil
}

// clock is one that a test sets.
type clock struct {
	now     time.Time
	trusted bool
}

func (c *clock) read() (time.Time, bool) { return c.now, c.trusted }

func openClaim(t *testing.T, s *shelf, c *clock) *Claim {
	t.Helper()
	claim, err := OpenClaim(s, c.read)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func letIn(t *testing.T, c *Claim, name string) (token string) {
	t.Helper()
	token, err := c.admit(name)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestACodeCanBeTyped(t *testing.T) {
	c := openClaim(t, &shelf{}, &clock{})
	code := c.Code()
	if !regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}$`).MatchString(code) {
		t.Fatalf("code %q", code)
	}
	typed := strings.NewReplacer("1", "l", "0", "o", "V", "u", "-", " ").Replace(code)
	for _, s := range []string{code, strings.ToLower(code), typed, " " + strings.ReplaceAll(code, "-", "") + " "} {
		if err := c.Unlock(t.Context(), s); err != nil {
			t.Errorf("%q for %q: %v", s, code, err)
		}
	}
	for _, s := range []string{"", "-", code[:10], code + "0", "00000-00000", openClaim(t, &shelf{}, &clock{}).Code(), strings.Repeat(code, 100)} {
		if err := c.Unlock(t.Context(), s); !errors.Is(err, ErrWrongCode) {
			t.Errorf("%q for %q: %v", s, code, err)
		}
	}
}

// The code is in clear until the first device came back, and not a moment longer; nothing that is saved lets anybody in.
func TestTheCodeGoesWhenItWasUsed(t *testing.T) {
	s := &shelf{}
	c := openClaim(t, s, &clock{})
	code := c.Code()
	token := letIn(t, c, "Anna's tablet")
	if c.Code() != code || c.isClaimed() {
		t.Error("the code is gone before the device has come back")
	}
	if _, ok := c.device(random()); ok || c.isClaimed() {
		t.Error("another token is a device's")
	}
	d, ok := c.device(token)
	if !ok || d.Name != "Anna's tablet" || c.Code() != "" || !c.isClaimed() {
		t.Errorf("the device: %+v, %v; the code %q", d, ok, c.Code())
	}
	for _, secret := range []string{plainCode(code), token} {
		if strings.Contains(string(s.saved), secret) {
			t.Errorf("what is saved holds %q", secret)
		}
	}
	again := openClaim(t, s, &clock{})
	if _, ok := again.device(token); !ok || again.Unlock(t.Context(), code) != nil || again.Code() != "" || !again.isClaimed() {
		t.Error("a restart makes it forget")
	}
	var r record
	if err := json.Unmarshal(s.saved, &r); err != nil {
		t.Fatal(err)
	}
	if _, ok := again.device(r.Devices[0].Token); ok {
		t.Error("who reads what is saved is let in")
	}
}

// Wherever the power fails while a box is claimed, its owner can go on: the browser's cookie opens, or the code is still on the card.
func TestPowerFailsWhileABoxIsClaimed(t *testing.T) {
	for _, after := range []bool{false, true} {
		n := 1
		for ; ; n++ {
			s := &shelf{n: n, after: after}
			token := ""
			c, err := OpenClaim(s, nil)
			if err == nil {
				token, err = c.admit("x")
			}
			if err == nil {
				c.device(token)
			}
			cut := s.n <= 0
			again := openClaim(t, &shelf{saved: s.saved}, &clock{})
			_, in := again.device(token)
			if code := again.Code(); !in && (code == "" || again.Unlock(t.Context(), code) != nil) {
				t.Errorf("cut at %d, after %v: nobody can get in: %s", n, after, s.saved)
			}
			if !cut {
				break
			}
		}
		if n != 4 {
			t.Errorf("%d steps were cut", n-1)
		}
	}
}

func TestADeviceThatIsNotUsedMustAskAgain(t *testing.T) {
	s, k := &shelf{}, &clock{}
	c := openClaim(t, s, k)
	old := letIn(t, c, "old")
	c.device(old)
	k.now = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, ok := c.device(old); !ok {
		t.Error("a clock that is not trusted turns a device away")
	}
	k.now, k.trusted = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), true
	fresh := letIn(t, c, "fresh")
	c.device(fresh) // from now on the old one's time counts, too
	k.now = k.now.Add(UnusedFor - time.Hour)
	if _, ok := c.device(fresh); !ok {
		t.Error("turned away too soon")
	}
	k.now = k.now.Add(2 * time.Hour)
	if _, ok := c.device(old); ok {
		t.Error("it was not used for 90 days, and is let in")
	}
	if _, ok := c.device(fresh); !ok {
		t.Error("one that is used is turned away")
	}
	if len(c.Devices()) != 1 {
		t.Errorf("devices %+v", c.Devices())
	}
}

// A visit is written down once a day: cards wear.
func TestVisitsAreNotAllWrittenDown(t *testing.T) {
	s, k := &shelf{}, &clock{now: noon, trusted: true}
	c := openClaim(t, s, k)
	token := letIn(t, c, "x")
	c.device(token)
	before := s.n
	for range 100 {
		k.now = k.now.Add(30 * time.Minute)
		c.device(token)
	}
	if wrote := before - s.n; wrote != 2 {
		t.Errorf("%d writes in 50 hours", wrote)
	}
}

func TestOneDeviceTooMany(t *testing.T) {
	c := openClaim(t, &shelf{}, &clock{})
	var tokens []string
	for range MaxDevices {
		tokens = append(tokens, letIn(t, c, "x"))
	}
	c.device(tokens[0]) // and so the second is the one that was not used for longest
	letIn(t, c, "one more")
	if _, ok := c.device(tokens[0]); !ok || len(c.Devices()) != MaxDevices {
		t.Errorf("the one that was used last is gone; there are %d", len(c.Devices()))
	}
	if _, ok := c.device(tokens[1]); ok {
		t.Error("the one that was not used is still there")
	}
}

func TestADeviceIsTurnedAway(t *testing.T) {
	s := &shelf{}
	c := openClaim(t, s, &clock{})
	a, b := letIn(t, c, "a"), letIn(t, c, "b")
	d, _ := c.device(a)
	if err := c.Remove(d.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(d.ID); !errors.Is(err, ErrNoDevice) {
		t.Errorf("twice: %v", err)
	}
	for _, c := range []*Claim{c, openClaim(t, s, &clock{})} {
		_, gone := c.device(a)
		if _, ok := c.device(b); gone || !ok {
			t.Error("the wrong one was turned away")
		}
	}
	for _, d := range c.Devices() {
		if d.Token != "" {
			t.Error("a list of devices holds what would let them in")
		}
	}
}

func TestANewCode(t *testing.T) {
	s := &shelf{}
	c := openClaim(t, s, &clock{})
	first := c.Code()
	second, err := c.NewCode()
	if err != nil || c.Code() != second || first == second {
		t.Fatalf("%q, then %q (%v), kept %q", first, second, err, c.Code())
	}
	token := letIn(t, c, "x")
	c.device(token)
	third, err := c.NewCode()
	if err != nil || c.Unlock(t.Context(), third) != nil || c.Unlock(t.Context(), second) == nil || c.Code() != "" || strings.Contains(string(s.saved), plainCode(third)) {
		t.Errorf("the third code %q (%v): %s", third, err, s.saved)
	}
	if _, ok := c.device(token); !ok {
		t.Error("a new code turns devices away")
	}
	s.n = 1
	if _, err := c.NewCode(); !errors.Is(err, errCut) || c.Unlock(t.Context(), third) != nil {
		t.Errorf("one that could not be saved counts: %v", err)
	}
}

// FuzzClaim: whatever is saved, the box has a code that works or devices that were let in, and nobody gets in with an empty token or code.
func FuzzClaim(f *testing.F) {
	f.Add([]byte(`{"check":"","devices":[]}`), "O1IL-u")
	f.Add([]byte(`{"code":"0000000000","check":"00","devices":[{"id":"","token":""}]}`), "")
	s := &shelf{}
	c, err := OpenClaim(s, nil)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := c.admit("x"); err != nil {
		f.Fatal(err)
	}
	f.Add(s.saved, c.Code())
	f.Fuzz(func(t *testing.T, saved []byte, typed string) {
		c := openClaim(t, &shelf{saved: saved}, &clock{})
		if code := c.Code(); code != "" && c.Unlock(t.Context(), code) != nil {
			t.Errorf("the code %q does not open", code)
		}
		if c.Unlock(t.Context(), typed) == nil && len(plainCode(typed)) != codeLength {
			t.Errorf("%q opens", typed)
		}
		if _, ok := c.device(""); ok {
			t.Error("no token at all is a device's")
		}
		if n := len(c.Devices()); n > MaxDevices {
			t.Errorf("%d devices", n)
		}
	})
}
