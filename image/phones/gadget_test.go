package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/image/vm"
)

// responder is umtp-responder's configuration.
const responder = `loop_on_disconnect 1
storage "/phone" "Internal shared storage" "rw"
manufacturer "Viveris"
product "uMTP responder"
serial "UMTP0001"
firmware_version "1"
interface "MTP"
usb_vendor_id 0x1D6B
usb_product_id 0x0100
usb_class 0x6
usb_subclass 0x1
usb_protocol 0x1
usb_dev_version 0x3008
usb_functionfs_mode 0x1
usb_dev_path "/dev/ffs-mtp/ep0"
usb_epin_path "/dev/ffs-mtp/ep1"
usb_epout_path "/dev/ffs-mtp/ep2"
usb_epint_path "/dev/ffs-mtp/ep3"
usb_max_packet_size 0x200
`

// gadgetLab starts a machine that can be a phone to itself, with umtp-responder: Debian's kernel, since the box's has neither
// the bus nor the functions. Below /phone lie files.
func gadgetLab(t *testing.T) *lab {
	t.Helper()
	dir := peers(t)
	files := programs(t, dir, "umtprd")
	var modules []string
	for _, name := range []string{"usb-common", "usbcore", "udc-core", "configfs", "libcomposite", "usb_f_fs", "dummy_hcd"} {
		err := filepath.WalkDir(filepath.Join(dir, "kernel", "lib"), func(path string, _ os.DirEntry, err error) error {
			if filepath.Base(path) == name+".ko" {
				files["modules/"+name+".ko"] = path
				modules = append(modules, "/modules/"+name+".ko")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(t.TempDir(), "umtprd.conf")
	if err := os.WriteFile(conf, []byte(responder), 0o600); err != nil {
		t.Fatal(err)
	}
	files["etc/umtprd/umtprd.conf"], files["boxd"] = conf, build(t, "./cmd/boxd")
	from := (&lab{T: t, dir: t.TempDir()}).phone()
	for _, name := range []string{"DCIM/Camera/IMG_0001.jpg", "DCIM/Camera/512.bin", "DCIM/Camera/1024.bin", "DCIM/Camera/1MiB.bin", "DCIM/Camera/empty", "DCIM/one", "notes.txt"} {
		files["phone/"+name] = filepath.Join(from, name)
	}
	// Its own conversion cuts a name off where a character needs four bytes of UTF-8.
	files["phone/空 folder/naïve 写真.mp4"] = filepath.Join(from, "DCIM/Camera/VID_0002.mp4")
	l := start(t, vm.Config{Kernel: filepath.Join(dir, "kernel", "vmlinuz"), Memory: 1536}, files)
	l.do("age /phone")
	l.do("load %s", strings.Join(modules, " "))
	l.do("gadget /bin/umtprd")
	return l
}

// umtp-responder, another MTP responder that we did not write, on a real gadget driver: a backup of it is what it holds.
func TestUmtpResponder(t *testing.T) {
	need(t)
	l := gadgetLab(t)
	var want []string
	for _, line := range lines(l.do("sum /phone"), "FILE") {
		f := strings.SplitN(line, " ", 4)
		want = append(want, strings.Join(f[:3], " ")+" Internal shared storage/"+f[3])
	}
	slices.Sort(want)
	if len(want) != 8 {
		t.Fatalf("the phone holds %d files", len(want))
	}
	const vault = "--drive /tmp/a --drive /tmp/b --key-file /tmp/key"
	t.Log(strings.Join(l.do("run /boxd phones"), "\n"))
	l.do("run /boxd vault create %s", vault)
	t.Log(strings.Join(l.do("run /boxd backup any %s", vault), "\n"))
	l.do("run /boxd restore latest --to /tmp/out %s", vault)
	l.same("restored", l.do("sum /tmp/out"), want)

	// It takes no dates: boxd says so of every file, and ends with 3.
	before := summed(l.do("sum /phone"))
	l.do("empty /phone")
	l.begin("run /boxd restore latest --phone any %s", vault)
	said, ok := l.end()
	if n := strings.Count(strings.Join(said, "\n"), "the phone gave it another time"); ok || n != len(want) {
		t.Errorf("restored:\n%s", strings.Join(said, "\n"))
	}
	match(t, "restored to the phone", summed(l.do("sum /phone")), before)
	l.off()
}
