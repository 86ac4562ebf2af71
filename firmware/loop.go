package firmware

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// tickEvery is how often the State is told that time passed. Nothing that it waits for is finer than a second.
const tickEvery = time.Second

// loop is the running part of a Box. Its fields belong to the goroutine of Run, but for ctx and box.
type loop struct {
	box    *Box
	ctx    context.Context // of everything that the loop starts; lives as long as Run
	cancel context.CancelFunc
	wg     sync.WaitGroup // everything that the loop started

	state    State
	gestures Gestures
	phones   map[int]*minder
	ports    int                // numbers given to attachments
	started  uint64             // the last job that was started
	stopJob  context.CancelFunc // ends the running job
	pages    chan Upkeep        // to be written down; nil without a Diary
	kept     uint64             // see memory.kept
}

func (l *loop) run() error {
	phones, dead := make(chan usbhost.Phone), make(chan error, 1)
	l.wg.Go(func() { dead <- l.accept(phones) })
	l.wg.Go(l.boot)
	if l.box.config.Diary != nil && l.box.config.Keeper != nil {
		l.pages = make(chan Upkeep, 1)
		var diarist sync.WaitGroup
		diarist.Go(func() { l.box.diarist(l.ctx, l.pages) })
		defer diarist.Wait()
		defer close(l.pages)
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	button := time.NewTimer(0)
	defer button.Stop()
	for {
		if at, ok := l.gestures.Next(); ok {
			button.Reset(time.Until(at))
		} else {
			button.Stop()
		}
		select {
		case <-l.ctx.Done():
			l.drain()
			return nil
		case err := <-dead:
			if l.ctx.Err() != nil {
				err = nil
			}
			l.drain()
			return err
		case phone := <-phones:
			l.plugged(phone)
		case e := <-l.box.events:
			l.take(e)
		case e := <-l.box.edges:
			l.press(l.gestures.Edge(e.at, e.down))
		case <-button.C:
			l.press(l.gestures.late(l.box.edges))
			l.press(l.gestures.Elapse(time.Now()))
		case r := <-l.box.commands:
			err := l.state.Allows(r.command)
			if err == nil {
				l.take(Asked{r.command})
			}
			r.answer <- err
		case <-tick.C:
			l.take(Tick{l.box.config.ClockTrusted != nil && l.box.config.ClockTrusted()})
		}
	}
}

// drain ends all that runs and waits for it, still taking in what it has to say: a backup commits what it has.
func (l *loop) drain() {
	l.cancel()
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	for {
		select {
		case e := <-l.box.events:
			l.state = l.state.Next(time.Now(), e)
			l.box.publish(l.state)
			l.closed(e)
		case <-done:
			l.state.memory.kept++ // the hours since the last page
			l.writeDown()
			return
		}
	}
}

func (l *loop) press(gestures []Gesture) {
	for _, g := range gestures {
		l.take(Pressed{g})
	}
}

// take gives an event to the State and does what the new State wants.
func (l *loop) take(e Event) {
	for e != nil {
		before := l.state
		l.state = l.state.Next(time.Now(), e)
		l.note(before, e)
		l.box.publish(l.state)
		l.writeDown()
		l.closed(e)
		e = l.follow()
	}
}

// closed lets the minder of a phone that left go: nothing is asked of it any more.
func (l *loop) closed(e Event) {
	if gone, ok := e.(PhoneLeft); ok {
		if m := l.phones[gone.Port]; m != nil {
			delete(l.phones, gone.Port)
			close(m.quit)
		}
	}
}

// follow starts or ends a job as the State asks. It returns the end of a job that could not even be started.
func (l *loop) follow() Event {
	job := l.state.Job
	if job.Kind == NoJob {
		return nil
	}
	if job.N == l.started {
		if job.Cancel {
			l.stopJob()
		}
		return nil
	}
	l.started = job.N
	if l.stopJob != nil {
		l.stopJob() // the last one has ended; this frees its context
	}
	ctx, cancel := context.WithCancel(l.ctx)
	l.stopJob = cancel
	switch job.Kind {
	case JobBackup, JobRestore, JobProbe:
		m := l.phones[job.Port]
		if m == nil {
			return ended(job, usbhost.ErrUnplugged)
		}
		m.orders <- order{ctx, job} // has room for one, and there is one job at a time
	default:
		l.wg.Go(func() { l.box.send(l.box.vaultJob(ctx, job)) })
	}
	return nil
}

// ended is the end event of a job on a phone that could not be run.
func ended(job Job, err error) Event {
	switch job.Kind {
	case JobBackup:
		return BackupEnded{Job: job.N, Phone: job.Phone, Err: err}
	case JobRestore:
		return RestoreEnded{Job: job.N, Err: err}
	}
	return Probed{Job: job.N, Port: job.Port, Err: err}
}

// accept takes phones from the bus until the bus is dead.
func (l *loop) accept(phones chan<- usbhost.Phone) error {
	for {
		p, err := l.box.config.Bus.Accept(l.ctx)
		if err != nil {
			return err
		}
		select {
		case phones <- p:
		case <-l.ctx.Done():
			return p.Close()
		}
	}
}

// plugged starts a minder for a phone that arrived.
func (l *loop) plugged(phone usbhost.Phone) {
	l.ports++
	m := &minder{box: l.box, port: l.ports, phone: phone, orders: make(chan order, 1), quit: make(chan struct{})}
	l.phones[m.port] = m
	l.wg.Go(func() { m.run(l.ctx) })
}

// boot reads what the box remembers.
func (l *loop) boot() {
	e := Booted{Policy: l.box.config.Policy}
	var errs [3]error
	e.Enrolled, errs[0] = l.box.config.Roster.Enrolled(l.ctx)
	e.Backups, errs[1] = l.box.config.Vault.History(l.ctx)
	e.Health, errs[2] = l.box.config.Vault.Health(l.ctx)
	e.Err = errors.Join(errs[:]...)
	e.Upkeep, e.Receipt = l.box.remembered(l.ctx), l.box.lastReceipt(l.ctx)
	l.box.send(e)
}

// note logs what changed: one line per change of phase, codes of new faults, and the chain of errors at Debug, since it may
// hold names of files.
func (l *loop) note(before State, e Event) {
	log := l.box.log
	if before.Phase != l.state.Phase {
		log.Info("phase", "from", before.Phase, "to", l.state.Phase)
	}
	for _, f := range l.state.Faults {
		known := false
		for _, o := range before.Faults {
			known = known || o.Code == f.Code
		}
		if !known {
			log.Warn("fault", "code", f.Code, "severity", f.Severity)
		}
	}
	if err := errorOf(e); err != nil {
		log.Debug("ended with an error", slog.String("event", eventName(e)), slog.Any("err", err))
	}
}

func errorOf(e Event) error {
	switch e := e.(type) {
	case Booted:
		return e.Err
	case PhoneSilent:
		return e.Err
	case Checked:
		return e.Err
	case EnrolEnded:
		return e.Err
	case ForgetEnded:
		return e.Err
	case BackupEnded:
		return e.Err
	case HealEnded:
		return e.Err
	case DriveAdopted:
		return e.Err
	case StickMade:
		return e.Err
	case Probed:
		return e.Err
	case RestoreEnded:
		return e.Err
	case Ejected:
		return e.Err
	case ScrubEnded:
		return e.Err
	case DrillEnded:
		return e.Err
	case PruneEnded:
		return e.Err
	case RefreshEnded:
		return e.Err
	case UpdateEnded:
		return e.Err
	case ResetEnded:
		return e.Err
	}
	return nil
}
