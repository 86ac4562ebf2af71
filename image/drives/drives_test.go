package main_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
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
)

var (
	inVM   = flag.Bool("vm", false, "boot the test machine in QEMU: make vm")
	rounds = flag.Int("rounds", 2, "how often the power is cut")
	seed   = flag.Uint64("seed", 1, "of the power cuts")

	only    = flag.String("disks", "", "a series of power cuts on these file systems only, such as vfat,vfat,vfat")
	sectors = flag.Int("sectors", 8, "of 512 bytes in a cluster of FAT: folders grow by so many")
	broken  = flag.String("broken", "", "break boxd's order of flushes: "+strings.Join(slices.Sorted(maps.Keys(breaks)), " or ")+"; the test passes if the cuts show it")
	mend    = flag.Bool("mend", false, "have fsck.vfat -a and fsck.exfat -p mend what does not hold after a cut, and count it")
)

// flushAll is how a drive on FAT is flushed after names were given.
const flushAll = `return errors.Join(syncAll(d.whole), syncDir(d.root, "."))`

// breaks are changes to storage/drive that lose what was acknowledged, if the power goes at the right moment: what is replaced, in
// which file, by what. The machine must notice.
var breaks = map[string]struct{ file, old, new string }{
	// Names are given, and nothing is flushed after that.
	"names": {"placing.go", flushAll, "return nil"},
	// What was written gets to the disk, and stays in its cache.
	"cache": {"placing.go", flushAll, "return syncAll(d.whole)"},
}

// overlay has the go command build boxd with a break, and nobody else.
func overlay(t *testing.T, name, root string) string {
	t.Helper()
	b, known := breaks[name]
	if !known {
		t.Fatalf("-broken %s: no such break", name)
	}
	file := filepath.Join(root, "storage", "drive", b.file)
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), b.old); n != 1 {
		t.Fatalf("%s has %q %d times; the break must follow it", file, b.old, n)
	}
	changed := filepath.Join(t.TempDir(), b.file)
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), b.old, b.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(filepath.Dir(changed), "overlay.json")
	if err := os.WriteFile(list, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

// lab is what all boots of the test have in common.
type lab struct {
	t         *testing.T
	dir       string
	kernel    string
	initramfs string
	disks     []*vm.Disk
	types     []string // of the file systems on disks, where power is cut
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
	broke := "-overlay="
	if *broken != "" {
		broke += overlay(t, *broken, root)
	}
	for _, b := range []struct{ dir, name, pkg string }{
		{root, "init", "./image/drives"}, {root, "boxd", "./cmd/boxd"}, {filepath.Join(root, ".ci", "tools"), "restic", "github.com/restic/restic/cmd/restic"},
	} {
		command(t, []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}, "go", "build", "-C", b.dir, broke, "-trimpath", "-ldflags=-s -w", "-o", in(b.name), b.pkg)
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
const silence = 15 * time.Minute // folders are made on the disks, under emulation, beside other work

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
	l.expect(m, "VERDICT ok")
	if err := m.Wait(); err != nil {
		l.t.Fatal(err)
	}
}

// expect reads the console up to what begins with want, and fails if the machine's verdict is another one.
func (l *lab) expect(m *vm.Machine, want string) {
	l.t.Helper()
	if said := l.until(m, want); !strings.HasPrefix(said, want) {
		l.t.Fatalf("%s\n%s", said, m.Log())
	}
}

// checkers are the file systems' own programs, and how they are to look and how to mend.
var checkers = map[string]struct{ program, look, mend string }{
	"ext4":  {"e2fsck", "-fn", "-fp"},
	"exfat": {"fsck.exfat", "-n", "-p"},
	"vfat":  {"fsck.vfat", "-n", "-a"},
}

// fsck has the file systems' own programs look at what a power cut left, or mend it, and says what they found.
func (l *lab) fsck(mend bool) {
	for i, d := range l.disks {
		c := checkers[l.types[i]]
		flag := c.look
		if mend {
			flag = c.mend
		}
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, c.program, flag, d.Path).CombinedOutput()
		cancel()
		if err != nil {
			l.t.Logf("%s %s: %v: %.3000s", c.program, flag, err, strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), " | "))
		}
	}
}

