//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"phonebackupbox/firmware"
)

// openUpdates makes the appliance take updates, and settles how the last one went. again: the machine is to be started anew at
// once. What keeps it from taking updates keeps it from nothing else.
func (a *appliance) openUpdates(dir string, log *slog.Logger) (again bool) {
	if dir == "" {
		return false
	}
	u, err := openUpdates(dir, log)
	if err != nil {
		a.screen.say("  no updates are taken: %s", oneLine(err))
		return false
	}
	if a.try, err = u.begin(); err != nil {
		a.screen.say("  update: %s", oneLine(err))
	}
	if a.try {
		a.screen.say("  version %s is tried once more", printable(u.trial.Version))
	}
	a.updates = u
	return a.try
}

// Close lets go of the card.
func (u *updates) Close() error {
	if u == nil || u.close == nil {
		return nil
	}
	return u.close()
}

// updater is what installs updates; nil if nothing does.
func (a *appliance) updater() firmware.Updater {
	if a.updates == nil {
		return nil
	}
	return a.updates
}

// update takes updates in until ctx ends. When the running system, an update, does not prove healthy, it calls stop.
func (a *appliance) update(ctx context.Context, stop func()) error {
	u := a.updates
	if u == nil {
		return nil
	}
	if a.mounts != nil {
		u.places = func() (all []place) {
			for _, d := range a.mounts.Drives() {
				if d.Dir != "" {
					all = append(all, place{d.N, d.Dir})
				}
			}
			return all
		}
	}
	err := u.run(ctx, a.well)
	if errors.Is(err, errUnhealthy) {
		a.sick = true
		a.screen.say("  %v: the box goes back to what it ran before", err)
		stop()
		return nil
	}
	return err
}

// well reports whether this box does what it is for: it has read what it remembers, its loop goes round, and its page can be had.
func (a *appliance) well(ctx context.Context) error {
	states, leave := a.box.Subscribe()
	defer leave()
	for range 2 { // the newest, and one that comes after it: there is one a second
		select {
		case s, ok := <-states:
			if !ok || s.Phase == firmware.Starting {
				return errors.New("the box has not started yet")
			}
		case <-ctx.Done():
			return errors.New("the box's loop does not go round")
		}
	}
	_, port, err := net.SplitHostPort(a.address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:"+port+"/", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("the page: %w", errors.Join(err, errors.New(res.Status)))
	}
	return nil
}
