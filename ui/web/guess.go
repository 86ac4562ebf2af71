package web

import (
	"net"
	"sync"
	"time"
)

// guesses slows down whoever guesses, each address for itself, so that nobody is kept out by what others do. It need not be more: of
// a code's 50 bits a thousand guesses a second find half in 17,000 years.
type guesses struct {
	mu sync.Mutex // guards by
	by map[string]guess
}

type guess struct {
	wrong int
	until time.Time // nothing is tried before
	last  time.Time
}

const (
	guessFree   = 4                // wrong ones that cost nothing: people mistype
	guessMost   = time.Minute      // the longest wait; it doubles from a second
	guessForget = 10 * time.Minute // a address that was quiet for so long begins anew
	maxGuessers = 256              // addresses that are remembered
)

// guesser is the part of an address that one household's machine cannot change at will: all of IPv4, and an IPv6 network.
func guesser(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}

// wait is how long an address must wait before it may try; 0 if it may.
func (g *guesses) wait(from string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(0, time.Until(g.by[from].until))
}

// wrong counts a wrong guess.
func (g *guesses) wrong(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.by == nil {
		g.by = map[string]guess{}
	}
	e := g.by[from]
	if now.Sub(e.last) > guessForget {
		e = guess{}
	}
	e.wrong, e.last = e.wrong+1, now
	if n := e.wrong - guessFree; n > 0 {
		e.until = now.Add(min(time.Second<<min(n-1, 10), guessMost))
	}
	if _, known := g.by[from]; !known && len(g.by) >= maxGuessers {
		g.forgetOne()
	}
	g.by[from] = e
}

// right forgets an address's wrong guesses.
func (g *guesses) right(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.by, from)
}

// forgetOne makes room. The caller holds mu.
func (g *guesses) forgetOne() {
	oldest := ""
	for from, e := range g.by {
		if oldest == "" || e.last.Before(g.by[oldest].last) {
			oldest = from
		}
	}
	delete(g.by, oldest)
}
