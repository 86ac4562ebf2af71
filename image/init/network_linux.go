package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	retry      = 10 * time.Second // after a network that did not answer
	leaseLeast = time.Minute      // a server that wants to be asked more often is not
)

// network gets the box an address and the time. Nothing waits for them: the box works without. It ends only when told to.
func network() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if err := up("lo"); err != nil {
		say("network: %v", err)
	}
	byBattery()
	servers := make(chan []string, 1)
	go keepTime(ctx, servers)
	if n, ok := named(); ok {
		go keepWireless(ctx, n, servers)
	}
	told := ""
	for ctx.Err() == nil {
		name, err := wired("/sys")
		if err == nil {
			err = lease(ctx, name, byCable, servers)
		}
		// A cable that is out for a week is told once.
		if err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			say("network: %v", err)
		}
		wait(ctx, retry)
	}
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return netlink.LinkSetUp(l)
}

// way is how the box reaches a network.
type way int

// The ways, the better one first.
const (
	byCable way = iota
	byRadio
)

// metric is a way's in the kernel's routes: the lower one is taken.
func (w way) metric() int { return 600 * int(w) }

// lease gets an address and keeps it for as long as the server lets it.
func lease(ctx context.Context, name string, by way, servers chan<- []string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	c, err := nclient4.New(name)
	if err != nil {
		return err
	}
	defer c.Close()
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	asks := dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionNTPServers)
	got, err := c.Request(ctx, asks, dhcpv4.WithOption(dhcpv4.OptHostName(host)))
	if err != nil {
		return errors.Join(ctx.Err(), errors.New(by.silence()))
	}
	for ctx.Err() == nil {
		if err := apply(link, by, got.ACK, servers); err != nil {
			return err
		}
		wait(ctx, max(got.ACK.IPAddressRenewalTime(got.ACK.IPAddressLeaseTime(time.Hour)/2), leaseLeast))
		if got, err = c.Renew(ctx, got, asks); err != nil {
			return fmt.Errorf("the address is not kept: %w", err)
		}
	}
	return nil
}

// apply makes the address, the way out and the name servers those that the network's server told.
func apply(link netlink.Link, by way, ack *dhcpv4.DHCPv4, servers chan<- []string) error {
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}}
	old, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	had := false
	for _, a := range old {
		if a.IPNet.String() == addr.IPNet.String() {
			had = true
		} else if err := netlink.AddrDel(link, &a); err != nil {
			return err
		}
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("address %v: %w", addr.IPNet, err)
	}
	if gw := ack.Router(); len(gw) > 0 {
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw[0], Priority: by.metric()}); err != nil {
			return fmt.Errorf("router %v: %w", gw[0], err)
		}
	}
	if err := names.set(by, ack.DNS()); err != nil {
		return err
	}
	var clocks []string
	for _, ip := range ack.NTPServers() {
		clocks = append(clocks, ip.String())
	}
	select { // the newest list counts
	case servers <- clocks:
	default:
	}
	if !had {
		say("network: the box is http://%v/", ack.YourIPAddr)
	}
	return nil
}

// silence is what it means that nobody gives an address.
func (w way) silence() string {
	if w == byRadio {
		return "wifi: the network is joined, and nothing in it gives an address"
	}
	return "no address yet: the cable is out, or nothing answers"
}

// resolvConf is where /etc/resolv.conf, a link in the image, leads to.
const resolvConf = "/tmp/resolv.conf"

// resolvers are the servers that know the names of others.
type resolvers struct {
	path string
	mu   sync.Mutex // guards by, and is held while the file is written
	by   [2][]net.IP
}

var names = resolvers{path: resolvConf}

// set writes down those of one way beside those of the other, the cable's first.
func (r *resolvers) set(by way, servers []net.IP) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[by] = servers
	var b strings.Builder
	for _, ip := range slices.Concat(r.by[:]...) {
		fmt.Fprintf(&b, "nameserver %v\n", ip)
	}
	fresh := r.path + ".new"
	if err := os.WriteFile(fresh, []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, r.path)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
