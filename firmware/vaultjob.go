package firmware

import (
	"context"
	"fmt"
	"strings"
)

// vaultJob runs a job that needs no phone and returns its end.
func (b *Box) vaultJob(ctx context.Context, job Job) Event {
	vault := b.config.Vault
	switch job.Kind {
	case JobCheck:
		h, err := vault.Health(ctx)
		e := Checked{Job: job.N, Health: h, Err: err}
		if err == nil && job.History {
			e.Backups, e.Err = vault.History(ctx)
		}
		return e
	case JobEnrol:
		return EnrolEnded{job.N, job.Enrolment, b.config.Roster.Enrol(ctx, job.Enrolment)}
	case JobForget:
		return ForgetEnded{job.N, job.Phone, b.config.Roster.Forget(ctx, job.Phone)}
	case JobHeal:
		h, err := vault.Heal(ctx, throttle(func(done, total int64) { b.send(HealProgressed{job.N, done, total}) }))
		return HealEnded{job.N, h, err}
	case JobAdopt:
		return b.adopt(ctx, job)
	case JobStick:
		return b.keyStick(ctx, job)
	case JobScrub, JobPrune, JobRefresh, JobDrill:
		return b.upkeepJob(ctx, job)
	case JobUpdate:
		return UpdateEnded{job.N, b.config.Updater.Install(ctx)}
	case JobReset:
		return b.reset(ctx, job)
	case JobEject:
		var err error
		if b.config.Drives != nil {
			err = b.config.Drives.Eject(ctx)
		}
		return Ejected{job.N, err}
	}
	panic("firmware: a job of a kind that no State asks for: " + string(job.Kind))
}

func (b *Box) adopt(ctx context.Context, job Job) Event {
	if b.config.Drives == nil {
		return DriveAdopted{Job: job.N, Drive: job.Drive, Err: fmt.Errorf("firmware: this box cannot adopt drives")}
	}
	if err := b.config.Drives.Adopt(ctx, job.Drive); err != nil {
		return DriveAdopted{Job: job.N, Drive: job.Drive, Err: err}
	}
	h, err := b.config.Vault.Health(ctx)
	return DriveAdopted{job.N, job.Drive, h, err}
}

func (b *Box) keyStick(ctx context.Context, job Job) Event {
	if b.config.Drives == nil {
		return StickMade{Job: job.N, Drive: job.Drive, Err: fmt.Errorf("firmware: this box cannot make key sticks")}
	}
	make := func() error { return b.config.Drives.KeyStick(ctx, job.Drive) }
	if job.Drive == "" {
		make = func() error { return b.config.Drives.WordsOnPaper(ctx) }
	}
	if err := make(); err != nil {
		return StickMade{Job: job.N, Drive: job.Drive, Err: err}
	}
	h, err := b.config.Vault.Health(ctx)
	return StickMade{job.N, job.Drive, h, err}
}

// eventName is the kind of an event, for the log.
func eventName(e Event) string { return strings.TrimPrefix(fmt.Sprintf("%T", e), "firmware.") }
