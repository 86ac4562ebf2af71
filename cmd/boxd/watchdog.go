//go:build !rescue

package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
)

// The loops that must show that they live, as they are named on the console.
const (
	starting = "the start"
	mainLoop = "the main loop"
	usbLoop  = "the USB loop"
	ending   = "the end"
)

// How long each may be silent. A reset of a box that was only slow costs more than one that comes later.
const (
	startsWithin = 30 * time.Minute // a vault of a million files whose index is read anew, from drives that are first checked
	beatsWithin  = time.Minute      // the kernel may hold the list of devices back while one of them is reset
	endsWithin   = 6 * time.Minute  // init gives boxd five
)

// askUSB is how often the USB loop is asked whether it lives.
const askUSB = 5 * time.Second

// feed feeds the watchdog until ctx ends, for as long as all loops live. When one hangs it says which, once, and feeds no more,
// even if that loop comes back: the machine is reset.
func feed(ctx context.Context, dog hal.Watchdog, p *pulse, say func(format string, args ...any)) {
	tick := time.NewTicker(dog.Timeout() / 5)
	defer tick.Stop()
	failed := false
	for {
		if loop, silent := p.hung(time.Now()); loop != "" {
			say("  watchdog: %s has not answered for %v; the machine is reset", loop, silent.Round(time.Second))
			return
		}
		if err := dog.Feed(); err != nil && !failed {
			failed = true // and tried again: what resets a machine is to be fed as long as it lives
			say("  %v", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// guard opens the watchdog and feeds it while boxd lives, from its start on. letGo ends that: stop is whether the watchdog is to
// stop, too. A box without a watchdog works as well, until it hangs.
func (a *appliance) guard(ctx context.Context) (letGo func(stop bool) error) {
	none := func(bool) error { return nil }
	dog, err := openWatchdog()
	if err != nil {
		a.screen.say("  %v; nothing resets this machine if it hangs", err)
		return none
	}
	if dog == nil {
		a.screen.say("  this machine has no watchdog: nothing resets it if it hangs")
		return none
	}
	a.pulse = newPulse()
	a.pulse.expect(starting, startsWithin)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { feed(ctx, dog, a.pulse, a.screen.say) })
	return func(stop bool) error {
		cancel()
		wait.Wait()
		return dog.Close(stop)
	}
}

// release lets go of the watchdog at the end of boxd, which came with err. On the box it goes on counting: init starts boxd again, or
// feeds it while the machine is shut down. Elsewhere nobody would, and so it is stopped unless something went wrong. After a
// shutdown by the button, the machine is switched off.
func (a *appliance) release(letGo func(stop bool) error, err error) error {
	released := letGo(err == nil && !ofInit())
	if a.off && ofInit() {
		return errors.Join(released, switchOff())
	}
	if a.try || a.sick || a.reboot || a.restart == firmware.ToUpdate {
		return errors.Join(released, startAnew(!a.sick && !a.reboot))
	}
	return released
}

// watch has the main loop show that it lives, from now until ctx ends. Then what is left to do must be done in time.
func (a *appliance) watch(ctx context.Context, g *errgroup.Group) {
	states, leave := a.box.Subscribe()
	a.pulse.expect(mainLoop, beatsWithin)
	a.pulse.excuse(starting)
	context.AfterFunc(ctx, func() {
		a.pulse.expect(ending, endsWithin)
		a.pulse.excuse(mainLoop)
		a.pulse.excuse(usbLoop)
	})
	g.Go(func() error { defer leave(); watchBox(a.pulse, states); return nil })
}

// watchBox takes every State as a sign of life of the main loop, which makes one a second at least, until they end.
func watchBox(p *pulse, states <-chan firmware.State) {
	for range states {
		p.beat(mainLoop)
	}
}

// watchUSB asks the USB loop for signs of life until ctx ends.
func watchUSB(ctx context.Context, p *pulse, answer func(context.Context) error) error {
	p.expect(usbLoop, beatsWithin)
	defer p.excuse(usbLoop)
	tick := time.NewTicker(askUSB)
	defer tick.Stop()
	for {
		if err := answer(ctx); err != nil {
			return ended(err)
		}
		p.beat(usbLoop)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
