package attach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
)

// machine is one with disks that come and go, and that keeps the rules of a real one: what is mounted is not checked, nor
// mounted twice.
type machine struct {
	plugged []disk
	supers  map[string]superblock // by device
	bad     map[string]error      // what checking a device gives
	silent  map[string]int        // reads that fail before a device answers
	mounted map[string]string     // dir to device, "+" after it if writable
	log     []string
}

func (m *machine) disks() ([]disk, error) { return slices.Clone(m.plugged), nil }

func (m *machine) probe(device string) (superblock, error) {
	if m.silent[device] > 0 {
		m.silent[device]--
		return superblock{}, errors.New("input/output error")
	}
	return m.supers[device], nil
}

func (m *machine) check(_ context.Context, device string, s superblock) error {
	for dir, d := range m.mounted {
		if strings.HasPrefix(d, device) {
			return fmt.Errorf("%s is checked while it is mounted at %s", device, dir)
		}
	}
	m.log = append(m.log, "check "+device)
	return m.bad[device]
}

func (m *machine) mount(device, dir string, _ superblock, write bool) error {
	if m.mounted[dir] != "" {
		return errors.New("something is mounted there")
	}
	if write {
		device += "+"
	}
	m.mounted[dir] = device
	m.log = append(m.log, "mount "+device)
	return nil
}

func (m *machine) unmount(dir string, gone bool) error {
	m.log = append(m.log, fmt.Sprintf("unmount %s %v", m.mounted[dir], gone))
	delete(m.mounted, dir)
	return nil
}

func (m *machine) plug(name string, s superblock, parts ...part) {
	d := disk{Name: name, Model: "Maker Stick", Parts: parts}
	if len(parts) == 0 {
		d.Parts = []part{{name, "8:0", 1 << 30}}
		m.supers["/dev/"+name] = s
	}
	d.key = fmt.Sprint(name, len(m.log))
	m.plugged = append(m.plugged, d)
}

func newMachine() *machine {
	return &machine{supers: map[string]superblock{}, bad: map[string]error{}, silent: map[string]int{}, mounted: map[string]string{}}
}

var stick = superblock{Type: "exfat", Name: "exFAT", UUID: "1234abcd", Label: "Anna's drive", Dirty: true}

func updated(t *testing.T, m *Mounts) []Drive {
	t.Helper()
	if _, err := m.update(); err != nil {
		t.Fatal(err)
	}
	return m.Drives()
}

// A dirty drive is only looked at until somebody wants to write; then it is checked before it is writable; pulled out, it is
// let go of; back again, it is at its place, another arrival, and read-only anew.
func TestADriveComesIsWrittenGoesAndComesBack(t *testing.T) {
	pc := newMachine()
	m := newMounts(Options{}, pc)
	pc.plug("sda", stick)
	d := updated(t, m)
	if len(d) != 1 || d[0].Dir != "/mnt/Anna-s-drive-1234abcd" || d[0].Writable || d[0].Problem != nil || d[0].Name != "Anna's drive" {
		t.Fatalf("%+v", d)
	}
	<-m.Changed()
	if err := m.Write(t.Context(), d[0].Dir); err != nil {
		t.Fatal(err)
	}
	<-m.Changed()
	want := []string{"mount /dev/sda", "unmount /dev/sda false", "check /dev/sda", "mount /dev/sda+"}
	if !slices.Equal(pc.log, want) || !m.Drives()[0].Writable {
		t.Errorf("%q, %+v", pc.log, m.Drives())
	}
	if err := m.Rest(d[0].Dir); err != nil || m.Drives()[0].Writable || pc.mounted[d[0].Dir] != "/dev/sda" {
		t.Errorf("at rest: %v, %+v, %v", err, m.Drives(), pc.mounted)
	}
	if err := errors.Join(m.Rest(d[0].Dir), m.Write(t.Context(), d[0].Dir)); err != nil || !m.Drives()[0].Writable {
		t.Errorf("and written once more: %v, %+v", err, m.Drives())
	}
	pc.plugged = nil
	if left := updated(t, m); len(left) != 0 || len(pc.mounted) != 0 || pc.log[len(pc.log)-1] != "unmount /dev/sda+ true" {
		t.Errorf("pulled out: %+v, %v", left, pc.log)
	}
	if err := m.Write(t.Context(), d[0].Dir); !errors.Is(err, ErrGone) {
		t.Errorf("written while it is gone: %v", err)
	}
	pc.plug("sdb", stick)
	if back := updated(t, m); len(back) != 1 || back[0].Dir != d[0].Dir || back[0].N == d[0].N || back[0].Writable {
		t.Errorf("back: %+v", back)
	}
}

