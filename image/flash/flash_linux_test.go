package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const cardSize = 24 << 20

// pc is a computer with one reader and a card of 25 MB in it, sdb, that nothing is known of. Files of sysfs can be said otherwise.
func pc(t *testing.T, files map[string]string) (machine, string) {
	t.Helper()
	root := t.TempDir()
	const where = "sys/devices/pci0000:00/usb1/1-2/host0/block/sdb/"
	all := map[string]string{
		where + "size": "49152\n", where + "ro": "0\n", where + "dev": "8:16\n", where + "device/vendor": "Generic \n", where + "device/model": "SD Reader\n",
		where + "sdb1/partition": "1\n", where + "sdb1/start": "8192\n", where + "sdb1/dev": "8:17\n",
		"proc/self/mountinfo": "25 1 8:2 / / rw - ext4 /dev/sda2 rw\n", "proc/swaps": "Filename Type Size\n/dev/sda3 partition 1\n", "dev/sdb": "",
		"sys/class/block/sdb1/partition": "1\n", "dev/sdb1": "",
	}
	for name, text := range files {
		all[strings.Replace(name, "CARD/", where, 1)] = text
	}
	for name, text := range all {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "sys/block"), 0o755), os.Symlink(filepath.Join(root, where), filepath.Join(root, "sys/block/sdb"))); err != nil {
		t.Fatal(err)
	}
	device := filepath.Join(root, "dev/sdb")
	if err := os.Truncate(device, cardSize); err != nil {
		t.Fatal(err)
	}
	return machine{filepath.Join(root, "sys"), filepath.Join(root, "dev"), filepath.Join(root, "proc"), func(path string) bool { return strings.Contains(path, "/dev/") }}, device
}

func imageFile(t *testing.T) (string, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "card.img")
	b := bytes.Repeat([]byte("the box "), 1<<20+3)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b
}

// flash runs the command and returns what it said.
func flash(t *testing.T, m machine, device, answer string) (string, error) {
	t.Helper()
	image, _ := imageFile(t)
	var out strings.Builder
	err := run(t.Context(), []string{"--image", image, "--device", device}, m, strings.NewReader(answer), &out)
	return out.String(), err
}

func TestFlash(t *testing.T) {
	m, device := pc(t, nil)
	said, err := flash(t, m, device, "sdb 25 MB\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{"USB Generic SD Reader, 1 partitions", "type its name and size: sdb 25 MB", "Written and read back"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	_, want := imageFile(t)
	got, err := os.ReadFile(device)
	if err != nil || !bytes.Equal(got[:len(want)], want) || len(got) != cardSize {
		t.Errorf("the card does not hold the image: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		files        map[string]string
		device, want string // want is part of what the person is told
	}{
		"a partition":           {nil, "sdb1", "name the whole card"},
		"no such device":        {nil, "sdc", "no such file"},
		"mounted":               {map[string]string{"proc/self/mountinfo": "40 1 8:17 / /media/anna/PHOTOS rw - vfat /dev/sdb1 rw\n"}, "sdb", "in use: eject it first (umount /media/anna/PHOTOS)"},
		"the computer's own":    {map[string]string{"proc/self/mountinfo": "25 1 8:17 / / rw - ext4 /dev/sdb1 rw\n"}, "sdb", "what this computer runs from"},
		"swapped to":            {map[string]string{"proc/swaps": "Filename Type\n/dev/sdb1 partition\n"}, "sdb", "swaps to"},
		"a part of something":   {map[string]string{"CARD/sdb1/holders/dm-0/name": "x"}, "sdb", "dm-0 is made of it"},
		"write-protected":       {map[string]string{"CARD/ro": "1\n"}, "sdb", "move the slider"},
		"an empty reader":       {map[string]string{"CARD/size": "0\n"}, "sdb", "no card in the reader"},
		"too small":             {map[string]string{"CARD/size": "2048\n"}, "sdb", "too small: 8 MB are needed"},
		"too large for a card":  {map[string]string{"CARD/size": "5860533168\n"}, "sdb", "larger than any card"},
		"another size answered": {nil, "sdb", "nothing was written"},
	} {
		m, device := pc(t, c.files)
		before, err := os.ReadFile(device)
		if err != nil {
			t.Fatal(err)
		}
		said, err := flash(t, m, filepath.Join(filepath.Dir(device), c.device), "sdb 32 GB\n")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
		if after, err := os.ReadFile(device); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s: it was written to (%v)", name, err)
		}
	}
}

// A disk inside the computer, and a soldered eMMC, are no cards; an SD card in a slot is.
func TestBus(t *testing.T) {
	for dir, want := range map[string]string{
		"devices/pci0000:00/ata1/host0/block/sda": none, "devices/pci0000:00/nvme/nvme0/nvme0n1": none,
		"devices/pci0000:00/usb2/2-1/host3/block/sdc": usb, "devices/platform/mmc1/block/mmcblk1": none,
	} {
		if got := busOf(filepath.Join(t.TempDir(), dir)); got != want {
			t.Errorf("%s: %s", dir, got)
		}
	}
	dir := t.TempDir()
	for kind, want := range map[string]string{"SD\n": mmc, "MMC\n": none} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "device"), 0o755), os.WriteFile(filepath.Join(dir, "device/type"), []byte(kind), 0o600)); err != nil {
			t.Fatal(err)
		}
		if got := busOf(dir); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// A drive of a box is known whatever its file system, by a real one of each that can be filled without root.
