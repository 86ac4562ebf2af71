package firmware

import "context"

// upkeepJob runs a part of the upkeep and returns its end.
func (b *Box) upkeepJob(ctx context.Context, job Job) Event {
	k := b.config.Keeper
	switch job.Kind {
	case JobScrub:
		r, err := k.Scrub(ctx, job.Drive, job.Pass, scrubSlice)
		return ScrubEnded{job.N, job.Drive, r.Fraction, r.Done, r.Bad, r.Lost, b.healthAfter(ctx), err}
	case JobDrill:
		r, err := k.Drill(ctx, job.Pass, scrubSlice)
		return DrillEnded{job.N, r, b.healthAfter(ctx), err}
	case JobPrune:
		r, err := k.Prune(ctx, job.Accepted)
		return PruneEnded{job.N, r.Removed, r.Freed, r.Shrunk, b.healthAfter(ctx), err}
	}
	told, err := k.Refresh(ctx)
	return RefreshEnded{job.N, told, err}
}

// healthAfter asks for the health after upkeep, unless something waits for its end.
func (b *Box) healthAfter(ctx context.Context) Health {
	h, err := b.config.Vault.Health(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.log.Debug("health after upkeep", "err", err)
		}
		return Health{}
	}
	h.Known = true
	return h
}

// remembered is the Upkeep that the box begins with, nil for a box that does none.
func (b *Box) remembered(ctx context.Context) *Upkeep {
	if b.config.Keeper == nil {
		return nil
	}
	u := Upkeep{}
	if b.config.Diary != nil {
		var err error
		if u, err = b.config.Diary.Remembered(ctx); err != nil {
			b.log.Warn("the upkeep is not remembered: it begins anew", "err", err)
			u = Upkeep{}
		}
	}
	return &u
}

// diarist writes the newest Upkeep down, one after the other, until pages is closed.
func (b *Box) diarist(ctx context.Context, pages <-chan Upkeep) {
	for u := range pages {
		if err := b.config.Diary.Write(context.WithoutCancel(ctx), u); err != nil {
			b.log.Warn("the upkeep is not written down", "err", err)
		}
	}
}

// writeDown hands the Upkeep to the diarist where it is to be kept.
func (l *loop) writeDown() {
	if l.pages == nil || !l.state.memory.upkeep || l.state.memory.kept == l.kept {
		return
	}
	l.kept = l.state.memory.kept
	select {
	case <-l.pages: // an older page that was not begun
	default:
	}
	l.pages <- l.state.Upkeep // has room for one, and only this goroutine sends
}
