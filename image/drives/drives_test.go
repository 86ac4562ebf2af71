package main_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

var (
	inVM   = flag.Bool("vm", false, "boot the test machine in QEMU: make vm")
	rounds = flag.Int("rounds", 2, "how often the power is cut")
	seed   = flag.Uint64("seed", 1, "of the power cuts")
)

// lab is what all boots of the test have in common.
type lab struct {
	t         *testing.T
	dir       string
	kernel    string
	initramfs string
	disks     []*vm.Disk
	fuse      vm.Fuse
	acks      []string // ID:generation of every snapshot that was acknowledged
}

// need skips or fails the test where programs are missing: asked for by -vm, nothing may be missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if !*inVM {
		t.Skip("boots a machine, which takes minutes: make vm")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v (Debian: qemu-system-arm e2fsprogs exfatprogs dosfstools)", err)
		}
	}
}

func command(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// newLab builds what the machine runs, for its processor.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir()}
	var err error
	if l.kernel, err = vm.Kernel(t.Context()); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(root, ".cache", "vm") // stays: building takes longer than booting
	in := func(name string) string { return filepath.Join(built, name) }
	for _, b := range []struct{ dir, name, pkg string }{
		{root, "init", "./image/drives"}, {root, "boxd", "./cmd/boxd"}, {filepath.Join(root, ".ci", "tools"), "restic", "github.com/restic/restic/cmd/restic"},
	} {
		command(t, []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}, "go", "build", "-C", b.dir, "-trimpath", "-ldflags=-s -w", "-o", in(b.name), b.pkg)
	}
	l.initramfs = filepath.Join(l.dir, "initramfs")
	f, err := os.Create(l.initramfs)
	if err != nil {
		t.Fatal(err)
	}
	err = vm.WriteInitramfs(f, map[string]string{"init": in("init"), "boxd": in("boxd"), "restic": in("restic")})
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return l
}

// disk makes one of size bytes with a file system.
func (l *lab) disk(name string, size int64, mkfs ...string) *vm.Disk {
	l.t.Helper()
	path := filepath.Join(l.dir, name+".img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		l.t.Fatal(err)
	}
	if len(mkfs) > 0 {
		command(l.t, nil, mkfs[0], append(mkfs[1:], path)...)
	}
	d := vm.NewDisk(path, "usb-storage,bus=usb.0,removable=on,drive=DRIVE", *seed+uint64(len(l.disks)))
	d.Fuse = &l.fuse
	l.disks = append(l.disks, d)
	return d
}

// boot starts the machine and has it do the phases.
func (l *lab) boot(do string, args ...string) *vm.Machine {
	l.t.Helper()
	args = append(args, "do="+do, fmt.Sprintf("disks=%d", len(l.disks)), "acks="+strings.Join(l.acks, ","))
	m, err := vm.Boot(l.t.Context(), vm.Config{Kernel: l.kernel, Initramfs: l.initramfs, Disks: l.disks, Args: strings.Join(args, " ")})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := m.CutPower(); err != nil {
			l.t.Error(err)
		}
	})
	return m
}

// silence is how long the machine may say nothing.
const silence = 4 * time.Minute

// until reads the console up to a line that begins with "vm: " and one of the words, and notes what is acknowledged.
func (l *lab) until(m *vm.Machine, words ...string) string {
	l.t.Helper()
	for {
		line, ok := m.Next(silence)
		if !ok {
			l.t.Fatalf("the machine ended, or said nothing for %v:\n%s", silence, m.Log())
		}
		said, ours := strings.CutPrefix(line, "vm: ")
		if !ours {
			continue
		}
		l.note(line)
		for _, w := range append(words, "VERDICT") {
			if strings.HasPrefix(said, w) {
				return said
			}
		}
	}
}

// note remembers what the machine acknowledges.
func (l *lab) note(line string) {
	said, ours := strings.CutPrefix(line, "vm: ")
	if ours {
		l.t.Log(said)
	}
	if ack, ok := strings.CutPrefix(said, "ACK "); ours && ok {
		l.acks = append(l.acks, ack)
	}
}

