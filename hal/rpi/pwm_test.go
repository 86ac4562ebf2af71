package rpi

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"phonebackupbox/hal"
)

func TestDuty(t *testing.T) {
	// CIE 1931 computed by hand: L* 1.18, 8.2, 50.2.
	for l, want := range map[hal.Level]float64{0: 0, 3: 0.0013, 21: 0.0091, 128: 0.1858, 255: 1} {
		if got := float64(dutyOf(l)) / float64(gpio.DutyMax); math.Abs(got-want) > 0.0001 {
			t.Errorf("level %d is lit %.4f of the time, want %.4f", l, got, want)
		}
	}
	if dutyOf(0) != 0 || dutyOf(255) != gpio.DutyMax {
		t.Error("dark or full is not exact")
	}
	for l := range hal.Level(255) {
		if dutyOf(l+1) <= dutyOf(l) {
			t.Errorf("level %d is not brighter than %d", l+1, l)
		}
	}
}

// wall is lights that note for how long they were lit, in fake time.
type wall struct {
	mu     sync.Mutex // guards what follows
	bits   uint64
	since  time.Time
	lit    [hal.Lights]time.Duration
	on     [hal.Lights]int // pulses
	calls  int
	broken bool
}

// look has f look at the lights, or change something about them.
func (w *wall) look(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *wall) set(bits uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.broken {
		return errors.New("lights: no answer")
	}
	now := time.Now()
	for i := range hal.Lights {
		if w.bits&(1<<i) != 0 {
			w.lit[i] += now.Sub(w.since)
		}
		if bits&^w.bits&(1<<i) != 0 {
			w.on[i]++
		}
	}
	w.bits, w.since = bits, now
	return nil
}

// onWall runs a dimmer in fake time, whose waits end as late as late says.
func onWall(t *testing.T, late func() time.Duration, f func(t *testing.T, d *dimmer, w *wall)) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{}
		d := newDimmer(w, func(at time.Time) {
			left := time.Until(at)
			if left > spins {
				left += late()
			}
			time.Sleep(left)
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.run(ctx) }()
		f(t, d, w)
		cancel()
		if err := <-ended; !w.broken && err != nil || w.bits != 0 {
			t.Errorf("ended with %v and lights %b", err, w.bits)
		}
		if err := d.show(hal.Frame{}); err == nil {
			t.Error("lights that are not driven can be set")
		}
	})
}

func never() time.Duration { return 0 }

func TestDimmedLights(t *testing.T) {
	frame := hal.Frame{0, 255, 1, 3, 128, 128}
	n := 0
	for name, late := range map[string]func() time.Duration{
		"waits end in time": never,
		"waits end late":    func() time.Duration { n++; return time.Duration(37+n*7919%113) * time.Microsecond },
	} {
		t.Run(name, func(t *testing.T) {
			onWall(t, late, func(t *testing.T, d *dimmer, w *wall) {
				if err := d.show(frame); err != nil {
					t.Fatal(err)
				}
				from := time.Now()
				w.look(func() { w.lit, w.on = [hal.Lights]time.Duration{}, [hal.Lights]int{} })
				time.Sleep(10 * time.Second)
				var lit [hal.Lights]time.Duration
				var on [hal.Lights]int
				w.look(func() { lit, on = w.lit, w.on })
				if err := d.show(hal.Frame{0, 255}); err != nil {
					t.Fatal(err)
				}
				whole := time.Since(from)
				w.look(func() { lit[1] = w.lit[1] })
				for i, l := range frame {
					want := float64(dutyOf(l)) / float64(gpio.DutyMax)
					got := float64(lit[i]) / float64(whole)
					if (l == 0 || l == 255) && math.Abs(got-want) > 1e-3 || math.Abs(got-want) > 0.0005+0.02*want {
						t.Errorf("light %d at level %d was lit %.5f of the time, want %.5f", i+1, l, got, want)
					}
				}
				if on[0] != 0 || on[1] > 1 {
					t.Errorf("what does not change was switched: %d and %d times", on[0], on[1])
				}
				if on[4] < 1900 {
					t.Errorf("%d pulses in 10 s: it flickers", on[4])
				}
			})
		})
	}
}

// Six lights of one level are switched together: a box that breathes is woken 400 times a second and not 1400 times.
func TestLightsOfOneLevelAreSwitchedTogether(t *testing.T) {
	onWall(t, never, func(t *testing.T, d *dimmer, w *wall) {
		if err := d.show(hal.Frame{90, 90, 90, 90, 90, 90}); err != nil {
			t.Fatal(err)
		}
		n := 0
		w.look(func() { n -= w.calls })
		time.Sleep(time.Second)
		if w.look(func() { n += w.calls }); n > 402 {
			t.Errorf("the lines are set %d times a second", n)
		}
	})
}

func TestLightsThatAreNotDimmedCostNothing(t *testing.T) {
	onWall(t, never, func(t *testing.T, d *dimmer, w *wall) {
		for _, f := range []hal.Frame{{}, {255, 0, 255, 0, 0, 255}} {
			if err := d.show(f); err != nil {
				t.Fatal(err)
			}
			n := 0
			w.look(func() { n -= w.calls })
			time.Sleep(time.Hour)
			if w.look(func() { n += w.calls }); n != 0 {
				t.Errorf("%v: the lines were set %d times in an hour", f, n)
			}
		}
		w.look(func() {
			if w.bits != 0b100101 {
				t.Errorf("lit: %b", w.bits)
			}
		})
	})
}

func TestShowIsQuickAndTellsOfDeadLines(t *testing.T) {
	onWall(t, never, func(t *testing.T, d *dimmer, w *wall) {
		for i := range 1000 {
			from := time.Now()
			if err := d.show(hal.Frame{hal.Level(i), 3, 0, 255, 9}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(from); took > 10*time.Millisecond {
				t.Fatalf("it took %v", took)
			}
			time.Sleep(1700 * time.Microsecond)
		}
		if err := d.show(hal.Frame{}); err != nil {
			t.Fatal(err)
		}
		w.look(func() { w.broken = true })
		for range 2 {
			if err := d.show(hal.Frame{7}); err == nil {
				t.Error("dead lines are not told of")
			}
		}
		w.look(func() { w.broken = false })
		if err := d.show(hal.Frame{7}); err != nil {
			t.Errorf("the next one does not work: %v", err)
		}
	})
}
