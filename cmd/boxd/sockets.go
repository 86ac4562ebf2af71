//go:build !rescue

package main

import (
	"context"
	"os"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/folder"
)

// sockets are where phones arrive at the box: the USB ports, and folders that stand for phones.
type sockets struct{ phones chan usbhost.Phone }

var _ usbhost.Bus = sockets{}

// Accept waits for the next phone. It fails with ctx only: whoever runs forward and follow hears of a bus that died.
func (s sockets) Accept(ctx context.Context) (usbhost.Phone, error) {
	select {
	case p := <-s.phones:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// offer hands a phone over, or lets go of it where the box is stopped first.
func (s sockets) offer(ctx context.Context, p usbhost.Phone) error {
	select {
	case s.phones <- p:
		return nil
	case <-ctx.Done():
		return p.Close()
	}
}

// forward takes in the phones of a bus until it is dead.
func (s sockets) forward(ctx context.Context, bus usbhost.Bus) error {
	for {
		p, err := bus.Accept(ctx)
		if err != nil {
			return err
		}
		if err := s.offer(ctx, p); err != nil {
			return err
		}
	}
}

// lookEvery is how often a folder is looked at: whether it is there, as a card that is mounted, or has gone.
const lookEvery = time.Second

// follow is a socket into which the phone dir is plugged whenever that folder is there.
func (s sockets) follow(ctx context.Context, dir string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		info, err := os.Stat(dir)
		if err == nil {
			if phone, err := folder.Open(dir); err == nil {
				if err := s.offer(ctx, phone); err != nil {
					return err
				}
				stay(ctx, tick.C, phone, dir, info)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// stay returns when the phone that was the folder dir is unplugged: when the name leads to another folder, or to none.
func stay(ctx context.Context, tick <-chan time.Time, phone *folder.Phone, dir string, was os.FileInfo) {
	for {
		select {
		case <-phone.Gone():
			return
		case <-ctx.Done():
			return
		case <-tick:
		}
		if now, err := os.Stat(dir); err != nil || !os.SameFile(was, now) {
			_ = phone.Close() // whatever is lost by it was lost with the folder
			return
		}
	}
}
