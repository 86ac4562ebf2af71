package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"phonebackupbox/image/wifi"
	"phonebackupbox/image/wifi/radio"
)

const (
	settles     = 10 * time.Second // how long a cable may take to be noticed, and the radio's driver to start
	joinsWithin = 30 * time.Second // looking for the network on all channels, and the handshake
	seldom      = 5 * time.Minute  // how long the wait between two tries grows to
	looks       = 2 * time.Second  // how often cable and carrier are looked at
)

// named is the network that the owner named, if there is one and a radio for it may be there.
func named() (n wifi.Network, ok bool) {
	n, err := wifi.Read(entrusted)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		say("%v", err)
	}
	return n, err == nil
}

// keepWireless keeps the box in a network until ctx is done. Nothing waits for it, and while a cable is in, the radio is off.
func keepWireless(ctx context.Context, n wifi.Network, servers chan<- []string) {
	r, err := radio.Open()
	if err != nil {
		say("%v", err)
		return
	}
	if err := country(ctx, r, n.Country); err != nil {
		say("%v", err)
		return // without rules it might be too loud
	}
	say("wifi: the rules are those of %s", n.Country)
	w := wireless{sys: "/sys", network: n, radio: r, say: say, up: setUp, down: setDown,
		lease: func(ctx context.Context, name string) error { return lease(ctx, name, byRadio, servers) }}
	wait(ctx, settles)
	w.run(ctx)
}

// country has the kernel go by a country's rules, which takes it a moment.
func country(ctx context.Context, r *radio.Radio, want string) error {
	if err := r.SetCountry(want); err != nil {
		return err
	}
	for range 20 {
		if got, err := r.Country(); err != nil || got == want {
			return err
		}
		wait(ctx, 100*time.Millisecond)
	}
	return fmt.Errorf("wifi: the kernel knows no rules of %s", want)
}

// joiner is a radio.Radio.
type joiner interface {
	Join(index int, n wifi.Network) error
}

// wireless is one network and what it takes to be in it.
type wireless struct {
	sys     string
	network wifi.Network
	radio   joiner
	up      func(name string) (index int, err error)
	down    func(name string) error                      // leaves the network, too
	lease   func(ctx context.Context, name string) error // keeps an address until ctx is done or it is lost
	say     func(format string, args ...any)
	told    string // what was said last: a week without the network is told once
}

func (w *wireless) run(ctx context.Context) {
	pause := retry
	for ctx.Err() == nil {
		began := time.Now()
		name, err := w.own()
		if err == nil && !w.cabled() {
			err = w.in(ctx, name)
		}
		if err == nil || time.Since(began) > seldom { // it was in: what ended it is new
			pause, w.told = retry, ""
		}
		if err != nil && ctx.Err() == nil && err.Error() != w.told {
			w.told = err.Error()
			w.say("%v", err)
		}
		wait(ctx, pause)
		if err != nil {
			pause = min(2*pause, seldom)
		}
	}
}

// in joins the network and stays for as long as it lasts and no cable is put in.
func (w *wireless) in(ctx context.Context, name string) (err error) {
	defer func() {
		if derr := w.down(name); derr != nil {
			err = errors.Join(err, fmt.Errorf("wifi: %w", derr))
		}
	}()
	index, err := w.up(name)
	if err != nil {
		return fmt.Errorf("wifi: %w", err)
	}
	if err := w.radio.Join(index, w.network); err != nil {
		return err
	}
	for late := time.Now().Add(joinsWithin); !w.carries(name); wait(ctx, looks) {
		if ctx.Err() != nil || w.cabled() {
			return nil
		}
		if time.Now().After(late) {
			return errors.New("wifi: the network is not joined: it is too far away, has another passphrase, or takes only WPA3")
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { end(w.ends(ctx, name)) })
	err = w.lease(ctx, name)
	end(err) // the first cause counts
	watch.Wait()
	if errors.Is(context.Cause(ctx), errCabled) || errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	return context.Cause(ctx)
}

var (
	errCabled = errors.New("a cable is in")
	errGone   = errors.New("wifi: the network is gone")
)

// ends waits until ctx is done, a cable is put in or the network is gone.
func (w *wireless) ends(ctx context.Context, name string) error {
	for ctx.Err() == nil {
		if w.cabled() {
			return errCabled
		}
		if !w.carries(name) {
			return errGone
		}
		wait(ctx, looks)
	}
	return ctx.Err()
}

// carries reports whether an adapter's other end is there.
func (w *wireless) carries(name string) bool {
	b, err := os.ReadFile(filepath.Join(w.sys, "class/net", name, "carrier"))
	return err == nil && bytes.Equal(bytes.TrimSpace(b), []byte("1"))
}

// cabled reports whether a cable is in the board's own socket.
func (w *wireless) cabled() bool {
	name, err := wired(w.sys)
	return err == nil && w.carries(name)
}

// own finds the board's own radio. One that is plugged into USB is none.
func (w *wireless) own() (string, error) {
	radios, err := filepath.Glob(filepath.Join(w.sys, "class/net/*/phy80211"))
	if err != nil {
		return "", err
	}
	for _, r := range radios {
		dir := filepath.Dir(r)
		bus, err := filepath.EvalSymlinks(filepath.Join(dir, "device", "subsystem"))
		if err == nil && filepath.Base(bus) == "sdio" {
			return filepath.Base(dir), nil
		}
	}
	return "", errors.New("wifi: this board has no radio, or no firmware for it is on the card")
}

// setUp switches an adapter on.
func setUp(name string) (index int, err error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return l.Attrs().Index, netlink.LinkSetUp(l)
}

// setDown switches the radio off, upon which it leaves its network, and takes its address and name servers away.
func setDown(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	err = errors.Join(netlink.LinkSetDown(l), names.set(byRadio, nil))
	addrs, aerr := netlink.AddrList(l, netlink.FAMILY_V4)
	err = errors.Join(err, aerr)
	for _, a := range addrs {
		err = errors.Join(err, netlink.AddrDel(l, &a))
	}
	return err
}
