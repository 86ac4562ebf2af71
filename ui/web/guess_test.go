package web

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuessesBecomeSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guesses
		var waits []time.Duration
		for range 14 {
			g.wrong("a")
			w := g.wait("a")
			waits = append(waits, w/time.Second)
			time.Sleep(w)
			if g.wait("a") != 0 {
				t.Error("the wait does not end")
			}
		}
		if got, want := fmt.Sprintf("%d", waits), "[0 0 0 0 1 2 4 8 16 32 60 60 60 60]"; got != want {
			t.Errorf("waits of %s s, want %s", got, want)
		}
		g.wrong("a")
		if g.wait("b") != 0 {
			t.Error("one waits for another's guesses")
		}
		g.right("a")
		if g.wait("a") != 0 {
			t.Error("who knows the code waits")
		}
		for range 6 {
			g.wrong("a")
		}
		time.Sleep(guessForget + time.Second)
		if g.wrong("a"); g.wait("a") != 0 {
			t.Error("old guesses count for ever")
		}
		for i := range 3 * maxGuessers {
			time.Sleep(time.Millisecond)
			g.wrong(fmt.Sprint(i))
		}
		if len(g.by) != maxGuessers {
			t.Errorf("%d addresses are remembered", len(g.by))
		}
	})
}

func TestWhoIsOneGuesser(t *testing.T) {
	same := func(a, b string) bool { return guesser(a) == guesser(b) }
	if !same("192.168.1.7:5000", "192.168.1.7:5001") || same("192.168.1.7:5000", "192.168.1.8:5000") {
		t.Error("IPv4")
	}
	if !same("[2001:db8::1]:5000", "[2001:db8::ffff:2]:1") || same("[2001:db8::1]:5000", "[2001:db8:0:1::1]:5000") {
		t.Error("IPv6")
	}
}
