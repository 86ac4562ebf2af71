package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/image/wifi"
)

// air is a board with a socket and a radio, and a network that may be there.
type air struct {
	*testing.T
	wireless
	mu             sync.Mutex // guards what follows
	there, answers bool       // the network, and whoever gives addresses in it
	joins          int
	did            []string
}

// set puts the network there, or takes it away.
func (a *air) set(there bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.there = there
}

func newAir(t *testing.T) *air {
	n, err := wifi.New("home", "correct horse", "DE")
	if err != nil {
		t.Fatal(err)
	}
	a := &air{T: t, there: true, answers: true}
	sys := fakeSys(t, map[string]string{"class/net/eth0/device": "devices/genet", "devices/genet/subsystem": "bus/platform",
		"class/net/wlan0/device": "devices/mmc1", "class/net/wlan0/phy80211": "devices/mmc1", "devices/mmc1/subsystem": "bus/sdio",
		"class/net/wlan1/device": "devices/usb1", "class/net/wlan1/phy80211": "devices/usb1", "devices/usb1/subsystem": "bus/usb"},
		"bus/platform", "bus/sdio", "bus/usb", "devices/genet", "devices/mmc1", "devices/usb1")
	a.wireless = wireless{sys: sys, network: n, radio: a, say: func(f string, args ...any) { a.note("say "+f, args...) },
		up:   func(name string) (int, error) { a.note("up %s", name); return 3, nil },
		down: func(name string) error { a.carry(name, false); a.note("down %s", name); return nil },
		lease: func(ctx context.Context, name string) error {
			if !a.answers {
				return errors.New("no address")
			}
			a.note("address by %s", name)
			<-ctx.Done()
			return ctx.Err()
		}}
	a.carry("eth0", false)
	a.carry("wlan0", false)
	return a
}

func (a *air) Join(index int, n wifi.Network) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.joins++
	if index == 3 && n == a.network {
		a.carry("wlan0", a.there)
	}
	return nil
}

func (a *air) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.did = append(a.did, fmt.Sprintf(format, args...))
}

// since is what was done since the last time, and how often the radio was told to join.
func (a *air) since() (did []string, joins int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	did, joins = a.did, a.joins
	a.did, a.joins = nil, 0
	return did, joins
}

// saidOf picks what was said.
func saidOf(did []string) []string {
	return slices.DeleteFunc(did, func(s string) bool { return !strings.HasPrefix(s, "say ") })
}

// carry puts the other end of an adapter there, or takes it away.
func (a *air) carry(name string, there bool) {
	text := "0\n"
	if there {
		text = "1\n"
	}
	if err := os.WriteFile(filepath.Join(a.sys, "class/net", name, "carrier"), []byte(text), 0o600); err != nil {
		a.Fatal(err)
	}
}

// run runs what is told in a bubble, beside the loop.
func (a *air) run(told func()) {
	synctest.Test(a.T, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.wireless.run(ctx) }()
		synctest.Wait()
		told()
		cancel()
		<-done
	})
}

// then sees what was done since the last time.
func (a *air) then(d time.Duration, want ...string) {
	a.Helper()
	time.Sleep(d)
	synctest.Wait()
	if did, _ := a.since(); !slices.Equal(did, want) {
		a.Errorf("it did\n%q\nnot\n%q", did, want)
	}
}

func TestWirelessIsForWantOfACable(t *testing.T) {
	a := newAir(t)
	in := []string{"up wlan0", "address by wlan0"}
	a.run(func() {
		a.then(0, in...)
		a.then(time.Hour)
		a.carry("eth0", true)
		a.then(3*time.Second, "down wlan0")
		a.then(time.Hour)
		a.carry("eth0", false)
		a.then(11*time.Second, in...)
		a.set(false)
		a.carry("wlan0", false)
		a.then(3*time.Second, "down wlan0", "say wifi: the network is gone")
		a.set(true)
		a.then(21*time.Second, in...)
	})
	if did, _ := a.since(); !slices.Equal(did, []string{"down wlan0"}) {
		t.Errorf("at the end it did %q", did)
	}
}

// A network that is not there is tried seldom, and told of once.
func TestWirelessIsFarAway(t *testing.T) {
	a := newAir(t)
	a.there = false
	a.run(func() {
		time.Sleep(6 * time.Hour)
		did, joins := a.since()
		if said := saidOf(did); len(said) != 1 || !strings.Contains(said[0], "not joined") {
			t.Errorf("%q", said)
		}
		if joins < 6*10 || joins > 6*12 {
			t.Errorf("%d tries in a day", joins)
		}
		a.set(true)
		time.Sleep(seldom + joinsWithin + looks)
		if did, _ := a.since(); !slices.Contains(did, "address by wlan0") {
			t.Errorf("it came back, and %q was done", did)
		}
	})
	a = newAir(t)
	a.answers = false
	a.run(func() {
		time.Sleep(6 * time.Hour)
		did, joins := a.since()
		if said := saidOf(did); !slices.Equal(said, []string{"say no address"}) || joins < 6*11 || joins > 6*13 {
			t.Errorf("nobody gives an address: %q, %d tries in a day", said, joins)
		}
	})
}

// A board without a radio, or with one that is plugged in only, is none the worse.
func TestNoRadio(t *testing.T) {
	a := newAir(t)
	if err := os.RemoveAll(filepath.Join(a.sys, "class/net/wlan0")); err != nil {
		t.Fatal(err)
	}
	a.run(func() {
		a.then(time.Hour, "say wifi: this board has no radio, or no firmware for it is on the card")
	})
}

// A driver that ends the kernel is out after three starts, for one start.
func TestStartsWithTheRadioAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "strikes")
	for start := range 5 {
		if got := counted(path); got != (start < 3) {
			t.Errorf("start %d: %v", start, got)
		}
	}
	if err := os.Remove(path); err != nil { // this one lasts
		t.Fatal(err)
	}
	if !counted(path) {
		t.Error("never again")
	}
	if counted(filepath.Join(path, "none")) {
		t.Error("a start that cannot be counted")
	}
}

// The network's process gets a copy that nobody else can read, also where there was one that others could.
func TestTheKeyIsEntrusted(t *testing.T) {
	path := filepath.Join(t.TempDir(), wifi.File)
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := entrust(path, []byte("new"), os.Getuid()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	info, serr := os.Stat(path)
	if err = errors.Join(err, serr); err != nil || string(b) != "new" || info.Mode().Perm() != 0o400 {
		t.Errorf("%q, %v, %v", b, info.Mode(), err)
	}
}

func TestDevicesAreOfferedToTheDriver(t *testing.T) {
	bus := fakeSys(t, nil, "devices/mmc1:0001:1")
	if err := offer(bus); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"drivers_autoprobe": "1", "drivers_probe": "mmc1:0001:1"} {
		if b, err := os.ReadFile(filepath.Join(bus, name)); string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestNameServers(t *testing.T) {
	r := resolvers{path: filepath.Join(t.TempDir(), "resolv.conf")}
	for _, step := range []struct {
		by   way
		ips  []net.IP
		want string
	}{
		{byRadio, []net.IP{{10, 0, 0, 1}}, "nameserver 10.0.0.1\n"},
		{byCable, []net.IP{{10, 0, 0, 2}}, "nameserver 10.0.0.2\nnameserver 10.0.0.1\n"},
		{byRadio, nil, "nameserver 10.0.0.2\n"},
	} {
		err := r.set(step.by, step.ips)
		if b, rerr := os.ReadFile(r.path); err != nil || rerr != nil || string(b) != step.want {
			t.Errorf("%q, %v, %v", b, err, rerr)
		}
	}
}