// What cannot be mended can be read, says why it is not written, and is not checked again and again.
func TestADriveThatCannotBeMendedIsNeverWritten(t *testing.T) {
	pc := newMachine()
	m := newMounts(Options{}, pc)
	pc.plug("sda", stick)
	pc.bad["/dev/sda"] = errors.New("exit 4")
	dir := updated(t, m)[0].Dir
	for range 2 {
		if err := m.Write(t.Context(), dir); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("%v", err)
		}
	}
	d := m.Drives()[0]
	if d.Writable || d.Problem == nil || !strings.Contains(d.Problem.Error(), "could not mend") || pc.mounted[dir] != "/dev/sda" {
		t.Errorf("%+v, %v", d, pc.mounted)
	}
	if n := strings.Count(strings.Join(pc.log, " "), "check"); n != 1 {
		t.Errorf("checked %d times", n)
	}
}

// One disk is one drive: the largest file system, or the one that a box made; what is not mounted is told in words that help.
func TestOneDiskIsOneDrive(t *testing.T) {
	pc := newMachine()
	m := newMounts(Options{Ours: func(dir string) bool { return strings.Contains(dir, "ours") }}, pc)
	pc.supers["/dev/sda1"] = superblock{Type: "vfat", Name: "FAT32", UUID: "00000001", Label: "EFI"}
	pc.supers["/dev/sda2"] = superblock{Name: "NTFS", Use: forWindows}
	pc.plug("sda", superblock{}, part{"sda1", "8:1", 200 << 20}, part{"sda2", "8:2", 1 << 40})
	pc.supers["/dev/sdb1"] = superblock{Type: "ext4", Name: "ext4", UUID: "00000002", Label: "ours"}
	pc.supers["/dev/sdb2"] = superblock{Type: "ext4", Name: "ext4", UUID: "00000003"}
	pc.plug("sdb", superblock{}, part{"sdb1", "8:17", 1 << 30}, part{"sdb2", "8:18", 1 << 40})
	pc.plug("sdc", superblock{})
	d := updated(t, m)
	if len(d) != 3 || d[0].Dir != "" || !strings.Contains(fmt.Sprint(d[0].Problem), "NTFS, for Windows") || !strings.Contains(fmt.Sprint(d[0].Problem), "exFAT") {
		t.Errorf("NTFS beside a small FAT: %+v", d)
	}
	if d[1].Device != "/dev/sdb1" || len(pc.mounted) != 1 {
		t.Errorf("a box's partition: %+v, %v", d[1], pc.mounted)
	}
	if !strings.Contains(fmt.Sprint(d[2].Problem), "no file system") {
		t.Errorf("a blank disk: %+v", d[2])
	}
}

// A box's card in a reader is told, and nothing of it is mounted, as large as its /perm may be and whatever lies there.
func TestTheCardOfABoxIsNoDrive(t *testing.T) {
	pc := newMachine()
	m := newMounts(Options{Ours: func(string) bool { return true }}, pc)
	pc.supers["/dev/sda1"] = superblock{Type: "vfat", Name: "FAT32", UUID: "00000001", Label: "BOXD"}
	pc.supers["/dev/sda2"], _ = signed(append([]byte("hsqs"), make([]byte, head)...))
	pc.supers["/dev/sda4"] = superblock{Type: "ext4", Name: "ext4", UUID: "00000004", Label: "perm"}
	pc.plug("sda", superblock{}, part{"sda1", "8:1", 128 << 20}, part{"sda2", "8:2", 192 << 20}, part{"sda3", "8:3", 192 << 20}, part{"sda4", "8:4", 32 << 30})
	d := updated(t, m)
	if len(d) != 1 || d[0].Dir != "" || len(pc.log) > 0 || !strings.Contains(fmt.Sprint(d[0].Problem), "starts from") {
		t.Errorf("%+v, %q", d, pc.log)
	}
}

// A copy of a disk has the same number, and another folder.
func TestClonesAreMountedApart(t *testing.T) {
	pc := newMachine()
	m := newMounts(Options{}, pc)
	pc.plug("sda", stick)
	pc.plug("sdb", stick)
	pc.plugged[1].key = "clone"
	if d := updated(t, m); len(d) != 2 || d[1].Dir != d[0].Dir+"-2" {
		t.Errorf("%+v", d)
	}
}

