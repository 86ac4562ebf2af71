package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

var inVM = flag.Bool("vm", false, "boot the test machine in QEMU: make e2e")

// silence is how long the machine may say nothing. The processor is only imitated, and beside 24 other jobs on two cores a
// backup of 27 MB, which says nothing until it is done, took more than two minutes.
const silence = 10 * time.Minute

// patience is how long something may be waited for, whatever the machine says meanwhile.
const patience = 15 * time.Minute

// lab is a machine that runs, and who sits before it.
type lab struct {
	*testing.T
	m   *vm.Machine
	dir string // for phones' folders
}

// boot starts a machine with the box's kernel and boxd; args go to the kernel.
func boot(t *testing.T, args string) *lab {
	t.Helper()
	need(t)
	kernel, err := vm.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return start(t, vm.Config{Kernel: kernel, Args: args}, map[string]string{"boxd": build(t, "./cmd/boxd")})
}

// need skips a test that nobody asked for: asked for by -vm, nothing may be missing.
func need(t *testing.T) {
	t.Helper()
	if !*inVM {
		t.Skip("boots a machine, which takes minutes: make e2e")
	}
	for program, pkg := range map[string]string{vm.Program: "qemu-system-arm", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross", "pkg-config": "pkgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v (Debian: %s)", err, pkg)
		}
	}
}

