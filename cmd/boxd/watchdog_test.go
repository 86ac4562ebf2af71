//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
)

// kennel is a watchdog that remembers.
type kennel struct {
	mu     sync.Mutex // guards what follows
	fed    time.Time
	late   bool // it would have bitten in between
	broken bool
	feeds  int
}

const bites = 15 * time.Second

func (k *kennel) Feed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.feeds++
	if k.broken {
		return errors.New("watchdog: it does not eat")
	}
	k.late = k.late || !k.fed.IsZero() && time.Since(k.fed) >= bites
	k.fed = time.Now()
	return nil
}

func (k *kennel) Timeout() time.Duration { return bites }
func (k *kennel) Close(bool) error       { return nil }

// look returns for how long it was not fed, and whether it bit before.
func (k *kennel) look() (time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.fed), k.late
}

// guarded is a box of which only the loops that are looked after exist, and they do as they are told.
type guarded struct {
	dog    *kennel
	pulse  *pulse
	states chan firmware.State
	hang   map[string]chan struct{} // by loop; closed: it hangs

	mu   sync.Mutex // guards said
	said []string
}

func guardLoops(ctx context.Context, wg *sync.WaitGroup) *guarded {
	g := &guarded{dog: &kennel{}, pulse: newPulse(), states: make(chan firmware.State),
		hang: map[string]chan struct{}{mainLoop: make(chan struct{}), usbLoop: make(chan struct{})}}
	g.pulse.expect(mainLoop, beatsWithin)
	wg.Go(func() { watchBox(g.pulse, g.states) })
	wg.Go(func() {
		defer close(g.states)
		for tick := time.Tick(time.Second); ; {
			select {
			case <-tick:
				g.states <- firmware.State{}
			case <-g.hang[mainLoop]:
				<-ctx.Done()
				return
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Go(func() {
		_ = watchUSB(ctx, g.pulse, func(ctx context.Context) error {
			select {
			case <-g.hang[usbLoop]:
				<-ctx.Done()
			default:
			}
			return ctx.Err()
		})
	})
	wg.Go(func() { feed(ctx, g.dog, g.pulse, g.say) })
	return g
}

// told is what was said so far.
func (g *guarded) told() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.said)
}

func (g *guarded) say(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said = append(g.said, fmt.Sprintf(format, args...))
}

func TestALoopThatHangsEndsTheFeeding(t *testing.T) {
	for _, loop := range []string{mainLoop, usbLoop} {
		t.Run(loop, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				g := guardLoops(ctx, &wg)
				time.Sleep(24*time.Hour + 7*time.Millisecond)
				if hungry, late := g.dog.look(); hungry >= bites || late || len(g.told()) > 0 {
					t.Fatalf("all is well, and it was not fed for %v (before: %v); said: %q", hungry, late, g.told())
				}
				close(g.hang[loop])
				time.Sleep(beatsWithin - 2*askUSB)
				if hungry, _ := g.dog.look(); hungry >= bites {
					t.Errorf("only slow, and not fed for %v", hungry)
				}
				time.Sleep(4*askUSB + bites)
				if hungry, _ := g.dog.look(); hungry < bites {
					t.Errorf("it hangs, and was fed %v ago", hungry)
				}
				time.Sleep(time.Hour)
				if said := g.told(); len(said) != 1 || !strings.Contains(said[0], loop+" has not answered") {
					t.Errorf("said: %q", said)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestTheStartAndTheEndAreLookedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dog, p := &kennel{}, newPulse()
		said := ""
		p.expect(starting, startsWithin)
		go feed(ctx, dog, p, func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
		time.Sleep(startsWithin - time.Second)
		p.excuse(starting)
		p.beat(starting) // late, and of no consequence
		time.Sleep(time.Hour)
		if hungry, late := dog.look(); hungry >= bites || late {
			t.Errorf("a start that is over is held against it: %v", hungry)
		}
		p.expect(ending, endsWithin)
		time.Sleep(endsWithin + 2*bites)
		synctest.Wait()
		if hungry, _ := dog.look(); hungry < bites || !strings.Contains(said, ending) {
			t.Errorf("an end that does not come: fed %v ago; said %q", hungry, said)
		}
	})
}

// A watchdog that takes no food once may take it the next time.
func TestAWatchdogThatIsNotFedIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		dog, said := &kennel{broken: true}, 0
		feed(ctx, dog, newPulse(), func(string, ...any) { said++ })
		if said != 1 || dog.feeds < 1000 {
			t.Errorf("told %d times, tried %d times", said, dog.feeds)
		}
	})
}

func TestWithoutAWatchdogNothingIsExpected(t *testing.T) {
	var p *pulse
	p.expect(mainLoop, 0)
	p.beat(mainLoop)
	p.excuse(mainLoop)
}
