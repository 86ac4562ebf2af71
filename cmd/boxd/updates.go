//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/image/update"
)

// The linker sets these for releases: who may sign updates for this boxd, and its own place among them.
var (
	updateKey     string // UPDATE_KEY, see update.ParseKeys; "": nobody
	updateCounter string // UPDATE_COUNTER; "": of no release, so that any update is newer
)

// updatePattern is what an update file is called, in the topmost folder of a drive.
const updatePattern = "boxd-*.update"

const (
	scanEvery  = 5 * time.Second // for drives that came; a list in memory is compared
	maxUpdates = 16              // update files looked at on one drive
)

// updates takes new software in: it finds update files, has the box install the newest, and sees to it that what was started
// proves healthy. It is the box's firmware.Updater.
type updates struct {
	card   update.Card
	keys   update.Keys
	noKeys error  // why there are none
	dir    string // of the record
	log    *slog.Logger
	ages   func() time.Duration // how long the machine has been on
	places func() []place       // where update files may be
	box    *firmware.Box
	fetch  fetching
	stand  update.Stand // after the last start
	trial  update.Trial
	close  func() error // nil: nothing is to be closed

	room func(dir string) (int64, error) // bytes that dir has left

	mu      sync.Mutex // guards what follows
	offer   candidate  // the newest that was found
	arrives *arrival   // one that comes over the network now
	onTrial bool       // the running system has not proved healthy yet
}

// place is a folder of a drive. Another arrival of the drive is another place.
type place struct {
	n   int
	dir string
}

// candidate is an update file that may be installed.
type candidate struct {
	path string
	update.Header
}

// newUpdates completes what knows of a card.
func newUpdates(c update.Card, dir string, log *slog.Logger) (*updates, error) {
	u := &updates{card: c, dir: dir, log: log, ages: uptime, room: roomIn, places: func() []place { return nil }}
	if u.keys, u.noKeys = update.ParseKeys(updateKey); len(u.keys) == 0 && u.noKeys == nil {
		u.noKeys = update.ErrNoKey
	}
	if updateCounter != "" {
		n, err := strconv.ParseUint(updateCounter, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("UPDATE_COUNTER: %w", err)
		}
		u.card.Built = n
	}
	u.card.Memory = update.Folder(dir)
	return u, nil
}

// begin settles how the last update went, and reports whether the machine is to be started anew at once, to try one.
func (u *updates) begin() (again bool, err error) {
	u.stand, u.trial, err = u.card.Boot()
	u.log.Info("update", "stand", u.stand.String(), "version", u.trial.Version, "slot", int(u.card.Running))
	u.onTrial = u.stand == update.OnTrial
	err = errors.Join(err, u.sweep())
	return u.stand == update.TryAgain && err == nil, err
}

// run looks for updates, and proves that this is a good one, until ctx ends. It returns errUnhealthy when it is not.
func (u *updates) run(ctx context.Context, well func(context.Context) error) error {
	if err := u.tell(ctx); err != nil {
		return ended(err)
	}
	if u.stand == update.OnTrial {
		if err := u.prove(ctx, well); err != nil {
			return ended(err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ended(u.watch(ctx)) })
	g.Go(func() error { return ended(u.fetchDaily(ctx)) })
	return g.Wait()
}

// tell tells the owner how the last update went.
func (u *updates) tell(ctx context.Context) error {
	switch u.stand {
	case update.Proven:
		return u.box.Do(ctx, firmware.Tell{Text: "The box runs version " + u.trial.Version + " now."})
	case update.OnTrial:
		return u.box.Do(ctx, firmware.Tell{Text: "The update is being tried: the box runs version " + version + "."})
	case update.RolledBack:
		return u.box.Do(ctx, firmware.UpdateFailed{Version: u.trial.Version})
	}
	return nil
}

// errUnhealthy: this system is an update that did not prove healthy. The machine is to be started anew, from the other slot.
var errUnhealthy = errors.New("the update did not prove healthy")

// prove keeps the running system once it proved healthy. Time counts from the machine's start on, so that a boxd that ends again
// and again does not put the end of the trial off.
func (u *updates) prove(ctx context.Context, well func(context.Context) error) error {
	age := u.ages()
	if age > 2*update.HealthBy {
		return errUnhealthy
	}
	limited, cancel := context.WithTimeout(ctx, max(update.HealthBy-age, update.HealthyFor+time.Minute))
	defer cancel()
	if err := update.Prove(limited, well); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		u.log.Error("update", "unhealthy", oneLine(err))
		return errUnhealthy
	}
	if err := u.card.Keep(); err != nil {
		u.log.Error("update", "not kept", err)
		return errUnhealthy
	}
	u.log.Info("update", "kept", version)
	u.mu.Lock()
	u.onTrial = false
	u.mu.Unlock()
	return ended(u.box.Do(ctx, firmware.Tell{Text: "The update is good and is kept: the box runs version " + version + " now."}))
}

