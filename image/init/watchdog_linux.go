package main

import (
	"os"
	"time"
)

// tick is how often the watchdog is fed while the system is made usable. The Pi's bites after 15 s at most
// (Linux, drivers/watchdog/bcm2835_wdt.c).
const tick = 2 * time.Second

// forever is long enough for anything.
const forever = 1<<63 - 1

// dog is the hardware watchdog while boxd does not have it: from the first moment on until it does, and after boxd's end.
type dog struct{ stop, stopped chan struct{} }

// guard opens the watchdog, which begins to count, and feeds it for so long at most: what takes longer hangs.
func guard(most time.Duration) dog {
	d := dog{make(chan struct{}), make(chan struct{})}
	f, err := os.OpenFile("/dev/watchdog", os.O_WRONLY, 0)
	if err != nil {
		say("no hardware watchdog: %v", err)
		close(d.stopped)
		return d
	}
	go func() {
		defer close(d.stopped)
		defer f.Close() // without the letter V, it goes on counting (Linux, Documentation/watchdog/watchdog-api.rst)
		t := time.NewTicker(tick)
		defer t.Stop()
		late := time.NewTimer(most)
		defer late.Stop()
		for {
			if _, err := f.Write([]byte{0}); err != nil {
				say("watchdog: %v", err)
				return
			}
			select {
			case <-t.C:
			case <-late.C:
				say("watchdog: after %v it is not fed any more", most)
				return
			case <-d.stop:
				return
			}
		}
	}()
	return d
}

// handOver lets go of the watchdog, just fed. From now on it is boxd that must feed it, or the machine is reset.
func (d dog) handOver() {
	close(d.stop)
	<-d.stopped
}