// start starts a machine that runs this folder's program and has the files, by their names in it.
func start(t *testing.T, c vm.Config, files map[string]string) *lab {
	t.Helper()
	files = maps.Clone(files)
	files["init"] = build(t, "./image/phones")
	dir := t.TempDir() // goes after the machine: QEMU 7.2 hangs when a folder goes that a phone has shown
	c.Initramfs = filepath.Join(dir, "initramfs")
	f, err := os.Create(c.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	err = vm.WriteInitramfs(f, files)
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	m, err := vm.Boot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.CutPower(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{t, m, dir}
	l.await("READY")
	return l
}

// build makes a static program with libusb for the machine's processor.
func build(t *testing.T, pkg string) string {
	t.Helper()
	return compile(t, "usb-"+filepath.Base(pkg), pkg, "build", "-tags", "libusb,netgo,osusergo")
}

// compile has the go command make a program for the machine, by its subcommand and what that wants to know.
func compile(t *testing.T, name, pkg string, args ...string) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	command(t, root, nil, "image/libusb/build", "arm64")
	out := filepath.Join(root, ".cache", "vm", name) // stays: building takes longer than booting
	args = append(args, "-trimpath", "-ldflags", `-s -w -linkmode external -extldflags "-static"`, "-o", out, pkg)
	libusb := filepath.Join(root, ".cache", "libusb", "arm64")
	// The linker's flags are for go's build cache, which knows another clone's libusb by them.
	command(t, root, []string{"CGO_ENABLED=1", "GOOS=linux", "GOARCH=arm64", "CC=aarch64-linux-gnu-gcc", "PKG_CONFIG_LIBDIR=" + libusb,
		"CGO_LDFLAGS=-O2 -g -L" + libusb}, "go", args...)
	return out
}

func command(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if strings.Contains(name, "/") {
		cmd.Path = filepath.Join(dir, name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// await reads the console up to a line that begins with "vm: " and the words, and returns what follows them.
func (l *lab) await(words string) string {
	l.Helper()
	for from := time.Now(); ; {
		line, ok := l.m.Next(silence)
		if !ok || time.Since(from) > patience {
			l.Fatalf("waiting for %s: the machine ended, said nothing for %v, or not this for %v:\n%s", words, silence, patience, l.m.Log())
		}
		if said, ours := strings.CutPrefix(line, "vm: "); ours {
			if rest, ok := strings.CutPrefix(said, words); ok {
				return strings.TrimSpace(rest)
			}
			if strings.HasPrefix(said, "FAILED") || strings.HasPrefix(said, "BROKEN") {
				l.Fatalf("waiting for %s: %s\n%s", words, said, l.m.Log())
			}
		}
	}
}

// do has the machine do something and returns the lines that it said.
func (l *lab) do(format string, args ...any) []string {
	l.Helper()
	said, ok := l.ask(format, args...)
	if !ok {
		l.Fatalf(format+": %s", append(args, strings.Join(said, "\n"))...)
	}
	return said
}

// ask is do for what may fail.
func (l *lab) ask(format string, args ...any) (said []string, ok bool) {
	l.Helper()
	l.begin(format, args...)
	return l.end()
}

func (l *lab) begin(format string, args ...any) {
	l.Helper()
	if err := l.m.Type(fmt.Sprintf(format, args...)); err != nil {
		l.Fatal(err)
	}
}

// end reads to the end of what was begun, and tells whether it went well.
func (l *lab) end() (said []string, ok bool) {
	l.Helper()
	for {
		line, ok := l.m.Next(silence)
		if !ok {
			l.Fatalf("the machine ended, or said nothing for %v:\n%s", silence, l.m.Log())
		}
		said = append(said, line)
		if strings.HasPrefix(line, "vm: DONE") || strings.HasPrefix(line, "vm: FAILED") {
			return said, strings.HasPrefix(line, "vm: DONE")
		}
	}
}

// off has the machine switched off.
func (l *lab) off() {
	l.Helper()
	l.begin("off")
	for _, ok := l.m.Next(silence); ok; _, ok = l.m.Next(silence) {
	}
	if err := l.m.Wait(); err != nil {
		l.Error(err)
	}
}

// lines are those that begin with "vm: " and the word, without them.
func lines(said []string, word string) (out []string) {
	for _, line := range said {
		if rest, ok := strings.CutPrefix(line, "vm: "+word+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// phone makes a folder for QEMU's usb-mtp to show, which puts questionable names into the place of those that are not ASCII.
func (l *lab) phone() string {
	l.Helper()
	dir := l.folder()
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int{
		"DCIM/Camera/IMG_0001.jpg": 3_000_001, "DCIM/Camera/VID_0002.mp4": 24 << 20, "DCIM/Camera/512.bin": 512 - 12, "DCIM/Camera/1024.bin": 1024 - 12,
		"DCIM/Camera/1MiB.bin": 1 << 20, "DCIM/Camera/empty": 0, "DCIM/one": 1, "Music/a b.mp3": 70_000, "notes.txt": 12,
	} {
		p := make([]byte, size)
		_, _ = random.Read(p) // never fails
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(path, p, 0o644); err != nil {
			l.Fatal(err)
		}
		when := time.Date(2024, 2, 29, 12, 0, size%60, 0, time.UTC)
		if err := os.Chtimes(path, when, when); err != nil {
			l.Fatal(err)
		}
	}
	return dir
}

// folder makes one that a phone can show.
func (l *lab) folder() string {
	l.Helper()
	dir, err := os.MkdirTemp(l.dir, "phone")
	if err != nil {
		l.Fatal(err)
	}
	return dir
}

// contents is what a folder holds, in the words of the machine's "sum", every name below prefix.
func contents(t *testing.T, dir, prefix string) []string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		p, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = fmt.Sprintf("%x %d %d %s", sha256.Sum256(p), len(p), info.ModTime().Unix(), prefix+filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Values(out))
}

// same compares what the machine has with what it should have.
func (l *lab) same(what string, said, want []string) {
	l.Helper()
	got := lines(said, "FILE")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		l.Errorf("%s: the machine has\n%s\nand the phone\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// device is QEMU's phone.
func device(id, serial, dir string) map[string]any {
	return map[string]any{"driver": "usb-mtp", "id": id, "bus": "usb.0", "serial": serial, "desc": "Phone", "rootdir": dir}
}

// Phones that QEMU plays, on the box's kernel. The parts of the test follow each other on one machine.
func TestPhones(t *testing.T) {
	l := boot(t, "usb-storage.delay_use=60")
	for _, part := range []struct {
		name string
		do   func(*lab)
	}{{"a backup and a restore", backup}, {"boxd run", appliance}, {"boxd run, two phones", turns}, {"a driver of the kernel is sent away", driver}, {"the cable comes out", unplug}, {"two at once", two}} {
		ok := t.Run(part.name, func(t *testing.T) { part.do(&lab{t, l.m, l.dir}) })
		if !ok {
			t.Fatal("what follows needs a machine that is well:\n" + l.m.Log())
		}
	}
	l.off()
}

func (l *lab) plug(id, serial, dir string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), silence)
	defer cancel()
	if err := l.m.Plug(ctx, device(id, serial, dir)); err != nil {
		l.Fatalf("%v\n%s", err, l.m.Log())
	}
}

func (l *lab) unplug(id string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), silence)
	defer cancel()
	if err := l.m.Unplug(ctx, id); err != nil {
		l.Fatalf("%v\n%s", err, l.m.Log())
	}
}

// appliance has boxd run be the box: a phone that is plugged in is enrolled and backed up by a tap, and the button ends it.
func appliance(l *lab) {
	const vault = "--drive /tmp/run-a --drive /tmp/run-b --key-file /tmp/run-key"
	l.do("run /boxd vault create %s", vault)
	l.begin("keys /boxd run --web 0.0.0.0:0 --state /tmp/run-state %s", vault)
	l.hear("plug a phone into any USB port")
	l.hear("The box is ready.")
	l.plug("phone", "QEMU0004", l.phone())
	l.hear("a new phone: tap to back it up from now on")
	l.begin(" ")
	l.hear("all 9 files are in the vault, read back and compared")
	l.unplug("phone")
	l.hear("unplugged")
	l.begin("s") // holds the button
	if said, ok := l.end(); !ok {
		l.Fatalf("shut down by its button, it ends with\n%s", strings.Join(said, "\n"))
	}
	said := strings.Join(l.do("run /boxd snapshots %s", vault), "\n")
	if !strings.Contains(said, "complete    mtp:QEMU0004") || strings.Contains(said, "INCOMPLETE") {
		l.Errorf("after boxd run: %s", said)
	}
}

// turns has boxd run be the box for two phones. The cable of the first comes out in the middle of a film: the second is asked about
// and backed up all the same. The first comes back as if only to be charged, then locked, is waited for,
// and goes on once it is unlocked.
func turns(l *lab) {
	const vault = "--drive /tmp/two-a --drive /tmp/two-b --key-file /tmp/two-key"
	l.do("run /boxd vault create %s", vault)
	l.begin("keys /boxd run --web 0.0.0.0:0 --state /tmp/two-state --log /tmp/two-log %s", vault)
	l.hear("The box is ready.")
	first, c := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{simulated(l.T)}}), l.cable()
	c.plug(first)
	l.hear("Pixel 9: a new phone: tap to back it up from now on")
	l.plug("second", "QEMU0006", l.phone())
	l.hear("The box does not know it.")
	const after = 10_000_000 // bytes: in the film
	first.UnplugAfter(after)
	l.begin(" ")
	l.hear("Pixel 9: The phone came unplugged before its backup was done.")
	l.hear("a new phone: tap to back it up from now on")
	l.begin(" ")
	l.hear("all 9 files are in the vault, read back and compared")
	first.ChargeOnly(true) // what it is when it is plugged in again, until its owner chooses otherwise on its screen
	c.unplug()
	c.plug(first)
	l.hear("Pixel 9 is locked. Waiting for its owner.")
	first.ChargeOnly(false)
	first.Lock()
	c.unplug()
	c.plug(first)
	l.hear("Pixel 9 is locked. Waiting for its owner.")
	first.Unlock()
	l.hear("Pixel 9: all 9 files are in the vault, read back and compared")
	l.begin("s") // holds the button
	if said, ok := l.end(); !ok {
		l.Fatalf("shut down by its button, it ends with\n%s", strings.Join(said, "\n"))
	}
	l.unplug("second")
	if err := first.Err(); err != nil {
		l.Error(err)
	}
	said := strings.Join(l.do("run /boxd snapshots %s", vault), "\n")
	for want, n := range map[string]int{"complete    mtp:VPHONE0001": 1, "INCOMPLETE  mtp:VPHONE0001": 1, "complete    mtp:QEMU0006": 1} {
		if strings.Count(said, want) != n {
			l.Errorf("%q is not told of %d times:\n%s", want, n, said)
		}
	}
}

// hear reads the console up to a line that holds text.
func (l *lab) hear(text string) {
	l.Helper()
	for from := time.Now(); ; {
		line, ok := l.m.Next(silence)
		if !ok || time.Since(from) > patience || strings.HasPrefix(line, "vm: ") {
			l.Fatalf("waiting for %q, it said %q:\n%s", text, line, l.m.Log())
		}
		if strings.Contains(line, text) {
			return
		}
	}
}

// backup has the whole program back a phone up: through the kernel of the box, libusb, our driver, the vault.
func backup(l *lab) {
	dir := l.phone()
	l.plug("phone", "QEMU0001", dir)
	defer l.unplug("phone")
	l.do("wait 46f4")
	said := l.do("run /boxd phones --json")
	var phones []struct {
		ID, State string
		Gives     []string
		Speed     int
	}
	if err := json.Unmarshal([]byte(strings.Join(said[:len(said)-1], "\n")), &phones); err != nil {
		l.Fatalf("%v\n%s", err, strings.Join(said, "\n"))
	}
	if len(phones) != 1 || phones[0].ID != "mtp:QEMU0001" || phones[0].State != "ready" || !slices.Equal(phones[0].Gives, []string{"files"}) || phones[0].Speed != 480 {
		l.Errorf("boxd phones: %+v", phones)
	}
	const vault = "--drive /tmp/a --drive /tmp/b --key-file /tmp/key"
	l.do("run /boxd vault create %s", vault)
	l.Log(strings.Join(l.do("run /boxd backup any %s", vault), "\n"))
	again := strings.Join(l.do("run /boxd backup mtp:QEMU0001 %s", vault), "\n")
	if !strings.Contains(again, "0 stored, 9 kept, 0 removed") {
		l.Errorf("the second backup: %s", again)
	}
	l.do("run /boxd restore latest --to /tmp/out %s", vault)
	l.same("restored", l.do("sum /tmp/out"), contents(l.T, dir, "Phone/"))
	if said, ok := l.ask("run /boxd backup mtp:QEMU0002 %s", vault); ok || !strings.Contains(strings.Join(said, "\n"), "mtp:QEMU0002 is not attached") {
		l.Errorf("a phone that is not there: %s", strings.Join(said, "\n"))
	}
}

// driver plugs a phone in that a driver of the kernel takes. It is to let go while we have the phone, and to get it back.
func driver(l *lab) {
	l.do("write /sys/bus/usb/drivers/usb-storage/new_id 46f4 0004")
	l.plug("phone", "QEMU0002", l.phone())
	defer l.unplug("phone")
	itf := strings.Join(lines(l.do("wait 46f4"), "INTERFACE"), "")
	has := func(want string) {
		l.Helper()
		if got := lines(l.do("link %s/driver", itf), "LINK"); len(got) != 1 || filepath.Base(got[0]) != want {
			l.Errorf("the interface's driver is %q, not %s", got, want)
		}
	}
	has("usb-storage")
	l.do("bus")
	l.await("ARRIVED mtp:QEMU0002")
	has("usbfs")
	busy := strings.Join(l.do("run /boxd phones"), "\n")
	if !strings.Contains(busy, "init (process 1) uses the QEMU") {
		l.Errorf("a phone that another program has: %s", busy)
	}
	l.do("deaf")
	l.do("free mtp:QEMU0002")
	has("usb-storage")
	l.do("bus")
	l.await("ARRIVED mtp:QEMU0002")
	l.do("free mtp:QEMU0002")
	l.await("ARRIVED mtp:QEMU0002") // since it stays plugged in
	l.do("write /sys/bus/usb/drivers/usb-storage/remove_id 46f4 0004")
}

// mostLate is how long after the cable came out a backup may notice it: less than any answer is waited for, which takes 15 s.
// Where nothing else runs it takes 0.1 s.
const mostLate = 10 * time.Second

// unplug pulls the cable in the middle of a file. The same phone comes back at another address.
func unplug(l *lab) {
	dir := l.phone()
	l.plug("phone", "QEMU0003", dir)
	l.await("ARRIVED mtp:QEMU0003 480 480 false")
	l.begin("pull mtp:QEMU0003")
	l.await("MOVED")
	l.unplug("phone")
	from := time.Now()
	said, ok := l.end()
	late := time.Since(from)
	all := strings.Join(said, "\n")
	if ended := lines(said, "ENDED"); ok || len(ended) != 1 || !strings.HasPrefix(ended[0], "unplugged=true") || late > mostLate {
		l.Errorf("the cable came out, and after %v:\n%s", late, all)
	}
	l.Logf("the backup ended %v after the cable came out", late)
	if !strings.Contains(all, "vm: GONE mtp:QEMU0003") {
		l.await("GONE mtp:QEMU0003")
	}
	l.plug("phone", "QEMU0003", dir)
	l.await("ARRIVED mtp:QEMU0003")
	said = l.do("pull mtp:QEMU0003")
	l.same("backed up after all", said, contents(l.T, dir, "Phone/"))
	l.Log(lines(said, "REPORT"))
	l.unplug("phone")
	l.await("GONE mtp:QEMU0003")
}

// two phones are there at once; one of them goes, and the other stays as it is.
func two(l *lab) {
	first, second := l.phone(), l.folder()
	if err := os.WriteFile(filepath.Join(second, "other.jpg"), []byte("another phone's"), 0o644); err != nil {
		l.Fatal(err)
	}
	l.plug("first", "QEMU0004", first)
	l.await("ARRIVED mtp:QEMU0004")
	l.plug("second", "QEMU0005", second)
	l.await("ARRIVED mtp:QEMU0005")
	l.unplug("first")
	l.await("GONE mtp:QEMU0004")
	l.same("the second phone", l.do("pull mtp:QEMU0005"), contents(l.T, second, "Phone/"))
	l.plug("first", "QEMU0004", first) // where the other one's port was, or not
	l.await("ARRIVED mtp:QEMU0004")
	l.same("the first phone", l.do("pull mtp:QEMU0004"), contents(l.T, first, "Phone/"))
}
