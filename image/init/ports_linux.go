package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// welcome are the kernel's drivers that may hold something plugged into USB: hubs and drives, what boxd itself opens, and phones
// that are modems. A keyboard has nobody who reads it, and a network adapter is never used: no driver of theirs stays.
var welcome = []string{"hub", "usb-storage", "uas", "usbfs", "cdc_acm", "option"}

// soldered are drivers of network adapters that boards have on a USB of their own: the Pi 3B+ and the Pi 3B.
var soldered = []string{"lan78xx", "smsc95xx"}

// looksAgain is how often the ports are looked at though the kernel told of nothing: what it tells may get lost.
const looksAgain = 10 * time.Second

// ports keeps strangers on USB away. It ends only when told to.
func ports() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGHUP)
	defer stop()
	keepPorts(ctx, "/sys")
}

// keepPorts takes what is plugged into USB away from every driver that it has no business with, until ctx is done.
func keepPorts(ctx context.Context, sys string) {
	told, err := uevents(ctx)
	if err != nil {
		say("ports: %v", err)
	}
	for ctx.Err() == nil {
		for _, b := range unwelcome(sys) {
			if err := os.WriteFile(filepath.Join(sys, "bus/usb/drivers", b.driver, "unbind"), []byte(b.port), 0); err != nil {
				say("ports: %s stays with %s: %v", b.port, b.driver, err)
				continue
			}
			say("ports: %s is taken from %s: such devices are of no use to the box", b.port, b.driver)
		}
		again := time.NewTimer(looksAgain)
		select {
		case <-told:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
}

// binding is a USB interface and the driver that has it.
type binding struct{ port, driver string }

// unwelcome lists the interfaces that a driver has which is not to.
func unwelcome(sys string) []binding {
	ports, err := filepath.Glob(filepath.Join(sys, "bus/usb/devices/*:*"))
	if err != nil {
		return nil // the pattern is sound
	}
	var list []binding
	for _, port := range ports {
		link, err := os.Readlink(filepath.Join(port, "driver"))
		driver := filepath.Base(link)
		if err != nil || slices.Contains(welcome, driver) || slices.Contains(soldered, driver) && onBoard(port) {
			continue
		}
		list = append(list, binding{filepath.Base(port), driver})
	}
	return list
}

// onBoard reports whether a USB interface belongs to the board. The board's own description tells which of its ports a chip is
// soldered to, and nothing that is plugged in can pretend to be there.
func onBoard(port string) bool {
	real, err := filepath.EvalSymlinks(port)
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(real), "of_node"))
	return err == nil
}

// uevents tells whenever the kernel says that a device came, went or changed (Linux, lib/kobject_uevent.c).
func uevents(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	f := os.NewFile(uintptr(fd), "uevents")
	context.AfterFunc(ctx, func() { f.Close() })
	told := make(chan struct{}, 1)
	go func() {
		buf := make([]byte, 8<<10)
		for {
			// What it says does not matter, nor that some of it was lost: sysfs tells how things are.
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, nil
}

// wired finds the board's own network socket among all adapters. One that is plugged in could tell the box what time it is and
// whom to ask, so none such is ever used.
func wired(sys string) (string, error) {
	all, err := os.ReadDir(filepath.Join(sys, "class/net")) // in order
	if err != nil {
		return "", err
	}
	for _, e := range all {
		name := filepath.Join(sys, "class/net", e.Name())
		device, err := filepath.EvalSymlinks(filepath.Join(name, "device"))
		if err != nil {
			continue // the kernel's own, such as lo
		}
		if _, err := os.Stat(filepath.Join(name, "phy80211")); err == nil {
			continue // radio
		}
		if bus, err := os.Readlink(filepath.Join(device, "subsystem")); err == nil && filepath.Base(bus) == "usb" && !onBoard(device) {
			continue
		}
		return e.Name(), nil
	}
	return "", errNoSocket
}

var errNoSocket = errors.New("this board has no network socket of its own")
