package libusb

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kernelGroup is the multicast group of the kernel's own events; udev's are in group 2 (lib/kobject_uevent.c).
const kernelGroup = 1

// eventRoom is how many bytes of events the kernel keeps for us: a hub with everything on it makes some dozens at once.
const eventRoom = 1 << 20

// uevents opens the kernel's events. Who may read them is anybody.
func uevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("libusb: kernel events: %w", err)
	}
	f := os.NewFile(uintptr(fd), "kernel events")
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventRoom),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("libusb: kernel events: %w", err), f.Close())
	}
	return f, nil
}

// lostEvents tells that some did not fit: then it is time to look, too.
func lostEvents(err error) bool { return errors.Is(err, unix.ENOBUFS) }
