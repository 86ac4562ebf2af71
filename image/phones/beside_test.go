package main_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

var beside = flag.Bool("beside", false, "measure our driver beside libmtp and jmtpfs, on one phone in one machine")

// TestBesideOthers measures what docs/BENCHMARKS.md says of phones: the same simulated phone, plugged into the same machine,
// used by libmtp's programs, by jmtpfs and by our driver. A figure is of all that one of them does from when the kernel has
// found the phone: opening it, listing it, and reading it.
func TestBesideOthers(t *testing.T) {
	if !*beside {
		t.Skip(`measures, which takes minutes: make e2e ARGS="-run Beside -beside"`)
	}
	need(t)
	kernel, err := vm.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := peers(t)
	files := programs(t, dir, "mtp-files", "mtp-connect", "jmtpfs")
	files["usr/share/misc/magic.mgc"] = filepath.Join(dir, "root/usr/lib/file/magic.mgc")
	l := start(t, vm.Config{Kernel: kernel, Memory: 2048}, files)
	l.do("mkdir /tmp/got")
	c := l.cable()
	when := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	objects := func(n int) *vphone.Storage {
		s := vphone.NewStorage("Internal shared storage", 64<<30, nil)
		for i := range n - n/500 - 1 { // the rest are folders
			if err := s.Put(fmt.Sprintf("DCIM/%03d/IMG_%05d.jpg", i/500, i), when, vphone.Text("")); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	video := vphone.NewStorage("Internal shared storage", 64<<30, nil)
	if err := video.Put("DCIM/VID.mp4", when, vphone.Generated(1, 200e6)); err != nil {
		t.Fatal(err)
	}
	phones := []struct {
		what    string
		storage *vphone.Storage
		libmtp  []string
		jmtpfs  string
	}{
		{"list 1,000 objects", objects(1000), []string{"quiet /bin/mtp-files"}, "walk"},
		{"list 10,000 objects", objects(10_000), []string{"quiet /bin/mtp-files"}, ""}, // jmtpfs asks as libmtp does, and slower
		{"read 200 MB", video, []string{"quiet /bin/mtp-connect --getfile /DCIM/VID.mp4 /tmp/got/VID"}, ""},
		// The driver's Tree hashes what it is given.
		{"read and hash 200 MB", video, []string{"quiet /bin/mtp-connect --getfile /DCIM/VID.mp4 /tmp/got/VID", "sum /tmp/got"}, "sum"},
	}
	for i, p := range phones {
		l.measure(c, p.what, "libmtp", p.storage, "", p.libmtp...)
		if p.jmtpfs == "" {
			continue
		}
		at := fmt.Sprintf("/tmp/phone%d", i)
		l.do("mkdir %s", at)
		l.measure(c, p.what, "jmtpfs", p.storage, "", "run /bin/jmtpfs "+at, p.jmtpfs+" "+at)
	}
	l.do("bus") // takes every phone that comes from now on
	for _, p := range phones {
		l.measure(c, p.what, "boxd's driver", p.storage, "ARRIVED", "pull mtp:VPHONE0001")
	}
	l.off()
}

// measure has a program do something with a phone that was just plugged in, and tells what that took. If the machine has to
// say something before it is begun, that counts, and what the program says of its own time: it prints more than the others.
func (l *lab) measure(c *cable, what, who string, s *vphone.Storage, first string, commands ...string) {
	l.Helper()
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{s}})
	begin := time.Now()
	c.plug(phone)
	if first == "" {
		l.do("wait 18d1")
		begin = time.Now()
	} else {
		l.await(first)
	}
	took := time.Since(begin)
	for _, command := range commands {
		begin := time.Now()
		said := l.do("%s", command)
		if report := lines(said, "REPORT"); len(report) == 1 {
			var ms int
			if _, err := fmt.Sscan(report[0][strings.LastIndex(report[0], " in ")+4:], &ms); err != nil {
				l.Fatal(err)
			}
			took += time.Duration(ms) * time.Millisecond
		} else {
			took += time.Since(begin)
		}
	}
	var operations []string
	for op, n := range phone.Stats().Operations {
		operations = append(operations, fmt.Sprintf("%04x: %d", op, n))
	}
	slices.Sort(operations)
	l.Logf("%-20s %-14s %6d transactions %6.1f s  (%s)", what, who, phone.Stats().Transactions, took.Seconds(), strings.Join(operations, ", "))
	c.unplug()
	l.do("gone 18d1")
}
