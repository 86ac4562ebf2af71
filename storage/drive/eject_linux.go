package drive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func eject(dir string) (Ejected, error) {
	f, err := os.Open(dir)
	if err != nil {
		return Ejected{}, err
	}
	m, err := mountOf(f)
	err = errors.Join(err, syncAll(f), f.Close())
	if err != nil {
		return Ejected{}, err
	}
	if m == nil || diskOf(m) == "" {
		return Ejected{}, ErrSystemDisk
	}
	disk := diskOf(m)
	mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return diskOf(i) != disk, false })
	if err != nil {
		return Ejected{}, err
	}
	if slices.ContainsFunc(mounts, func(i *mountinfo.Info) bool { return i.Mountpoint == "/" }) {
		return Ejected{}, fmt.Errorf("%w: this system runs from it", ErrSystemDisk)
	}
	e := Ejected{Device: "/dev/" + filepath.Base(disk)}
	device, err := os.Open(e.Device) // before it is unmounted: a loop device is gone then
	if errors.Is(err, fs.ErrPermission) {
		return e, fmt.Errorf("open %s: %w", e.Device, ErrNotRoot)
	}
	if err != nil {
		return e, err
	}
	e.Unmounted, err = unmountAll(mounts)
	if err == nil {
		err = device.Sync() // the disk's own cache
	}
	if err := errors.Join(err, device.Close()); err != nil {
		return e, err
	}
	e.Off = stop(disk)
	return e, nil
}

// unmountAll unmounts until one is in use.
func unmountAll(mounts []*mountinfo.Info) (done []string, err error) {
	for _, i := range slices.Backward(mounts) { // what is mounted within another was mounted later
		if err := unmount(i.Mountpoint); err != nil {
			return done, err
		}
		done = append(done, i.Mountpoint)
	}
	return done, nil
}

// diskOf is the folder of the whole disk that a mount is on, such as "/sys/devices/…/block/sda"; "" for what is on none.
func diskOf(i *mountinfo.Info) string {
	major, minor := i.Major, i.Minor
	if major == 0 { // Btrfs has numbers of its own
		var st unix.Stat_t
		if !strings.HasPrefix(i.Source, "/dev/") || unix.Stat(i.Source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return ""
		}
		major, minor = int(unix.Major(st.Rdev)), int(unix.Minor(st.Rdev))
	}
	path, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(path, "partition")); err == nil {
		return filepath.Dir(path)
	}
	return path
}

func unmount(point string) error {
	err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW)
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is %w; close what uses it and try again", point, ErrInUse)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("unmount %s: %w", point, ErrNotRoot)
	case err != nil:
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	return nil
}

// stop has a disk stop: through SCSI, and where nothing else on its USB device is mounted, that device, too. It is a kindness:
// the disk is safe to unplug without it.
func stop(disk string) bool {
	usb := usbOf(disk)
	off := order(filepath.Join(disk, "device", "delete"))
	if usb == "" {
		return off
	}
	used, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		d := diskOf(i)
		return d == "" || !strings.HasPrefix(d, usb+"/"), false
	})
	if err != nil || len(used) > 0 {
		return off
	}
	return order(filepath.Join(usb, "remove")) || off
}

// usbOf is the folder of the USB device that a disk is, "" for others.
func usbOf(disk string) string {
	for dir := disk; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "idVendor")); err == nil {
			return dir
		}
	}
	return ""
}

func order(file string) bool {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	_, err = f.WriteString("1")
	return errors.Join(err, f.Close()) == nil
}
