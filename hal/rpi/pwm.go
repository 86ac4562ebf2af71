package rpi

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"phonebackupbox/hal"
)

// dimRate is how often a second a dimmed light is on: from 100 Hz on nobody sees it flicker, twice that also from the corner of the
// eye, and when a pulse is left out now and then.
const dimRate = 200 * physic.Hertz

// dutyOf is the part of the time that a light must be on to be seen as bright as l: CIE 1931 lightness, L* = 100·l/255, in which
// Y is L*/903.3 up to L* = 8 and ((L*+16)/116)³ above. 0 and 255 are exact.
func dutyOf(l hal.Level) gpio.Duty {
	lightness := 100 * float64(l) / 255
	y := lightness / 903.3
	if lightness > 8 {
		y = (lightness + 16) / 116
		y *= y * y
	}
	return gpio.Duty(y*float64(gpio.DutyMax) + 0.5)
}

// lines are the outputs of the lights: bit i is light i, 1 lit.
type lines interface {
	set(bits uint64) error
}

// dimmer shows frames on lines that only know on and off. It has one goroutine, that of run.
type dimmer struct {
	lines  lines
	wait   func(until time.Time) // time's own timers are too coarse: they wake a millisecond late
	orders chan order
	ended  chan struct{} // closed when run has returned
}

type order struct {
	frame hal.Frame
	done  chan error // has room for one
}

func newDimmer(l lines, wait func(time.Time)) *dimmer {
	return &dimmer{lines: l, wait: wait, orders: make(chan order), ended: make(chan struct{})}
}

// show hands a frame to run, and returns when it is shown.
func (d *dimmer) show(f hal.Frame) error {
	o := order{f, make(chan error, 1)}
	select {
	case d.orders <- o:
		return <-o.done
	case <-d.ended:
		return errEnded
	}
}

// run shows frames until ctx ends, and leaves the lights dark. While no light is dimmed it sleeps.
func (d *dimmer) run(ctx context.Context) error {
	defer close(d.ended)
	now := order{done: make(chan error, 1)}
	for {
		p := newPulses(now.frame)
		err := d.lines.set(p.full)
		now.done <- err
		if len(p.dimmed) > 0 && err == nil {
			if next, ok := d.dim(ctx, p); ok {
				now = next
				continue
			}
		} else {
			select {
			case now = <-d.orders:
				continue
			case <-ctx.Done():
			}
		}
		return d.lines.set(0)
	}
}

// dim gives pulses until there is another frame, or ok is false since ctx ended. A period in which the lines could not be set is
// lost; the next one may work.
func (d *dimmer) dim(ctx context.Context, p pulses) (next order, ok bool) {
	for begin := time.Now(); ; {
		p.period(d.lines, d.wait, begin)
		begin = begin.Add(dimRate.Period())
		if late := time.Since(begin); late > dimRate.Period() {
			begin = begin.Add(late)
		}
		select {
		case next = <-d.orders:
			return next, true
		case <-ctx.Done():
			return next, false
		default:
		}
		d.wait(begin)
	}
}

// pulses are the lights that are lit, and for how long of each period.
type pulses struct {
	full   uint64
	dimmed []pulse
}

// pulse is what one light is on for in each period.
type pulse struct {
	bit  uint64
	on   time.Duration
	owed time.Duration // what the pulses before lacked; negative: they were too long, since a wait ended late
}

func newPulses(f hal.Frame) pulses {
	var p pulses
	for i, l := range f {
		switch duty := dutyOf(l); duty {
		case 0:
		case gpio.DutyMax:
			p.full |= 1 << i
		default:
			p.dimmed = append(p.dimmed, pulse{bit: 1 << i, on: dimRate.Period() * time.Duration(duty) / time.Duration(gpio.DutyMax)})
		}
	}
	return p
}

// spins is the longest wait that is spent awake: one that sleeps ends later than asked for by about as much.
const spins = 100 * time.Microsecond

// together is how much earlier a light may go out, along with another.
const together = 2 * time.Microsecond

// period gives one pulse to every dimmed light: all begin together, and each ends in its turn. What a pulse was too long by is taken
// from the next ones, so that the average is right however late the waits end; but at most three are left out for it, so that no light
// seems to go out.
func (p *pulses) period(l lines, wait func(time.Time), begin time.Time) {
	slices.SortStableFunc(p.dimmed, func(a, b pulse) int { return cmp.Compare(a.on+a.owed, b.on+b.owed) })
	lit := p.full
	for i := range p.dimmed {
		s := &p.dimmed[i]
		if s.on+s.owed > 0 {
			lit |= s.bit
		} else {
			s.owed += s.on // left out
		}
	}
	if lit == p.full {
		return
	}
	if l.set(lit) != nil {
		return
	}
	began := time.Now()
	for i := 0; i < len(p.dimmed); {
		s := &p.dimmed[i]
		if lit&s.bit == 0 {
			i++
			continue
		}
		first, end := i, s.on+s.owed
		for ; i < len(p.dimmed) && p.dimmed[i].on+p.dimmed[i].owed <= end+together; i++ {
			lit &^= p.dimmed[i].bit
		}
		wait(began.Add(end))
		_ = l.set(lit) // if it stays on, the next period finds out
		was := time.Since(began)
		for j := first; j < i; j++ {
			s := &p.dimmed[j]
			s.owed = min(max(s.on+s.owed-was, -3*s.on), s.on)
		}
	}
}

// errEnded: the lights are not driven any more.
var errEnded = fmt.Errorf("rpi: the lights are not driven any more")
