package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"phonebackupbox/storage"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Été 写真 😀":         "Été 写真 😀",
		`it's "5" \ here`:  `it's "5" \ here`,
		"a\nb\x1b[31m\x00": `a\nb\x1b[31m\x00`,
		"bad\xff":          `bad\xff`,
		"\u202egpj.exe":    `\u202egpj.exe`, // a bidirectional override
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzNamesAreSafeToShow(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\x07\xff\u202e\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, shown := range []string{printable(s), quoteName(s)} {
			if !utf8.ValidString(shown) || strings.ContainsAny(shown, "\x1b\n\r\x07\x00\u202e") {
				t.Errorf("%q is shown as %q", s, shown)
			}
		}
		if back, err := strconv.Unquote(`"` + quoteName(s) + `"`); err != nil || back != s {
			t.Errorf("quoting %q is not reversible: %q, %v", s, back, err)
		}
	})
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_949: "9.9 kB", 9_950: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB", 4_294_971_617: "4.3 GB", 1 << 62: "4.6 EB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	if got := count(1234567); got != "1,234,567" {
		t.Error(got)
	}
}

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		done, total, moved int64
		took               time.Duration
		want               string
	}{
		{5e6, 0, 5e6, time.Second, "copying  5.0 MB  3 files"},
		{50e6, 100e6, 25e6, 2 * time.Second, "copying ▕████████████············▏  50 %  50 MB of 100 MB  12 MB/s  5 s left  3 files"},
		{100e6, 100e6, 100e6, 10 * time.Second, "copying ▕████████████████████████▏ 100 %  100 MB of 100 MB  10 MB/s  3 files"},
		{1e6, 100e6, 0, time.Millisecond, "copying ▕▏·······················▏   1 %  1.0 MB of 100 MB  3 files"},
	} {
		if got := barLine("copying", c.done, c.total, c.moved, c.took, "3 files"); got != c.want {
			t.Errorf("%+v\n got %q\nwant %q", c, got, c.want)
		}
	}
	if got := timeLeft(3*time.Hour + 5*time.Minute); got != "3 h 05 min" {
		t.Error(got)
	}
}

func TestOneLineSaysEverythingOnce(t *testing.T) {
	full := fmt.Errorf("put a: %w", storage.ErrFull)
	err := errors.Join(full, fmt.Errorf("close: %w", full), errors.New("and another"))
	if got := oneLine(err); got != "put a: no space left; and another" {
		t.Errorf("%q", got)
	}
	if code, advice := advise(err); code != "full" || advice == "" {
		t.Errorf("%q, %q", code, advice)
	}
	stop := fmt.Errorf("vault: verify: %w", context.Canceled)
	if got := oneLine(errors.Join(stop, errors.New("close: input/output error"))); got != "stopped; close: input/output error" {
		t.Errorf("%q", got)
	}
}