// cutAt cuts the power at the nth write or flush from now.
func (l *lab) cutAt(m *vm.Machine, n int) {
	l.t.Helper()
	select {
	case <-l.fuse.Arm(n):
	case <-time.After(silence):
		l.t.Fatalf("no %d operations in %v:\n%s", n, silence, m.Log())
	}
	if err := m.CutPower(); err != nil {
		l.t.Fatal(err)
	}
	l.fuse.Mend()
	for line, ok := m.Next(silence); ok; line, ok = m.Next(silence) {
		l.note(line) // what it had said counts
	}
}

// finish reads up to the verdict.
func (l *lab) finish(m *vm.Machine) {
	l.t.Helper()
	if said := l.until(m); said != "VERDICT ok" {
		l.t.Fatalf("%s\n%s", said, m.Log())
	}
	if err := m.Wait(); err != nil {
		l.t.Fatal(err)
	}
}

// fsck has the file systems' own programs look at what a power cut left, and says what they found.
func (l *lab) fsck() {
	for i, args := range [][]string{{"e2fsck", "-fn"}, {"fsck.exfat", "-n"}, {"fsck.vfat", "-n"}} {
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, args[0], append(args[1:], l.disks[i].Path)...).CombinedOutput()
		cancel()
		if err != nil {
			l.t.Logf("%s: %v: %s", args[0], err, strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), " | "))
		}
	}
}

func TestDrives(t *testing.T) {
	need(t, vm.Program, "mkfs.ext4", "mkfs.exfat", "mkfs.vfat", "e2fsck", "fsck.exfat", "fsck.vfat")
	l := newLab(t)
	const size = 256 << 20
	l.disk("ext4", size, "mkfs.ext4", "-q")
	l.disk("exfat", size, "mkfs.exfat")
	l.disk("vfat", size, "mkfs.vfat", "-F", "32")

	m := l.boot("check,large,create,after,restic")
	l.until(m, "BACKUP")
	before := l.fuse.Count()
	l.until(m, "ACK")
	operations := l.fuse.Count() - before // of a backup: writes and flushes of all disks
	l.finish(m)
	random := rand.New(rand.NewPCG(*seed, 1))
	for round := range *rounds {
		m := l.boot("after,cut", fmt.Sprintf("from=%d", len(l.acks)))
		l.until(m, "BACKUP")
		at := 1 + random.IntN(2*operations) // half of the cuts come just after something was acknowledged
		l.cutAt(m, at)
		t.Logf("power cut %d, at operation %d of about %d of a backup; the disks lost %d, %d and %d sectors", round+1, at, operations, l.disks[0].Lost(), l.disks[1].Lost(), l.disks[2].Lost())
		l.fsck()
	}
	l.finish(l.boot("after,restic,eject"))
	for _, d := range l.disks {
		if d.Flushes() == 0 {
			t.Errorf("%s was never flushed: the cuts prove nothing", d.Path)
		}
	}
}

// A stick that was sold as 1 GiB and holds 192 MiB is found out, on a real file system, and an honest one is not accused.
func TestFakeStick(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes; make vm has it")
	}
	need(t, vm.Program, "mkfs.exfat", "mkfs.vfat")
	l := newLab(t)
	fake := l.disk("fake", 1<<30, "mkfs.vfat", "-F", "32")
	fake.Real = 192 << 20
	l.disk("honest", 1<<30, "mkfs.exfat")
	m := l.boot("selftest", "fake=vfat")
	if said := l.until(m, "PASS"); !strings.HasPrefix(said, "PASS selftest") {
		t.Errorf("%s\n%s", said, m.Log())
	}
}

// Disks tell of their health through the box's kernel, or do not.
func TestSMART(t *testing.T) {
	need(t, vm.Program, "mkfs.ext4", "mkfs.vfat")
	l := newLab(t)
	l.disk("nvme", 64<<20, "mkfs.ext4", "-q").Attach = "nvme,serial=box1,drive=DRIVE"
	l.disk("stick", 64<<20, "mkfs.vfat", "-F", "32")
	l.finish(l.boot("smart"))
}