func TestDriveOfABox(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for name, commands := range map[string][][]string{
		"ext4":           {{"mkdir", "root"}, {"touch", "root/phone-backup-box.json"}, {"mke2fs", "-q", "-t", "ext4", "-d", "root", "FS", "16M"}},
		"vfat":           {{"mkfs.vfat", "-C", "FS", "16384"}, {"touch", "phone-backup-box.json"}, {"mcopy", "-i", "FS", "phone-backup-box.json", "::"}},
		"an adopted one": {{"mkfs.vfat", "-C", "FS", "16384"}, {"mmd", "-i", "FS", "::phone-backup-box"}},
	} {
		m, device := pc(t, nil)
		dir := t.TempDir()
		for _, c := range commands {
			cmd := exec.Command(c[0], c[1:]...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
				t.Skip(err)
			} else if err != nil {
				t.Fatalf("%v: %v\n%s", c, err, out)
			}
		}
		fs, err := os.ReadFile(filepath.Join(dir, "FS"))
		if err == nil {
			err = os.WriteFile(device, append(make([]byte, 8192*512), fs...), 0o600)
		}
		if err == nil {
			err = os.Truncate(device, cardSize)
		}
		if err != nil {
			t.Fatal(err)
		}
		if said, err := flash(t, m, device, "sdb 25 MB\n"); err == nil || !strings.Contains(err.Error(), "is a drive of a phone backup box") {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
	}
	// exFAT, in as many reads as it takes.
	for _, at := range []int{0, step - 7, step + 60} {
		if found, err := marked(t.Context(), bytes.NewReader(append(make([]byte, at), wide("phone-backup-bo")...))); !found || err != nil {
			t.Errorf("at %d: %v, %v", at, found, err)
		}
	}
}

// Two cards have two signatures, each with a root that is its own; nothing else of the image is changed.
func TestEachCardIsItsOwn(t *testing.T) {
	image := bytes.Repeat([]byte{7}, 20<<20)
	const line, beyond = 9<<20 + 512, 17 << 20
	copy(image[440:], []byte{0xc5, 0xb0, 0xc5, 0xb0})
	binary.LittleEndian.PutUint32(image[446+8:], 8192)        // the boot partition begins at 4 MiB
	binary.LittleEndian.PutUint32(image[446+12:], 12<<20/512) // and ends at 16
	for _, at := range []int{line, line + 4<<20, beyond} {
		copy(image[at:], "console=serial0 root=PARTUUID=b0c5b0c5-02 ro")
	}
	path := filepath.Join(t.TempDir(), "card.img")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for range 2 {
		m, device := pc(t, nil)
		if err := run(t.Context(), []string{"--image", path, "--device", device}, m, strings.NewReader("sdb 25 MB\n"), io.Discard); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(device)
		if err != nil {
			t.Fatal(err)
		}
		id := binary.LittleEndian.Uint32(got[440:])
		want := bytes.Clone(image)
		binary.LittleEndian.PutUint32(want[440:], id)
		for _, at := range []int{line, line + 4<<20} {
			copy(want[at:], fmt.Sprintf("console=serial0 root=PARTUUID=%08x-02 ro", id))
		}
		if !bytes.Equal(got[:len(want)], want) {
			t.Errorf("the card with %08x is not its image, with that in the place of the shared one", id)
		}
		if held, err := look(t.Context(), bytes.NewReader(got), disk{}); held != ourCard || err != nil {
			t.Errorf("it is not known for a box's card: %v, %v", held, err)
		}
		ids = append(ids, id)
	}
	if ids[0] == ids[1] || ids[0] == 0xb0c5b0c5 {
		t.Errorf("the cards are %08x", ids)
	}
}

// Whoever writes over the card of a box is told that the key goes with it.
func TestCardOfABox(t *testing.T) {
	m, device := pc(t, nil)
	mbr := make([]byte, cardSize)
	copy(mbr[440:], []byte{0xc5, 0xb0, 0xc5, 0xb0})
	copy(mbr[5<<20:], "phone-backup-box") // in its notes: it is no drive for that
	if err := os.WriteFile(device, mbr, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := flash(t, m, device, "sdb 25 MB\n"); err != nil || !strings.Contains(said, "with the key to its backups") {
		t.Errorf("%v\n%s", err, said)
	}
}

// liar is a card that forgets, or that fails.
type liar struct {
	*bytes.Reader
	full bool
}

func (liar) Sync() error   { return nil }
func (liar) forget() error { return nil }
func (l liar) WriteAt(p []byte, at int64) (int, error) {
	if l.full && at > 0 {
		return 0, errors.New("i/o error")
	}
	return len(p), nil
}

func TestReadBack(t *testing.T) {
	_, b := imageFile(t)
	held := bytes.Clone(b)
	held[5<<20] ^= 1
	err := write(t.Context(), liar{Reader: bytes.NewReader(held)}, bytes.NewReader(b), int64(len(b)), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "from 4194304 on: use another card") {
		t.Errorf("one bit is wrong: %v", err)
	}
	if err := write(t.Context(), liar{bytes.NewReader(b), true}, bytes.NewReader(b), int64(len(b)), io.Discard); err == nil || !strings.Contains(err.Error(), "i/o error") {
		t.Errorf("it fails: %v", err)
	}
	if err := write(t.Context(), liar{Reader: bytes.NewReader(b)}, bytes.NewReader(b), int64(len(b)), io.Discard); err != nil {
		t.Error(err)
	}
}