// A disk that is starting up is asked again; one that never answers is told, once.
func TestADiskThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pc := newMachine()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		m := newMounts(Options{}, pc)
		m.events = events{r}
		pc.silent["/dev/sda"], pc.silent["/dev/sdb"] = 3, 100
		pc.plug("sda", stick)
		pc.plug("sdb", stick)
		pc.plugged[1].key = "dead"
		for range readTries + 1 {
			if _, err := m.update(); err != nil {
				t.Fatal(err)
			}
		}
		d := m.Drives()
		if len(d) != 2 || d[0].Dir == "" || d[1].Problem == nil || !strings.Contains(d[1].Problem.Error(), "another port") {
			t.Errorf("%+v", d)
		}
		if pc.silent["/dev/sdb"] != 100-readTries {
			t.Errorf("asked %d times", 100-pc.silent["/dev/sdb"])
		}
		if err := m.Close(); err != nil || len(pc.mounted) != 0 {
			t.Errorf("%v, %v", err, pc.mounted)
		}
	})
}

func TestEventsOfDisks(t *testing.T) {
	for msg, want := range map[string]bool{
		"add@/devices/x/block/sda\x00ACTION=add\x00SUBSYSTEM=block\x00": true,
		"add@/devices/x\x00ACTION=add\x00SUBSYSTEM=usb\x00":             false,
		"libudev\x00\xfe\xed\xca\xfe\x00SUBSYSTEM=block\x00":            false,
		"":                                    false,
		"add@relative\x00SUBSYSTEM=block\x00": false,
	} {
		if got := concernsDisks([]byte(msg)); got != want {
			t.Errorf("%q: %v", msg, got)
		}
	}
}

// tree writes files of sysfs.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestScanLeavesTheSystemsOwnDisksAlone(t *testing.T) {
	root := tree(t, map[string]string{
		"block/ram0/size": "8192", "block/ram0/dev": "1:0",
		"block/loop0/size": "8192", "block/loop0/dev": "7:0",
		"block/mmcblk0/device/type": "SD", "block/mmcblk0/size": "62333952", "block/mmcblk0/dev": "179:0", "block/mmcblk0/diskseq": "1",
		"block/mmcblk0/mmcblk0p1/partition": "1", "block/mmcblk0/mmcblk0p1/size": "8192", "block/mmcblk0/mmcblk0p1/dev": "179:1",
		"block/mmcblk0/mmcblk0p2/partition": "2", "block/mmcblk0/mmcblk0p2/size": "8192", "block/mmcblk0/mmcblk0p2/dev": "179:2",
		"block/sda/device/vendor": "SanDisk ", "block/sda/device/model": "Ultra   ", "block/sda/size": "1000", "block/sda/dev": "8:0", "block/sda/diskseq": "9",
		"block/sda/sda1/partition": "1", "block/sda/sda1/size": "900", "block/sda/sda1/dev": "8:1",
		"block/sdb/device/model": "Reader", "block/sdb/size": "0", "block/sdb/dev": "8:16", "block/sdb/removable": "1", "block/sdb/events_poll_msecs": "-1",
		"block/sdd/device/model": "Disk", "block/sdd/size": "0", "block/sdd/dev": "8:48", "block/sdd/removable": "0", "block/sdd/events_poll_msecs": "-1",
		"block/sdc/device/model": "Disk", "block/sdc/size": "2000", "block/sdc/dev": "8:32", "block/sdc/removable": "0", "block/sdc/events_poll_msecs": "-1",
	})
	table := []byte("22 1 179:2 / / ro,relatime - squashfs /dev/root ro\n30 22 8:1 / /mnt/x rw - vfat /dev/sda1 rw\n")
	all, err := scan(root, table, "/mnt")
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if d := all[0]; d.Name != "sda" || d.Model != "SanDisk Ultra" || len(d.Parts) != 1 || d.Parts[0] != (part{"sda1", "8:1", 900 * 512}) {
		t.Errorf("%+v", d)
	}
	if d := all[1]; d.Name != "sdc" || len(d.Parts) != 1 || d.Parts[0].Name != "sdc" || d.key == all[0].key {
		t.Errorf("%+v", d)
	}
	if got := field(filepath.Join(root, "block/sdb"), "events_poll_msecs"); got != mediumPoll {
		t.Errorf("an empty card reader is asked every %s ms", got)
	}
	if got := field(filepath.Join(root, "block/sdc"), "events_poll_msecs") + field(filepath.Join(root, "block/sdd"), "events_poll_msecs"); got != "-1-1" {
		t.Errorf("a disk is asked every %s ms", got)
	}
	if got := mountedIn(table, "/mnt"); !slices.Equal(got, []string{"/mnt/x"}) || isMounted(table, "/mnt") || !isMounted(table, "/mnt/x") {
		t.Errorf("mounted: %v", got)
	}
}

// format makes an image with a program that we did not write.
func format(t *testing.T, size int64, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%v", err)
	}
	if out, err := exec.CommandContext(t.Context(), program, append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return path
}

