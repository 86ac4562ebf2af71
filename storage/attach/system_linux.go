package attach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Open makes ready to watch drives. What an earlier process left mounted in the folder is unmounted first.
func Open(o Options) (*Mounts, error) {
	m := newMounts(o, nil)
	m.sys = linux{m.dir}
	if err := prepareDir(m.dir); err != nil {
		return nil, fmt.Errorf("attach: %s: %w", m.dir, err)
	}
	var err error
	m.events, err = openEvents()
	return m, err
}

// prepareDir has a small file system in memory at dir, with nothing mounted below: the folders that drives are mounted in are
// made there, so that what is written to one whose drive is gone is never written to the box's own card.
func prepareDir(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, left := range mountedIn(table, dir) {
		if err := (linux{dir}).unmount(left, true); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if isMounted(table, dir) {
		return nil
	}
	return unix.Mount("drives", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,mode=0700")
}

// linux is the system that the box runs on.
type linux struct{ dir string }

func (l linux) disks() ([]disk, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return scan("/sys", table, l.dir)
}

func (linux) probe(device string) (s superblock, err error) {
	f, err := os.Open(device)
	if err != nil {
		return s, err
	}
	s, err = probe(f)
	return s, errors.Join(err, f.Close())
}

func (linux) check(ctx context.Context, device string, s superblock) error {
	return check(ctx, device, s)
}

// safely is how drives are mounted: nothing on them is run, is a device, or leads out of them, and reading writes nothing.
const safely = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NOSYMFOLLOW

func (linux) mount(device, dir string, s superblock, write bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	flags, options := uintptr(safely), ""
	switch s.Type {
	case "vfat":
		options = "utf8=1" // the kernel's default is ASCII
	case "ext2", "ext4":
		options = "errors=remount-ro"
	}
	if !write {
		flags |= unix.MS_RDONLY
		if s.Type == "ext4" {
			options += ",noload" // else the journal is replayed, which writes
		}
	}
	err := unix.Mount(device, dir, s.Type, flags, options)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("%w: %w", errProtected, err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("mount %s as %s: %w", device, s.Type, err), os.Remove(dir))
	}
	return nil
}

// busyFor is how long a drive that is in use is waited for: programs that only look are quick.
const busyFor = 2 * time.Second

func (linux) unmount(dir string, gone bool) error {
	var err error
	if gone {
		err = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	} else {
		for from := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			err = unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
			if !errors.Is(err, unix.EBUSY) || time.Since(from) > busyFor {
				break
			}
		}
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: nothing is mounted there
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// kernelGroup is the multicast group of the kernel's own events; udev's are in group 2 (Linux, lib/kobject_uevent.c).
const kernelGroup = 1

// eventRoom is how many bytes of events the kernel keeps for us: a hub with everything on it makes some dozens at once.
const eventRoom = 1 << 20

// openEvents opens the kernel's events. storage/attach and usbhost/libusb have one each: neither may import the other.
func openEvents() (events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return events{}, fmt.Errorf("attach: kernel events: %w", err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join("kernel", "events"))
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventRoom),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}))
	if err != nil {
		return events{}, errors.Join(fmt.Errorf("attach: kernel events: %w", err), f.Close())
	}
	return events{f}, nil
}

// lostEvents tells that some did not fit: then it is time to look, too.
func lostEvents(err error) bool { return errors.Is(err, unix.ENOBUFS) }
