package main_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

var inVM = flag.Bool("vm", false, "boot the box's kernel in QEMU: make vm")

const (
	mib     = 1 << 20
	rootAt  = 2 * mib
	permAt  = 66 * mib
	permEnd = 82 * mib // before it is grown
	cardEnd = 256 * mib
)

// silence is how long the machine may say nothing; it is slow where the processor is only imitated.
const silence = 2 * time.Minute

// Boxd's stand-in ends with 0, with 125 and by a signal, and is started again each time; then it has the box switched off. At the
// next start it hangs, and the watchdog, which nobody feeds any more, resets the machine.
func TestInit(t *testing.T) {
	if !*inVM {
		t.Skip("boots a machine: make vm")
	}
	path := card(t, map[string]string{"user/boxd": "./standin"}, "")
	m := boot(t, path)
	for _, words := range []string{"init: starting", "/perm reaches to the card's end now", "standin: life 1 with run --mount /mnt --state /perm/box --web :80 --board rpi --update /perm/update",
		"standin: mount / ext4 ro", "standin: mount /dev devtmpfs rw,nosuid,noexec", "standin: mount /perm ext4 rw,nosuid,nodev,noexec", "init: /user/boxd ended with 0", "standin: life 2",
		"init: /user/boxd ended with 125", "standin: life 3", "init: /user/boxd was ended by signal 9", "standin: life 4", "standin: flushed",
		"all is written; the box is to be switched off"} {
		hear(t, m, words)
	}
	if err := m.Wait(); err != nil {
		t.Error(err)
	}
	var grown int
	if _, said, ok := strings.Cut(m.Log(), "standin: perm "); ok {
		fmt.Sscanf(said, "%d MB", &grown)
	}
	if want := (cardEnd - permAt) / 1_000_000; grown < want*8/10 {
		t.Errorf("/perm has room for %d MB where the card has %d", grown, want)
	}
	for _, bad := range []string{"the root can be written", "unmount /", "cannot be used"} {
		if strings.Contains(m.Log(), bad) {
			t.Errorf("the console says %q:\n%s", bad, m.Log())
		}
	}
	for _, driver := range []string{"usbhid", "cdc_ether"} {
		if !strings.Contains(m.Log(), "is taken from "+driver) {
			t.Errorf("a device that was plugged in stays with %s:\n%s", driver, m.Log())
		}
	}
	sound(t, path)

	m = boot(t, path)
	hear(t, m, "standin: life 5")     // /perm has kept the four before
	hear(t, m, "standin: it is 1970") // nobody here tells the time, and nothing waits for it
	ended := make(chan error, 1)
	go func() { ended <- m.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(silence):
		t.Fatalf("it hangs, and after %v the machine was not reset:\n%s", silence, m.Log())
	}
	if !strings.Contains(m.Log(), "network: the box is http://10.0.2.15/") { // what QEMU's DHCP server gives
		t.Errorf("it got no address:\n%s", m.Log())
	}
	if strings.Contains(m.Log(), "switched off") || strings.Contains(m.Log(), "life 6") {
		t.Errorf("the machine ended in another way than by its watchdog:\n%s", m.Log())
	}
}

// The real boxd is fed for longer than any watchdog waits; when it is stopped in the middle of it, the machine is reset.
func TestBoxdKeepsTheWatchdog(t *testing.T) {
	if !*inVM {
		t.Skip("boots a machine: make vm")
	}
	if testing.Short() {
		t.Skip("a minute of waiting, and make board shows the same from the card")
	}
	m := boot(t, card(t, map[string]string{"user/boxd": "./freeze", "user/realboxd": "../../cmd/boxd"}, settings(t, "unlock = \"keystick\"\n")))
	hear(t, m, "freeze: boxd is process")
	began := time.Now()
	hear(t, m, "Phone backup box")
	ended := make(chan error, 1)
	go func() { ended <- m.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("it ended after %v with %v:\n%s", time.Since(began), err, m.Log())
	case <-time.After(3 * bites):
	}
	for _, bad := range []string{"no watchdog", "watchdog:", "is started again"} {
		if strings.Contains(m.Log(), bad) {
			t.Errorf("the console says %q:\n%s", bad, m.Log())
		}
	}
	if err := m.Type("stop"); err != nil {
		t.Fatal(err)
	}
	hear(t, m, "freeze: stopped")
	began = time.Now()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
		t.Logf("reset %v after boxd was stopped", time.Since(began).Round(time.Second))
	case <-time.After(silence):
		t.Fatalf("boxd is stopped, and after %v the machine was not reset:\n%s", silence, m.Log())
	}
	if took := time.Since(began); took < bites/3 || strings.Contains(m.Log(), "is started again") {
		t.Errorf("it ended after %v, in another way than by its watchdog:\n%s", took, m.Log())
	}
}

