package mtp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// listWithin is the longest that a listing may take. QEMU's responder, the slowest we know, names ten objects a second.
const listWithin = 6 * time.Hour

// changes collects what the phone tells of its objects while it is being listed.
type changes struct {
	mu      sync.Mutex // guards what follows
	on      bool
	touched []uint32 // handles of objects that were added or changed
	removed []uint32
	over    bool // more than maxHoles of them: the listing was none
}

// watch begins to collect anew.
func (c *changes) watch(on bool) {
	c.mu.Lock()
	c.on, c.touched, c.removed, c.over = on, nil, nil, false
	c.mu.Unlock()
}

func (c *changes) note(e answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return
	}
	if len(c.touched)+len(c.removed) >= maxHoles {
		c.over = true
		return
	}
	switch e.code {
	case eventObjectAdded, eventObjectInfoChanged:
		c.touched = append(c.touched, e.params[0])
	case eventObjectRemoved:
		c.removed = append(c.removed, e.params[0])
	}
}

// take returns what was collected and begins anew.
func (c *changes) take() (touched, removed []uint32, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	touched, removed, over = c.touched, c.removed, c.over
	c.touched, c.removed, c.over = nil, nil, false
	return touched, removed, over
}

// readEvents takes the phone's events until it is gone: some phones stop when nobody does. What may mean that it was
// unlocked wakes whoever waits for that; not all phones tell, so they must be asked now and then all the same.
func (p *Phone) readEvents() {
	buf := make([]byte, p.dev.MaxPacket)
	for {
		n, err := p.dev.Pipe.Event(p.ctx, buf)
		if err != nil {
			return // unplugged, closed, or an interface without an interrupt endpoint
		}
		e, err := parseAnswer(buf[:n], typeEvent)
		if err != nil {
			continue
		}
		p.changes.note(e)
		switch e.code {
		case eventStoreAdded, eventStoreRemoved, eventDeviceInfoChanged, eventStorageInfoChanged:
			p.told.take()
			p.s.log.Info("mtp: the phone tells of a change", "event", fmt.Sprintf("%#04x", e.code), "param", e.params[0])
			select {
			case p.woken <- struct{}{}:
			default:
			}
		}
	}
}

// Woken satisfies usbhost.Waker.
func (p *Phone) Woken() <-chan struct{} { return p.woken }

// listWatched lists the phone and then looks at what it said to have changed meanwhile. A phone on which more happens than
// can be asked for is listed once more.
func (p *Phone) listWatched(ctx context.Context, x *index) error {
	const lists, rounds = 2, 3
	defer p.changes.watch(false)
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	for try := 1; ; try++ {
		p.changes.watch(true)
		if err := p.s.list(ctx, x); err != nil {
			if ctx.Err() != nil && whole.Err() == nil {
				err = fmt.Errorf("not listed within %v: %w", listWithin, errWedged)
			}
			return err
		}
		for range rounds {
			touched, removed, over := p.changes.take()
			if over && try < lists {
				x.reset()
				break
			}
			if len(touched)+len(removed) == 0 || over {
				return nil
			}
			if err := p.s.relist(ctx, x, touched, removed); err != nil {
				return err
			}
		}
		if len(x.objects) > 0 || try == lists {
			return nil
		}
	}
}

// relist asks anew for objects that came or changed, and drops those that went.
func (s *session) relist(ctx context.Context, x *index, touched, removed []uint32) error {
	w := walk{s: s, x: x, bulk: s.info.supports(opGetObjectPropList), seen: map[uint32]bool{}}
	touched, removed = x.sure(touched), x.sure(removed)
	for _, h := range touched {
		if h == handleNone || h == handleAll {
			continue
		}
		_, known := x.at[h]
		err := s.describe(ctx, x, h)
		o := x.object(h)
		switch {
		case err != nil && fatal(ctx, err):
			return err
		case errors.Is(err, InvalidObjectHandle):
			o.dead = true // it came and went
			continue
		case err != nil && known:
			continue // as it was listed
		case err != nil:
			o.dead = true
			x.remarks = append(x.remarks, remark{".", "an object that appeared while the phone was listed cannot be described: " + reason(err)})
			continue
		}
		if o.dead = false; o.isFolder() && !known {
			w.queue = append(w.queue, folder{storage: o.storage, handle: h, depth: 1})
			w.seen[h] = true
		}
	}
	for _, h := range removed {
		if i, known := x.at[h]; known {
			x.objects[i].dead = true
		}
	}
	x.buryChildren()
	return w.drain(ctx)
}

// buryChildren makes what lies in dead folders dead too.
func (x *index) buryChildren() {
	for again := true; again; {
		again = false
		for i := range x.objects {
			o := &x.objects[i]
			if p, known := x.at[o.parent]; known && !o.dead && x.objects[p].dead && x.objects[p].isFolder() && !x.isRoot(o) {
				o.dead, again = true, true
			}
		}
	}
}

var _ usbhost.Waker = (*Phone)(nil)
