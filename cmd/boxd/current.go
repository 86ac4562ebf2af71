package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"phonebackupbox/storage"
	"phonebackupbox/storage/drive"
)

// current is the array on some drives as it is now, though others write to it: it is opened anew when its ledger has changed.
type current struct {
	dirs []string

	refreshing sync.Mutex // one refresh at a time

	mu    sync.Mutex // guards what follows
	view  *view
	errs  []error    // of closing views
	users *sync.Cond // signalled when a view is not used any more
	ended bool
}

// A view is the array as it was at some time. Reads that began with it end with it.
type view struct {
	rack  *rack
	state string // of the ledger
	users int
}

func openCurrent(ctx context.Context, dirs []string) (*current, error) {
	v, err := openView(ctx, dirs)
	if err != nil {
		return nil, err
	}
	c := &current{dirs: dirs, view: v}
	c.users = sync.NewCond(&c.mu)
	return c, nil
}

func openView(ctx context.Context, dirs []string) (*view, error) {
	drives, err := openDrives(dirs, reading)
	if err != nil {
		return nil, err
	}
	state, err := ledgerState(ctx, drives) // first: what is written from here on is news to the next refresh
	if err != nil {
		return nil, errors.Join(err, closeDrives(drives))
	}
	r, err := over(ctx, drives)
	if err != nil {
		return nil, err
	}
	return &view{rack: r, state: state}, nil
}

// ledgerState names all segments of the ledger on all drives: it changes with every change of the array.
func ledgerState(ctx context.Context, drives []*drive.Drive) (string, error) {
	var names []string
	for _, d := range drives {
		for info, err := range d.List(ctx, "ledger/") {
			if err != nil {
				return "", err
			}
			names = append(names, d.ID()+"/"+info.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "\n"), nil
}

// refresh opens the array anew if it has changed, with those drives that are there now. Where that fails, the old view stays.
func (c *current) refresh(ctx context.Context) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	v, err := c.enter()
	if err != nil {
		return
	}
	state, err := ledgerState(ctx, v.rack.drives)
	same := err == nil && state == v.state && len(v.rack.drives) == len(c.present())
	c.leave(v)
	if same || ctx.Err() != nil {
		return
	}
	fresh, err := openView(ctx, c.present())
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		c.errs = append(c.errs, fresh.rack.close())
		return
	}
	old := c.view
	c.view = fresh
	c.letGo(old)
}

// present are the folders that are drives now.
func (c *current) present() []string {
	return slices.DeleteFunc(slices.Clone(c.dirs), func(dir string) bool { return !isDrive(dir) })
}

// enter begins to use the newest view.
func (c *current) enter() (*view, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, fmt.Errorf("the server has ended: %w", storage.ErrUnavailable)
	}
	c.view.users++
	return c.view, nil
}

func (c *current) leave(v *view) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.users--
	c.letGo(v)
	c.users.Broadcast()
}

// letGo closes a view that is neither the newest nor in use. The caller holds mu.
func (c *current) letGo(v *view) {
	if v != c.view && v.users == 0 {
		c.errs = append(c.errs, v.rack.close())
	}
}

// close waits for reads to end and lets go of the drives.
func (c *current) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for c.view.users > 0 {
		c.users.Wait()
	}
	return errors.Join(append(c.errs, c.view.rack.close())...)
}

// Stat, Get and List are those of the array.

func (c *current) Stat(ctx context.Context, name string) (storage.Info, error) {
	v, err := c.enter()
	if err != nil {
		return storage.Info{}, err
	}
	defer c.leave(v)
	return v.rack.array.Stat(ctx, name)
}

func (c *current) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	v, err := c.enter()
	if err != nil {
		return 0, err
	}
	defer c.leave(v)
	return v.rack.array.Get(ctx, name, off, p)
}

func (c *current) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		v, err := c.enter()
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		defer c.leave(v)
		for info, err := range v.rack.array.List(ctx, prefix) {
			if !yield(info, err) {
				return
			}
		}
	}
}
