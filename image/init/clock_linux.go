package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"
)

// pool is asked where the network names no time server of its own.
var pool = []string{"0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"}

const (
	hourly = time.Hour       // how often the time is asked for; the kernel stops to believe its clock after about nine
	soon   = 5 * time.Second // first time that nobody answered; doubled from then on, up to hourly
	step   = time.Second / 2 // a clock that is wrong by more is set, not slowed
)

// The clock of a board that was never told the time, or whose battery is empty, is before this.
var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// keepTime keeps the clock right from the first address on. Until it is right, the kernel says so to whoever asks
// (adjtimex(2)), and nothing that the box decides depends on it.
func keepTime(ctx context.Context, lists <-chan []string) {
	var servers []string
	again, pause := time.NewTimer(hourly), soon
	defer again.Stop()
	again.Stop() // nobody can be asked before there is a network
	for {
		select {
		case <-ctx.Done():
			return
		case servers = <-lists:
			servers, pause = append(servers, pool...), soon
		case <-again.C:
		}
		offset, from, err := ask(servers)
		if err == nil {
			err = set(offset)
		}
		if err == nil {
			if offset.Abs() > step {
				say("clock: set to %v by %s", time.Now().UTC().Format(time.DateTime), from)
			}
			pause = soon
			again.Reset(hourly)
			continue
		}
		if pause == soon {
			say("clock: nobody tells the time yet: %v", err)
		}
		again.Reset(pause)
		pause = min(2*pause, hourly)
	}
}

// ask asks the servers one after the other how wrong the clock is.
func ask(servers []string) (offset time.Duration, from string, err error) {
	for _, from = range servers {
		var r *ntp.Response
		if r, err = ntp.QueryWithOptions(from, ntp.QueryOptions{Timeout: 3 * time.Second}); err != nil {
			continue
		}
		if err = r.Validate(); err == nil {
			return r.ClockOffset, from, nil
		}
	}
	return 0, "", err
}

// set changes the clock, and tells the kernel that it is right. Linux then also keeps a clock with a battery in step.
func set(offset time.Duration) error {
	if offset.Abs() > step {
		now := unix.NsecToTimeval(time.Now().Add(offset).UnixNano())
		if err := unix.Settimeofday(&now); err != nil {
			return err
		}
		offset = 0
	}
	// struct timex, Linux, include/uapi/linux/timex.h. ADJ_OFFSET would need the loop that STA_PLL starts; a clock that is
	// asked for once an hour does without.
	const adjMaxError, adjEstError, adjStatus, adjSetOffset, adjNano = 0x4, 0x8, 0x10, 0x100, 0x2000
	t := unix.Timex{Modes: adjMaxError | adjEstError | adjStatus, Maxerror: 500_000, Esterror: 100_000} // in µs
	if offset != 0 {
		t.Modes |= adjSetOffset | adjNano
		t.Time.Sec, t.Time.Usec = int64(offset/time.Second), int64(offset%time.Second)
		if t.Time.Usec < 0 { // nanoseconds, which must not be negative
			t.Time.Sec, t.Time.Usec = t.Time.Sec-1, t.Time.Usec+int64(time.Second)
		}
	}
	_, err := unix.Adjtimex(&t)
	return err
}

// byBattery takes the time from a clock that has a battery, if the board has one and its time can be true: only Linux itself
// sets it, and only by a clock that is right.
func byBattery() {
	b, err := os.ReadFile("/sys/class/rtc/rtc0/since_epoch")
	if err != nil {
		return // most boards have none
	}
	seconds, err := strconv.ParseInt(string(trimLine(b)), 10, 64)
	then := time.Unix(seconds, 0)
	if err != nil || then.Before(built) {
		say("clock: the board's battery-backed clock was never set")
		return
	}
	if err := set(time.Until(then)); err != nil {
		say("clock: %v", err)
		return
	}
	say("clock: %v by the board's own", time.Now().UTC().Format(time.DateTime))
}
