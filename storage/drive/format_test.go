package drive

import (
	"errors"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestRefusedFormats(t *testing.T) {
	for fstype, word := range map[string]string{
		"ntfs": "NTFS", "ntfs3": "NTFS", "fuseblk": "NTFS", "hfsplus": "HFS+", "hfs": "HFS", "apfs": "APFS",
		"iso9660": "read only", "squashfs": "read only", "udf": "UDF", "msdos": "vfat",
	} {
		err := formatOf(fstype).check("/media/stick")
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "/media/stick") {
			t.Errorf("%s: %v", fstype, err)
		}
		if slices.Contains([]string{"NTFS", "HFS+", "HFS", "APFS"}, word) && !strings.Contains(err.Error(), "exFAT (this erases it)") {
			t.Errorf("%s: %v; want what to do, and what it costs", fstype, err)
		}
	}
	for _, fstype := range []string{"ext4", "xfs", "btrfs", "f2fs", "exfat", "vfat", "tmpfs", "overlay", "", "bcachefs"} {
		if err := formatOf(fstype).check("/media/stick"); err != nil {
			t.Errorf("%s: %v", fstype, err)
		}
	}
	for _, fstype := range []string{"exfat", "vfat", "ext2"} {
		if !formatOf(fstype).Fragile {
			t.Errorf("%s has no journal", fstype)
		}
	}
	if formatOf("vfat").MaxFile != 4294967295 || formatOf("exfat").MaxFile != 0 {
		t.Error("FAT takes files up to 4 GiB − 1, exFAT larger ones")
	}
}

// util-linux's findmnt says the same.
func TestFormatOf(t *testing.T) {
	findmnt, err := exec.LookPath("findmnt")
	if runtime.GOOS != "linux" || err != nil {
		t.Skip("findmnt is not here to compare with")
	}
	for _, dir := range []string{t.TempDir(), "/proc", "/sys", "/dev", "/"} {
		out, err := exec.CommandContext(t.Context(), findmnt, "-n", "-o", "FSTYPE,TARGET", "-T", dir).Output()
		want := strings.Fields(string(out))
		if err != nil || len(want) < 2 {
			t.Logf("findmnt -T %s: %v %q", dir, err, out)
			continue
		}
		if f, err := FormatOf(dir); err != nil || f.Type != want[0] || f.Mount != want[1] {
			t.Errorf("%s: %+v, %v; findmnt says %v", dir, f, err, want)
		}
	}
}
