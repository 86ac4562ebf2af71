package card

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// sysfs makes a tree as the kernel shows it.
func sysfs(t *testing.T, links map[string]string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, to := range links {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOf(t *testing.T) {
	sys := sysfs(t, map[string]string{
		"dev/block/179:2": "../../devices/platform/soc/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2",
		"dev/block/254:3": "../../devices/pci0000:00/virtio0/block/vda/vda3",
		"dev/block/8:0":   "../../devices/usb/block/sda",
	}, map[string]string{"block/vda/size": "2097152\n"})
	c, err := Of(sys, 179, 2)
	if err != nil || c.Device() != "/dev/mmcblk0" || c.Root != RootA || c.Part(Perm) != "/dev/mmcblk0p4" || c.OtherRoot() != RootB {
		t.Errorf("the Pi's card: %+v, %v", c, err)
	}
	c, err = Of(sys, 254, 3)
	if err != nil || c.Root != RootB || c.Part(Boot) != "/dev/vda1" || c.OtherRoot() != RootA {
		t.Errorf("a virtio card: %+v, %v", c, err)
	}
	if size, err := c.Size(); err != nil || size != 1<<30 {
		t.Errorf("its size is %d, %v", size, err)
	}
	for _, number := range [][2]uint32{{8, 0}, {0, 1}} { // a disk without partitions, an initramfs
		if _, err := Of(sys, number[0], number[1]); !errors.Is(err, ErrNoCard) {
			t.Errorf("%v: %v", number, err)
		}
	}
}

// table makes one with partitions from first to last sector, the last excluded.
func table(parts ...[2]uint32) []byte {
	mbr := make([]byte, sector)
	mbr[510], mbr[511] = 0x55, 0xaa
	for i, p := range parts {
		e := entry(mbr, i+1)
		binary.LittleEndian.PutUint32(e[8:], p[0])
		binary.LittleEndian.PutUint32(e[12:], p[1]-p[0])
	}
	return mbr
}

func TestGrow(t *testing.T) {
	ours := [][2]uint32{{8192, 100000}, {100000, 200000}, {200000, 300000}, {300000, 400000}}
	mbr := table(ours...)
	start, length, grown, err := Grow(mbr, 1000000*sector)
	if err != nil || !grown || start != 300000*sector || length != 700000*sector {
		t.Fatalf("grown to the end: %d, %d, %v, %v", start, length, grown, err)
	}
	if want := table(ours[0], ours[1], ours[2], [2]uint32{300000, 1000000}); string(mbr) != string(want) {
		t.Error("something else than the last partition's size was changed")
	}
	if _, _, grown, err := Grow(mbr, 1000000*sector); err != nil || grown {
		t.Errorf("grown twice: %v, %v", grown, err)
	}
	// A card beyond 2 TiB is used as far as its table reaches.
	mbr = table(ours...)
	if start, length, _, err := Grow(mbr, 4<<40); err != nil || (start+length)/sector != 1<<32-1 {
		t.Errorf("a large card: %d + %d, %v", start, length, err)
	}
}

func TestGrowLeavesForeignTablesAlone(t *testing.T) {
	for name, mbr := range map[string][]byte{
		"no table":             make([]byte, sector),
		"too short":            {0x55, 0xaa},
		"three partitions":     table([2]uint32{1, 2}, [2]uint32{2, 3}, [2]uint32{3, 4}),
		"one in another":       table([2]uint32{8192, 100000}, [2]uint32{9000, 200000}, [2]uint32{200000, 300000}, [2]uint32{300000, 400000}),
		"the last is not last": table([2]uint32{8192, 100000}, [2]uint32{100000, 200000}, [2]uint32{400000, 500000}, [2]uint32{200000, 300000}),
	} {
		before := string(mbr)
		if _, _, _, err := Grow(mbr, 1<<40); err == nil || string(mbr) != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}