// watch looks at every drive that comes.
func (u *updates) watch(ctx context.Context) error {
	t := time.NewTicker(scanEvery)
	defer t.Stop()
	var seen []place
	for {
		var still []place
		for _, p := range u.places() {
			if slices.Contains(seen, p) || u.look(ctx, p.dir) {
				still = append(still, p)
			}
		}
		seen = still
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// look looks for update files in a folder, and offers the newest to the box. What is no newer is passed over: it stays on its drive
// after it was installed. What cannot be used is told once for each time that its drive comes, unless another can. It reports
// whether the folder is done with: while the box is busy with another update it is to be looked at again.
func (u *updates) look(ctx context.Context, dir string) bool {
	names, err := updatesIn(dir)
	if err != nil {
		u.log.Warn("update", "look", reason(err)) // a drive that was pulled out again, most likely
		return true
	}
	var best candidate
	var bad error
	for _, name := range names {
		c, err := u.check(filepath.Join(dir, name))
		var unread *fs.PathError
		switch {
		case err == nil && c.Counter > best.Counter:
			best = c
		case err == nil:
		case errors.Is(err, update.ErrOld):
			u.log.Info("update", "passed over", oneLine(err))
		case errors.As(err, &unread): // the drive was pulled out again, or is failing, which is for others to tell
			u.log.Warn("update", "not read", unread.Err)
		default:
			u.log.Warn("update", "refused", oneLine(err))
			bad = err
		}
	}
	if best.path == "" && bad != nil {
		return u.box.Do(ctx, firmware.UpdateRefused{Why: oneLine(bad)}) == nil
	}
	return best.path == "" || u.give(ctx, best) == nil
}

// updatesIn names the update files in a folder.
func updatesIn(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	for len(names) < maxUpdates {
		some, err := d.ReadDir(64)
		for _, e := range some {
			if ok, _ := path.Match(updatePattern, strings.ToLower(e.Name())); ok && e.Type().IsRegular() {
				names = append(names, e.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return names, nil
}

// check reads what an update file says of itself, and whether it may be installed.
func (u *updates) check(file string) (candidate, error) {
	if u.noKeys != nil {
		return candidate{}, u.noKeys
	}
	f, err := os.Open(file)
	if err != nil {
		return candidate{}, err
	}
	defer f.Close()
	h, err := u.card.Look(f, u.keys)
	return candidate{file, h}, err
}

// give offers an update to the box, unless one that is as new waits already.
func (u *updates) give(ctx context.Context, c candidate) error {
	u.mu.Lock()
	before := u.offer
	known := before.Counter >= c.Counter
	if !known {
		u.offer = c
	}
	u.mu.Unlock()
	if known {
		return nil
	}
	if err := u.box.Do(ctx, firmware.UpdateFound{Version: c.Version}); err != nil {
		u.mu.Lock()
		u.offer = before
		u.mu.Unlock()
		return err
	}
	return u.drop(before)
}

// Install writes the update that was found to the card.
func (u *updates) Install(ctx context.Context) error {
	u.mu.Lock()
	c := u.offer
	u.mu.Unlock()
	err := u.install(ctx, c.path)
	if ctx.Err() != nil && err != nil {
		return errors.Join(ctx.Err(), err) // it is begun again
	}
	u.mu.Lock()
	if u.offer == c {
		u.offer = candidate{}
	}
	u.mu.Unlock()
	err = errors.Join(err, u.drop(c))
	if err != nil {
		u.log.Warn("update", "not installed", oneLine(err))
	}
	return err
}

func (u *updates) install(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("the update is not there any more: %w", reason(err))
	}
	defer f.Close()
	_, err = u.card.Install(ctx, f, u.keys, nil)
	return err
}
