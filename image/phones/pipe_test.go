package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	if err := os.WriteFile(filepath.Join(dir, "big.bin"), make([]byte, 32<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	l.plug("phone", "QEMU0006", dir)
	l.do("wait 46f4")
	tests := []string{"TestCancel"}
	if *everything {
		tests = append(tests, "TestRate")
	}
	for _, name := range tests {
		said := strings.Join(l.do("run /libusb.test -test.v -test.run %s$", name), "\n")
		if !strings.Contains(said, "--- PASS: "+name) {
			t.Errorf("%s was not run:\n%s", name, said)
		}
		t.Log(said)
	}
	l.off()
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
