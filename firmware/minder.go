package firmware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"phonebackupbox/usbhost"
)

// infoWithin bounds one question to a phone who it is. Phones that were just plugged in take some seconds to answer.
const infoWithin = 30 * time.Second

// silentPoll is how often a phone that did not answer is asked again.
const silentPoll = 5 * time.Second

// flushWithin bounds what is still done for a run that was cancelled: committing what it stored.
const flushWithin = 5 * time.Minute

// watchEvery is the least time between two progress events.
const watchEvery = 100 * time.Millisecond

// A minder is the one goroutine that talks to a phone, from its arrival until it is gone.
type minder struct {
	box    *Box
	port   int
	phone  usbhost.Phone
	orders chan order    // jobs on this phone; room for one
	quit   chan struct{} // closed when the loop will send no more orders

	info  usbhost.Info
	named bool          // info is valid
	poll  time.Duration // ask again after; 0 for never
	told  bool          // that it is silent
}

type order struct {
	ctx context.Context
	job Job
}

func (m *minder) run(ctx context.Context) {
	defer m.close()
	m.box.send(PhoneArrived{m.port})
	m.identify(ctx)
	gone := m.phone.Gone()
	var woken <-chan struct{} // nil for a phone that never says
	if w, ok := m.phone.(usbhost.Waker); ok {
		woken = w.Woken()
	}
	for {
		var again <-chan time.Time
		if m.poll > 0 {
			again = time.After(m.poll)
		}
		select {
		case o := <-m.orders:
			m.do(o)
		case <-again:
			m.identify(ctx)
		case <-woken:
			if m.poll > 0 { // it was locked or silent when it was asked last
				m.identify(ctx)
			}
		case <-gone:
			gone, m.poll = nil, 0
			m.box.send(PhoneLeft{m.port})
		case <-m.quit:
			m.drain()
			return
		case <-ctx.Done():
			m.drain()
			return
		}
	}
}

// drain ends an order that came too late to be run.
func (m *minder) drain() {
	select {
	case o := <-m.orders:
		m.box.send(ended(o.job, usbhost.ErrUnplugged))
	default:
	}
}

func (m *minder) close() {
	if err := m.phone.Close(); err != nil && !errors.Is(err, usbhost.ErrUnplugged) {
		m.box.log.Debug("closing a phone", "err", err)
	}
}

// identify asks the phone who it is and how it is.
func (m *minder) identify(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, infoWithin)
	defer cancel()
	info, err := m.phone.Info(ctx)
	if err == nil && info.ID == "" {
		err = fmt.Errorf("firmware: a phone without an ID: %w", usbhost.ErrUnsupported)
	}
	if err != nil {
		m.poll = silentPoll
		if !m.told && !m.named && ctx.Err() != context.Canceled {
			m.told = true
			m.box.send(PhoneSilent{m.port, err})
		}
		return
	}
	m.poll = 0
	if info.Locked {
		m.poll = LockedPoll
	}
	if !m.named || info != m.info || m.told {
		m.box.send(PhoneIdentified{m.port, info})
	}
	m.info, m.named, m.told = info, true, false
}

// do runs a job on the phone and tells how it ended.
func (m *minder) do(o order) {
	var end Event
	switch o.job.Kind {
	case JobBackup:
		e := m.backup(o.ctx, o.job)
		if errors.Is(e.Err, usbhost.ErrLocked) {
			m.told, m.poll = true, LockedPoll // tell again who it is once it is unlocked
		}
		end = e
	case JobRestore:
		end = m.restore(o.ctx, o.job)
	default:
		fresh, why, err := probe(o.ctx, m.phone)
		end = Probed{o.job.N, o.job.Port, fresh, why, err}
	}
	m.box.send(end)
}

// backup makes a snapshot of the phone and reads it back.
func (m *minder) backup(ctx context.Context, job Job) BackupEnded {
	end := BackupEnded{Job: job.N, Phone: job.Phone}
	draft, err := m.box.config.Vault.Begin(ctx, m.info)
	if err != nil {
		end.Err = err
		return end
	}
	end.Report, end.Err = m.phone.Backup(ctx, draft, m.watch(job))
	complete := end.Err == nil && end.Report.Complete()
	// What is kept may come from a run that ended with the box, and be in no snapshot yet.
	news := end.Report.Stored > 0 || end.Report.Removed > 0 || job.First && end.Report.Kept > 0
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	if complete || news {
		// What came from a phone that is gone now is kept, marked incomplete: it may never come back.
		b, err := draft.Commit(flush, end.Report, complete)
		if err != nil {
			end.Err = errors.Join(end.Err, err)
		} else {
			end.Backup = &b
			m.box.send(BackupCommitted{job.N, b})
		}
	}
	if end.Err == nil && end.Backup != nil {
		end.Err = draft.Verify(ctx, throttle(func(done, total int64) { m.box.send(Verified{job.N, done, total}) }))
		end.Verified = end.Err == nil
	}
	if err := draft.Close(); err != nil {
		end.Err, end.Verified = errors.Join(end.Err, err), false
	}
	if h, err := m.box.config.Vault.Health(flush); err == nil {
		end.Health = h
		end.Health.Known = true
	} else {
		m.box.log.Debug("health after a backup", "err", err)
	}
	return end
}

// restore puts the newest snapshot of the source onto the phone, once more making sure that it is new.
func (m *minder) restore(ctx context.Context, job Job) RestoreEnded {
	end := RestoreEnded{Job: job.N}
	if !job.Resume {
		fresh, why, err := probe(ctx, m.phone)
		if err != nil {
			end.Err = err
			return end
		}
		if !fresh {
			end.Err = fmt.Errorf("firmware: %w: %s", errNotFresh, why)
			return end
		}
	}
	from, backup, err := m.box.config.Vault.Latest(ctx, job.Source)
	if err != nil {
		end.Err = err
		return end
	}
	end.Report, end.Err = m.phone.Restore(ctx, from, m.watch(job))
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	end.Receipt = m.box.receipt(flush, RestoreRun{from, backup, m.info, end.Report, end.Err})
	return end
}

// watch passes a driver's progress on.
func (m *minder) watch(job Job) usbhost.Watch {
	var last time.Time
	return func(p usbhost.Progress) {
		now := time.Now()
		whole := p.FilesTotal > 0 && p.Files == p.FilesTotal
		if whole || now.Sub(last) >= watchEvery {
			last = now
			m.box.send(Progressed{job.N, p})
		}
	}
}

// throttle lets calls through at most every watchEvery, and the one that says that all is done. The result must be called
// by one goroutine at a time.
func throttle(f func(done, total int64)) func(done, total int64) {
	var last time.Time
	return func(done, total int64) {
		if now := time.Now(); done == total || now.Sub(last) >= watchEvery {
			last = now
			f(done, total)
		}
	}
}
