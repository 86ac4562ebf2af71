package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

// The bench tests of usbhost/libusb, which are for real phones, on QEMU's. With -all, also how fast which way of reading is.
func TestBench(t *testing.T) {
	need(t)
	kernel, err := vm.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bench := compile(t, "libusb.test", "./usbhost/libusb", "test", "-c", "-tags", "libusb,hardware,netgo,osusergo")
	l := start(t, vm.Config{Kernel: kernel}, map[string]string{"libusb.test": bench})
	dir := l.folder()
	if err := os.WriteFile(filepath.Join(dir, "big.bin"), make([]byte, bigFile), 0o644); err != nil {
		t.Fatal(err)
	}
	l.plug("phone", "QEMU0006", dir)
	l.do("wait 46f4")
	l.bench("TestCancel", "QEMU0006")
	c := l.cable()
	c.plug(mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{simulated(t)}, Serial: "MUTE0001", Quirks: mtp.Quirks{MuteControl: true}}))
	l.do("wait 18d1")
	l.bench("TestControlIsBounded", "MUTE0001")
	c.unplug()
	l.do("gone 18d1")
	if *everything {
		l.bench("TestRate", "QEMU0006")
		storage := vphone.NewStorage("Internal shared storage", 8<<30, &vphone.Spool{Memory: 64 << 20})
		if err := storage.Put("big.bin", time.Time{}, vphone.Generated(1, bigFile)); err != nil {
			t.Fatal(err)
		}
		l.cable().plug(mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{storage}, Wire: vphone.Wire{Rate: highSpeed}}))
		l.do("wait 18d1")
		l.bench("TestRate", "VPHONE0001")
	}
	l.off()
}

const (
	bigFile   = 32 << 20 // bytes
	highSpeed = 40e6     // bytes per second: what phones reach on USB 2
)

// bench runs one of the bench tests on a phone.
func (l *lab) bench(name, serial string) {
	l.Helper()
	said := strings.Join(l.do("run /libusb.test -test.v -test.run %s$ -serial %s", name, serial), "\n")
	if !strings.Contains(said, "--- PASS: "+name) {
		l.Errorf("%s was not run:\n%s", name, said)
	}
	l.Log(said)
}

// A phone that halts its endpoints in the midst of a file goes on with the next one: the Pipe clears both, on the phone and in
// the kernel.
func TestStallsAreCleared(t *testing.T) {
	need(t)
	storage := simulated(t)
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{storage}})
	const bad = "DCIM/Camera/IMG_0001.jpg"
	phone.FailingAt(bad, 1_500_000)
	l := boot(t, "")
	l.do("bus")
	l.cable().plug(phone)
	l.await("ARRIVED mtp:VPHONE0001 480 480 false Google Pixel 9")
	said := l.do("pull mtp:VPHONE0001")
	var want []string
	for _, f := range held(t, storage) {
		sum, rest, _ := strings.Cut(f, " ")
		size, name, _ := strings.Cut(rest, " ")
		if name != bad {
			want = append(want, sum+" "+size+" Internal shared storage/"+name)
		}
	}
	match(t, "backed up", summed(said), want)
	if report := strings.Join(lines(said, "REPORT"), ""); !strings.HasPrefix(report, "listed=9 stored=8 problems=1 ") {
		t.Error(report)
	}
	if !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "PROBLEM") && strings.Contains(line, bad) }) {
		t.Errorf("no word of %s:\n%s", bad, strings.Join(said, "\n"))
	}
	l.off()
}