// settings makes a /perm that holds a box.toml.
func settings(t *testing.T, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "perm")
	err := os.MkdirAll(filepath.Join(dir, "box"), 0o700)
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "box", "box.toml"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bites is the time after which the watchdog resets the machine once boxd has it (hal/rpi).
const bites = 15 * time.Second

func hear(t *testing.T, m *vm.Machine, words string) {
	t.Helper()
	for {
		line, ok := m.Next(silence)
		if !ok {
			t.Fatalf("the machine ended, or said nothing for %v, before %q:\n%s", silence, words, m.Log())
		}
		if strings.Contains(line, words) {
			return
		}
	}
}

func boot(t *testing.T, path string) *vm.Machine {
	t.Helper()
	kernel, err := vm.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := vm.Boot(t.Context(), vm.Config{Kernel: kernel, Memory: 512, Args: "root=PARTUUID=b0c5b0c5-02 ro rootwait init=/gokrazy/init i6300esb.heartbeat=10",
		Disks: []*vm.Disk{vm.NewDisk(path, "virtio-blk-pci,drive=DRIVE", 1)}, Extra: []string{"-device", "i6300esb", "-action", "watchdog=reset",
			"-rtc", "base=1970-01-02T00:00:00", "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net",
			"-device", "qemu-xhci", "-device", "usb-kbd", "-netdev", "user,id=stranger,restrict=on,net=10.9.9.0/24", "-device", "usb-net,netdev=stranger"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.CutPower(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// card makes an SD card as the box's is divided: a root with init and other programs, by the folders of their packages, and a small
// /perm that holds what the folder perm does, unless that is "".
func card(t *testing.T, programs map[string]string, perm string) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	var err error
	for _, name := range []string{"dev", "proc", "sys", "tmp", "run", "mnt", "perm", "etc", "gokrazy", "user"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, name), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	programs["gokrazy/init"] = "."
	for name, pkg := range programs {
		tool(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, name), pkg)
	}
	path := filepath.Join(dir, "card")
	mbr := make([]byte, 512)
	copy(mbr[440:], []byte{0xc5, 0xb0, 0xc5, 0xb0})
	mbr[510], mbr[511] = 0x55, 0xaa
	for i, p := range [][2]int{{1 * mib, rootAt}, {rootAt, permAt - mib}, {permAt - mib, permAt}, {permAt, permEnd}} {
		e := mbr[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(p[0]/512))
		binary.LittleEndian.PutUint32(e[12:], uint32((p[1]-p[0])/512))
	}
	if err := errors.Join(os.WriteFile(path, mbr, 0o600), os.Truncate(path, cardEnd)); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "mke2fs", "-q", "-F", "-t", "ext4", "-d", root, "-E", fmt.Sprintf("offset=%d", rootAt), path, fmt.Sprint((permAt-mib-rootAt)/1024)+"k")
	if perm == "" {
		perm = t.TempDir()
	}
	tool(t, nil, "mke2fs", "-q", "-F", "-t", "ext4", "-d", perm, "-E", fmt.Sprintf("offset=%d", permAt), path, fmt.Sprint((permEnd-permAt)/1024)+"k")
	return path
}

// sound has e2fsck look at /perm, which was unmounted cleanly.
func sound(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	perm := filepath.Join(t.TempDir(), "perm")
	if err := os.WriteFile(perm, b[permAt:], 0o600); err != nil {
		t.Fatal(err)
	}
	if said := tool(t, nil, "e2fsck", "-f", "-n", perm); bytes.Contains(said, []byte("skipping journal recovery")) {
		t.Errorf("/perm was not unmounted cleanly:\n%s", said)
	}
}

func tool(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), append(env, "PATH="+os.Getenv("PATH")+":/sbin:/usr/sbin")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return out
}
