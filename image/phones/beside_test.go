package main_test

import (
	"cmp"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

var beside = flag.Bool("beside", false, "measure our driver beside libmtp, jmtpfs and go-mtpfs, on one phone in one machine")

// TestBesideOthers measures what docs/BENCHMARKS.md says of phones: the same simulated phone, plugged into the same machine,
// used by libmtp's programs, by jmtpfs and go-mtpfs, and by our driver. A figure is of all that one of them does from when the
// kernel has found the phone: opening it, listing it, and reading it; its processor time is the machine's, which other work on
// this computer does not change. It ends with the lines of the table.
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
	files := programs(t, dir, "mtp-files", "mtp-connect", "jmtpfs", "go-mtpfs", "fusermount3")
	files["bin/fusermount"] = files["bin/fusermount3"]
	files["usr/share/misc/magic.mgc"] = filepath.Join(dir, "root/usr/lib/file/magic.mgc")
	l := start(t, vm.Config{Kernel: kernel, Memory: 2048}, files)
	l.do("mkdir /tmp/got")
	c := l.cable()
	// The figures that every client has, and jmtpfs's and go-mtpfs's way to do a thing.
	const walked, summed = "walk AT", "sum AT"
	mounts := func(does string) map[string][]string {
		return map[string][]string{"jmtpfs": {"run /bin/jmtpfs AT", does, "peak jmtpfs"}, "go-mtpfs": {"serve AT /bin/go-mtpfs", does, "peak go-mtpfs"}}
	}
	with := func(m map[string][]string, libmtp ...string) map[string][]string {
		m["libmtp"] = libmtp
		return m
	}
	var rows []row
	for _, p := range []struct {
		what   string
		files  int
		size   int64 // bytes, of each file; empty files are only listed
		others map[string][]string
	}{
		{"list 1,000 objects", 998, 0, with(mounts(walked), "quiet /bin/mtp-files")},
		{"read and hash a film of 50 MB", 1, 50e6, with(mounts(summed), "quiet /bin/mtp-connect --getfile /DCIM/000/IMG_00000.jpg /tmp/got/film", "sum /tmp/got")},
		{"read and hash 12 photos of 4 MB", 12, 4e6, mounts(summed)},
		{"list 10,000 objects", 9980, 0, map[string][]string{"libmtp": {"quiet /bin/mtp-files"}, "go-mtpfs": mounts(walked)["go-mtpfs"]}}, // jmtpfs asks as libmtp does, and slower
	} {
		s := vphone.NewStorage("Internal shared storage", 64<<30, nil)
		for i := range p.files {
			if err := s.Put(fmt.Sprintf("DCIM/%03d/IMG_%05d.jpg", i/500, i), time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), vphone.Generated(uint64(i), p.size)); err != nil {
				t.Fatal(err)
			}
		}
		l.do("bus") // takes every phone that comes, until deaf
		ours := l.measure(c, p.what, "our driver", s, "pull mtp:VPHONE0001")
		l.do("deaf")
		rows = append(rows, ours)
		for _, who := range []string{"go-mtpfs", "libmtp", "jmtpfs"} {
			if commands := p.others[who]; commands != nil {
				at := fmt.Sprintf("/tmp/phone%d", len(rows))
				l.do("mkdir %s", at)
				r := l.measure(c, p.what, who, s, strings.Split(strings.ReplaceAll(strings.Join(commands, "\n"), "AT", at), "\n")...)
				r.times = r.spent / ours.spent
				rows = append(rows, r)
			}
		}
	}
	for _, r := range rows {
		t.Logf("| %s | %s | %d | %.1f | %.1f | %.1f | %.0f |", r.what, r.who, r.transactions, r.took, r.spent, cmp.Or(r.times, 1), r.peak/1024)
	}
	l.off()
}

// row is what was measured.
type row struct {
	what, who    string
	transactions int
	took         float64 // seconds
	spent        float64 // seconds of processor time, the machine's
	times        float64 // as much of it as our driver took
	peak         float64 // KiB of memory
}

// measure has a client do something with a phone that is plugged in, and tells what that took. What our driver says of its own
// time counts for it: it prints a line for each file.
func (l *lab) measure(c *cable, what, who string, s *vphone.Storage, commands ...string) row {
	l.Helper()
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{s}})
	before := l.spent()
	c.plug(phone)
	begin := time.Now()
	if who == "our driver" {
		l.await("ARRIVED")
	} else {
		l.do("wait 18d1")
		begin, before = time.Now(), l.spent()
	}
	r := row{what: what, who: who, took: time.Since(begin).Seconds()}
	for _, command := range commands {
		begin := time.Now()
		said := l.do("%s", command)
		took := time.Since(begin).Seconds()
		if report := lines(said, "REPORT"); len(report) == 1 {
			var ms float64
			if _, err := fmt.Sscan(report[0][strings.LastIndex(report[0], " in ")+4:], &ms); err != nil {
				l.Fatal(err)
			}
			took = ms / 1000
		}
		if peak := lines(said, "PEAK"); len(peak) == 1 {
			kb, err := strconv.ParseFloat(peak[0], 64)
			if err != nil {
				l.Fatal(err)
			}
			r.peak = max(r.peak, kb)
		}
		if !strings.HasPrefix(command, "peak ") {
			r.took += took
		}
	}
	var operations []string
	for op, n := range phone.Stats().Operations {
		operations = append(operations, fmt.Sprintf("%04x: %d", op, n))
	}
	slices.Sort(operations)
	r.transactions, r.spent = phone.Stats().Transactions, l.spent()-before
	l.Logf("%-32s %-10s %6d transactions %6.1f s, processor %6.1f s, %6.0f KiB  (%s)", what, who, r.transactions, r.took, r.spent, r.peak, strings.Join(operations, ", "))
	c.unplug()
	l.do("gone 18d1")
	return r
}

// spent is the machine's processor time, in seconds.
func (l *lab) spent() float64 {
	l.Helper()
	d, err := l.m.Spent()
	if err != nil {
		l.Fatal(err)
	}
	return d.Seconds()
}
