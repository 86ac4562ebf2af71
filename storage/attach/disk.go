package attach

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// disk is one that is plugged in, as sysfs tells of it (Linux, Documentation/ABI/stable/sysfs-block).
type disk struct {
	Name  string // the kernel's, such as "sda"
	Model string // maker and model, as people know it; "" if it does not say
	Parts []part // the partitions; the disk itself if it has none
	key   string // what it was when it was looked at: another one once it was pulled out and put back in
}

// part is a partition, or a disk without any.
type part struct {
	Name   string
	Number string // "major:minor"
	Size   int64  // bytes
}

// sector is the unit of sizes in sysfs, in bytes, whatever the disk's own is.
const sector = 512

// scan lists the disks that are plugged in, but for those that this system runs from: any that has something mounted outside
// of own, by the table of mounts, which has the form of /proc/self/mountinfo.
func scan(sysfs string, mountinfo []byte, own string) ([]disk, error) {
	used := inUse(mountinfo, own)
	names, err := os.ReadDir(filepath.Join(sysfs, "block"))
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	var all []disk
	for _, n := range names {
		d, err := look(filepath.Join(sysfs, "block", n.Name()))
		if errors.Is(err, fs.ErrNotExist) || len(d.Parts) == 0 || slices.ContainsFunc(d.Parts, func(p part) bool { return used[p.Number] }) {
			continue // it is going, is no real disk, has no medium, or is not for us
		}
		if err != nil {
			return nil, fmt.Errorf("attach: disk %s: %w", n.Name(), err)
		}
		d.Parts = slices.DeleteFunc(d.Parts, func(p part) bool { return p.Name == d.Name && len(d.Parts) > 1 })
		all = append(all, d)
	}
	return all, nil
}

// look reads what sysfs says of one disk. The first of its Parts is the disk itself. One without any is none that can be plugged
// in, such as a RAM disk, or has no medium; errors that tell that it is gone are fs.ErrNotExist.
func look(dir string) (disk, error) {
	d := disk{Name: filepath.Base(dir)}
	if _, err := os.Stat(filepath.Join(dir, "device")); err != nil { // ram, loop, zram, dm, md
		return d, err
	}
	whole, err := lookPart(dir)
	if err != nil {
		return d, err
	}
	d.Model = strings.Join(strings.Fields(field(dir, "device/vendor")+" "+field(dir, "device/model")), " ")
	if whole.Size == 0 {
		waitForMedium(dir)
		return d, nil
	}
	d.Parts = []part{whole}
	names, err := filepath.Glob(filepath.Join(dir, "*", "partition"))
	if err != nil {
		return d, err
	}
	for _, n := range names {
		p, err := lookPart(filepath.Dir(n))
		if err != nil {
			return d, err
		}
		d.Parts = append(d.Parts, p)
	}
	// diskseq is never the same for two disks, nor for two media of one drive.
	d.key = fmt.Sprint(d.Name, " ", field(dir, "diskseq"), " ", d.Parts)
	return d, nil
}

func lookPart(dir string) (part, error) {
	p := part{Name: filepath.Base(dir), Number: field(dir, "dev")}
	size, err := os.ReadFile(filepath.Join(dir, "size"))
	if err != nil {
		return p, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(size)), 10, 54)
	if p.Size = n * sector; err == nil && (p.Number == "" || n < 0) {
		err = fmt.Errorf("size %d, number %q: %w", n, p.Number, fs.ErrNotExist)
	}
	return p, err
}

// field is what a file of sysfs says; "" if it is not there.
func field(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// mediumPoll is how often an empty card reader is asked whether something was put into it, in milliseconds.
const mediumPoll = "2000"

// waitForMedium has the kernel ask an empty card reader, which does not tell by itself (Linux,
// Documentation/ABI/testing/sysfs-block, events_poll_msecs). Disks that hold something are never asked: they may sleep.
func waitForMedium(dir string) {
	if name := filepath.Join(dir, "events_poll_msecs"); field(dir, "removable") == "1" && field(dir, "events_poll_msecs") != mediumPoll {
		_ = os.WriteFile(name, []byte(mediumPoll), 0) // without it the reader is only to be plugged in with its card
	}
}

// inUse tells which devices have something mounted outside of the folder own, as "major:minor" (Linux,
// Documentation/filesystems/proc.rst, 3.5).
func inUse(mountinfo []byte, own string) map[string]bool {
	used := make(map[string]bool)
	for s := bufio.NewScanner(bytes.NewReader(mountinfo)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) > 4 && !strings.HasPrefix(f[4], own+"/") {
			used[f[2]] = true
		}
	}
	return used
}

// mountedIn lists the mount points below the folder own, the last that was mounted first.
func mountedIn(mountinfo []byte, own string) (dirs []string) {
	for s := bufio.NewScanner(bytes.NewReader(mountinfo)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) > 4 && strings.HasPrefix(f[4], own+"/") {
			dirs = append(dirs, f[4])
		}
	}
	slices.Reverse(dirs)
	return dirs
}

// isMounted reports whether something is mounted at dir itself.
func isMounted(mountinfo []byte, dir string) bool {
	for s := bufio.NewScanner(bytes.NewReader(mountinfo)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) > 4 && f[4] == dir {
			return true
		}
	}
	return false
}

// folderName makes a name for a drive's folder that people know again and that stays the same: what its owner called it, or else
// its model, and the beginning of the file system's own number.
func folderName(d disk, s superblock) string {
	const most = 24
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, cmp.Or(s.Label, d.Model, s.Name)), "-")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return cmp.Or(strings.Trim(name[:min(len(name), most)], "-"), s.Type) + "-" + s.UUID[:8]
}