func probed(t *testing.T, path string) superblock {
	t.Helper()
	s, err := linuxProbe(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func linuxProbe(path string) (superblock, error) {
	f, err := os.Open(path)
	if err != nil {
		return superblock{}, err
	}
	s, err := probe(f)
	return s, errors.Join(err, f.Close())
}

func TestProbeKnowsWhatMkfsMakes(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		size    int64
		command string
		want    superblock
	}{
		{16 * mib, "mkfs.ext4 -q -L photos -U 01234567-89ab-cdef-0123-456789abcdef", superblock{Type: "ext4", Name: "ext4", UUID: "0123456789abcdef0123456789abcdef", Label: "photos"}},
		{16 * mib, "mkfs.ext3 -q -U 01234567-89ab-cdef-0123-456789abcdef", superblock{Type: "ext4", Name: "ext3", UUID: "0123456789abcdef0123456789abcdef"}},
		{16 * mib, "mkfs.ext2 -q -U 01234567-89ab-cdef-0123-456789abcdef", superblock{Type: "ext2", Name: "ext2", UUID: "0123456789abcdef0123456789abcdef"}},
		{40 * mib, "mkfs.vfat -F 32 -s 1 -n ANNA -i 1234abcd", superblock{Type: "vfat", Name: "FAT32", UUID: "1234abcd", Label: "ANNA"}},
		{16 * mib, "mkfs.vfat -F 16 -i 1234abcd", superblock{Type: "vfat", Name: "FAT", UUID: "1234abcd"}},
		{40 * mib, "mkfs.exfat", superblock{Type: "exfat", Name: "exFAT"}},
		{40 * mib, "mkntfs -Q -F -q", superblock{Name: "NTFS", Use: forWindows}},
		{128 * mib, "mkfs.btrfs -q", superblock{Name: "Btrfs", Use: forServers}},
		{1 * mib, "mkswap -q", superblock{Name: "swap", Use: "a computer's swap space"}},
		{1 * mib, "true", superblock{}},
	} {
		words := strings.Fields(tt.command)
		t.Run(words[0], func(t *testing.T) {
			got := probed(t, format(t, tt.size, words[0], words[1:]...))
			if tt.want.Type == "exfat" {
				got.UUID = "" // of the time that it was made
			}
			if got != tt.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// poke writes bytes into an image.
func poke(path string, at int64, b ...byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// What a file system's own program says of damage is what we say: dirty ones are mended, clean ones left alone.
func TestCheckMendsWhatIsDirty(t *testing.T) {
	for _, tt := range []struct {
		name, mkfs string
		soil       func(path string) error // marks it as a power cut or a disk error does
	}{
		{"exfat", "mkfs.exfat", func(path string) error { return poke(path, 106, 2) }},
		{"vfat", "mkfs.vfat -F 32 -s 1", func(path string) error { return poke(path, 0x41, 1) }},
		{"ext4", "mkfs.ext4 -q", func(path string) error { return exec.Command("tune2fs", "-E", "force_fsck", path).Run() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			words := strings.Fields(tt.mkfs)
			path := format(t, 40<<20, words[0], words[1:]...)
			if err := tt.soil(path); err != nil {
				t.Fatal(err)
			}
			s := probed(t, path)
			if !s.Dirty || s.Type != tt.name {
				t.Fatalf("%+v", s)
			}
			if err := check(t.Context(), path, s); err != nil {
				t.Fatal(err)
			}
			if s = probed(t, path); s.Dirty {
				t.Errorf("dirty still after its check: %+v", s)
			}
			if err := check(t.Context(), path+" is not there", s); err != nil {
				t.Errorf("a clean one was looked at: %v", err)
			}
		})
	}
}

// What is beyond mending is an error, and no program that runs for ever keeps the box.
func TestCheckTellsWhatItCannotMend(t *testing.T) {
	path := format(t, 16<<20, "mkfs.ext4", "-q")
	s := probed(t, path)
	if err := poke(path, 2048, make([]byte, 64<<10)...); err != nil { // the group descriptors, and what comes after
		t.Fatal(err)
	}
	s.Dirty = true
	if err := check(t.Context(), path, s); err == nil {
		t.Error("a file system without its group descriptors passes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := runChecker(ctx, "/bin/sleep", "60"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that hangs: %v", err)
	}
}

func FuzzProbe(f *testing.F) {
	f.Add([]byte("\xeb\x58\x90mkfs.fat"))
	f.Add(make([]byte, 4096))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := probe(strings.NewReader(string(b)))
		if err == nil && s.Type != "" && (len(s.UUID) < 8 || s.Name == "") {
			t.Errorf("%+v", s)
		}
	})
}