func TestDrives(t *testing.T) {
	need(t, vm.Program, "mkfs.ext4", "mkfs.exfat", "mkfs.vfat", "e2fsck", "fsck.exfat", "fsck.vfat")
	l := newLab(t)
	first, last := "check,large,create,after,restic", "after,restic,eject"
	if *only != "" {
		first, last = "create", "after"
	}
	l.format(cmp.Or(*only, "ext4,exfat,vfat"))

	m := l.boot(first)
	l.expect(m, "BACKUP")
	before := l.fuse.Count()
	l.expect(m, "ACK")
	operations := l.fuse.Count() - before // of a backup: writes and flushes of all disks
	l.finish(m)
	random := rand.New(rand.NewPCG(*seed, 1))
	mended := 0
	for round := range *rounds {
		m := l.boot("after,cut", fmt.Sprintf("from=%d", len(l.acks)))
		said := l.until(m, "BACKUP")
		if *broken != "" && strings.HasPrefix(said, "VERDICT") {
			t.Logf("with flushes broken (%s), after %d power cuts: %s", *broken, round, said)
			return
		}
		if *mend && strings.HasPrefix(said, "VERDICT") { // of the cut before
			mended++
			t.Logf("power cut %d does not hold: %s", round, said)
			m = l.mended(m)
		} else if strings.HasPrefix(said, "VERDICT") {
			t.Fatalf("%s\n%s", said, m.Log())
		}
		at := 1 + random.IntN(2*operations) // half of the cuts come just after something was acknowledged
		l.cutAt(m, at)
		t.Logf("power cut %d, at operation %d of about %d of a backup; the disks lost %v sectors", round+1, at, operations, l.lost())
		l.fsck(false)
	}
	if *broken != "" {
		t.Fatalf("%d power cuts, and nobody noticed that flushes are broken (%s)", *rounds, *broken)
	}
	l.finish(l.boot(last))
	l.fsck(true) // a late check must not cost what was acknowledged either
	l.finish(l.boot("after"))
	t.Logf("%d power cuts on %d disks, %d needed a check of the file systems", *rounds, len(l.disks), mended)
	for _, d := range l.disks {
		if d.Flushes() == 0 {
			t.Errorf("%s was never flushed: the cuts prove nothing", d.Path)
		}
	}
}

// TestSyncHolds cuts the power at the moment that a drive's Sync has returned: what it made durable is there. A whole backup cannot
// show that, since closing the drive flushes everything once more before the backup is acknowledged.
func TestSyncHolds(t *testing.T) {
	need(t, vm.Program, "mkfs.ext4", "mkfs.exfat", "mkfs.vfat")
	l := newLab(t)
	l.format(cmp.Or(*only, "ext4,exfat,vfat"))
	random := rand.New(rand.NewPCG(*seed, 2))
	do, n := "syncs", 0 // n is the last Sync that was said to have returned
	for round := range *rounds {
		m := l.boot(do, fmt.Sprintf("synced=%d", n))
		do = "held,syncs"
		for range 1 + random.IntN(4) {
			said := l.until(m, "SYNCED")
			if *broken != "" && strings.HasPrefix(said, "VERDICT") {
				t.Logf("with flushes broken (%s), after %d power cuts: %s", *broken, round, said)
				return
			}
			if _, err := fmt.Sscanf(said, "SYNCED %d", &n); err != nil {
				t.Fatalf("%s\n%s", said, m.Log())
			}
			if err := m.Type("go on"); err != nil {
				t.Fatal(err)
			}
		}
		l.expect(m, "SYNCED")
		n++
		if err := m.CutPower(); err != nil {
			t.Fatal(err)
		}
		t.Logf("power cut %d, after Sync %d; the disks lost %v sectors", round+1, n, l.lost())
	}
	m := l.boot("held", fmt.Sprintf("synced=%d", n))
	said := l.until(m, "VERDICT")
	if ok := strings.HasPrefix(said, "VERDICT ok"); ok == (*broken != "") {
		t.Fatalf("%d power cuts, broken %q: %s\n%s", *rounds, *broken, said, m.Log())
	}
	t.Logf("%d power cuts, broken %q: %s", *rounds, *broken, said)
	if err := m.Wait(); err != nil {
		t.Fatal(err)
	}
}

// format makes disks with these file systems.
func (l *lab) format(types string) {
	l.t.Helper()
	const size = 272 << 20 // FAT32 has at least 65,525 clusters, and they are 4 KiB here
	for i, name := range strings.Split(types, ",") {
		mkfs := []string{"mkfs." + name}
		switch name {
		case "ext4":
			mkfs = append(mkfs, "-q")
		case "vfat":
			mkfs = append(mkfs, "-F", "32")
			if *sectors > 0 { // else what mkfs.vfat takes for a small disk, 1
				mkfs = append(mkfs, "-s", fmt.Sprint(*sectors))
			}
		}
		l.types = append(l.types, name)
		l.disk(fmt.Sprintf("%s-%d", name, i), size, mkfs...)
	}
}

// mended boots anew after a check of the file systems, up to the next backup: then everything acknowledged must be there.
func (l *lab) mended(m *vm.Machine) *vm.Machine {
	l.t.Helper()
	if err := m.Wait(); err != nil {
		l.t.Fatal(err)
	}
	l.fsck(true)
	m = l.boot("after,cut", fmt.Sprintf("from=%d", len(l.acks)))
	l.expect(m, "BACKUP")
	return m
}

// lost is how many sectors the last power cut took of each disk.
func (l *lab) lost() (out []int) {
	for _, d := range l.disks {
		out = append(out, d.Lost())
	}
	return out
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
