package firmware

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Updater takes new software in.
type Updater interface {
	// Install writes the update that UpdateFound told of to where a start anew finds it. It stops soon after ctx ends; with
	// an error, the box is as before. Its error is told to the owner as it is.
	Install(ctx context.Context) error
}

// Resetter erases the box's settings.
type Resetter interface {
	// Reset erases them, durably, or refuses with a reason in words for the owner: the box's key must never be the only one
	// that is lost by it.
	Reset(ctx context.Context) error
}

// Restart is why the box is to be started anew.
type Restart string

// Reasons.
const (
	NoRestart Restart = ""
	ToUpdate  Restart = "update" // the machine, from what was installed
	ToReset   Restart = "reset"  // only the program
)

// Events of updates and of the reset.
type (
	// UpdateEnded: new software is on the card, or is not.
	UpdateEnded struct {
		Job uint64
		Err error
	}
	// ResetEnded: the settings are erased, or are not.
	ResetEnded struct {
		Job uint64
		Err error
	}
)

func (UpdateEnded) event() {}
func (ResetEnded) event()  {}

// Commands of the wiring: what it found out about updates, and what else the owner should know.
type (
	// UpdateFound: a new version waits to be installed; the box does so when nothing else is going on.
	UpdateFound struct{ Version string }
	// UpdateRefused: an update was found that cannot be installed. It is to be told once.
	UpdateRefused struct{ Why string }
	// UpdateFailed: an update was started, did not prove healthy, and was taken back. It is to be told once.
	UpdateFailed struct{ Version string }
	// BoardIs tells how the board fares. It is to be told when that changes.
	BoardIs struct {
		PowerLow bool // its voltage was too low lately
		TooHot   bool
	}
	// Tell is a line for the owner.
	Tell struct{ Text string }
)

func (UpdateFound) command()   {}
func (UpdateRefused) command() {}
func (UpdateFailed) command()  {}
func (BoardIs) command()       {}
func (Tell) command()          {}

func (s State) allowsUpdate() error {
	switch {
	case !s.memory.updates:
		return errors.New("this box takes no updates")
	case s.Job.Kind == JobUpdate || s.memory.installed:
		return errors.New("an update is under way")
	}
	return nil
}

// pickUpdate is what an update needs next. It comes after all that has to do with phones: nobody who plugs one in, or is
// asked something, is to wait for it. Drives that are being made whole can: the update takes a minute.
func (s *State) pickUpdate(now time.Time) Job {
	if s.Update == "" || s.Restore != nil || s.question(now) != nil {
		return Job{}
	}
	for _, port := range s.Ports {
		if p := s.phone(string(port.Phone)); p != nil && p.Port == port.N && p.Enrolled && p.due {
			return Job{} // it is locked; when it is not, its backup comes first
		}
	}
	if s.memory.installed {
		return Job{Kind: JobEject}
	}
	return Job{Kind: JobUpdate}
}

// beginEject: the drives are let go because the box was shut down, or because an update waits to be started.
func (s *State) beginEject(now time.Time) {
	if s.memory.stop {
		return
	}
	s.memory.stop, s.Restart = true, ToUpdate
	s.say(now, "The box starts anew with version "+s.Update+".")
}

func (s *State) updateEnded(now time.Time, e UpdateEnded) {
	if !s.ends(e.Job, JobUpdate) {
		return
	}
	switch {
	case e.Err == nil:
		s.memory.installed = true
	case isCancelled(e.Err): // it is begun again when there is time for it
	default:
		s.Update = ""
		s.takeNews(newFault(UpdateRefusedFault, "", clean(e.Err.Error(), maxText)))
	}
}

// resets takes in a gesture of a button that has been down since the power came, and reports whether that is what it was.
func (s *State) resets(now time.Time, g Gesture) bool {
	if g.Kind == Press {
		within := pressWithin
		if s.memory.booted { // who sees that the box is ready and presses then, for its shutdown perhaps, means no reset
			within = pressAtOnce
		}
		first := !s.memory.heard && now.Sub(s.memory.born) <= within
		s.memory.heard = true
		s.memory.resetting = first && s.memory.powerOn
		return false
	}
	if !s.memory.resetting {
		return false
	}
	switch {
	case g.Kind == Hold && g.Held >= ResetUntil:
		s.memory.resetting = false
		s.say(now, "The settings are kept: the button was held for too long to mean that they be erased.")
	case g.Kind == Release:
		s.Held, s.memory.resetting = time.Time{}, false
		s.memory.reset = g.Held >= ResetAfter && g.Held < ResetUntil
	}
	return true
}

// maxText bounds a line that comes from the wiring, in letters.
const maxText = 200

// How soon after the box was made a button that was held at power-on is seen to be down: while the box starts, and if it was ready sooner.
const (
	pressWithin = 3 * time.Second
	pressAtOnce = time.Second
)

// reset erases the settings.
func (b *Box) reset(ctx context.Context, job Job) Event {
	if b.config.Resetter == nil {
		return ResetEnded{job.N, fmt.Errorf("firmware: this box has no settings to erase")}
	}
	return ResetEnded{job.N, b.config.Resetter.Reset(ctx)}
}

func (s *State) resetEnded(now time.Time, e ResetEnded) {
	if !s.ends(e.Job, JobReset) {
		return
	}
	if e.Err != nil {
		s.takeNews(newFault(ResetRefused, "", clean(e.Err.Error(), maxText)))
		return
	}
	s.memory.stop, s.Restart = true, ToReset
	s.Restore = nil
	s.say(now, "The settings are erased. The box starts anew.")
}
