package redir

import (
	"context"
	"sync"
)

// eventLane sends what the phone has on its interrupt endpoint for as long as the guest listens.
type eventLane struct {
	stop context.CancelFunc
	wait sync.WaitGroup
}

// interrupt begins or ends to listen.
func (s *stay) interrupt(p packet) error {
	address := p.body[0]
	st := success
	switch {
	case address != addressEvent || !s.configured:
		st = invalid
	case p.kind == kindStartInterrupt:
		s.startEvents()
	default:
		s.stopEvents()
	}
	return s.out.send(kindInterruptStatus, p.id, [2]byte{byte(st), address}, nil)
}

func (s *stay) startEvents() {
	if s.events != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background()) // ended by stopEvents
	e := &eventLane{stop: stop}
	host, out := s.host, s.out
	e.wait.Go(func() {
		for id := uint64(0); ; {
			ev, err := host.Event(ctx)
			if err != nil {
				return
			}
			for first := true; first || len(ev) > 0; first, id = false, id+1 {
				n := min(len(ev), eventSize)
				if out.send(kindInterrupt, id, interruptHead{addressEvent, success, uint16(n)}, ev[:n]) != nil {
					return
				}
				ev = ev[n:]
			}
		}
	})
	s.events = e
}

func (s *stay) stopEvents() {
	if s.events == nil {
		return
	}
	s.events.stop()
	s.events.wait.Wait()
	s.events = nil
}

// interruptOut answers a transfer to an interrupt endpoint, of which no phone of ours has one.
func (s *stay) interruptOut(p packet) error {
	h, _, err := decode[interruptHead](p)
	if err != nil {
		return err
	}
	h.Status, h.Length = invalid, 0
	return s.out.send(kindInterrupt, p.id, h, nil)
}
