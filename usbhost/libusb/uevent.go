package libusb

import "bytes"

// maxUevent is what the kernel puts into one event at most, in bytes: its buffer of 2048 (include/linux/kobject.h) and the
// head before it, whose path is at most as long.
const maxUevent = 8 << 10

// concernsUSB tells whether a message that came from the kernel's event socket is about a USB device: "ACTION@PATH", a zero
// byte, and then KEY=VALUE, each ended by a zero byte (lib/kobject_uevent.c). Messages of udev, which begin with "libudev", are
// none of the kernel's.
func concernsUSB(msg []byte) bool {
	head, rest, ok := bytes.Cut(msg, []byte{0})
	if action, path, at := bytes.Cut(head, []byte{'@'}); !ok || !at || len(action) == 0 || !bytes.HasPrefix(path, []byte{'/'}) {
		return false
	}
	for field := range bytes.SplitSeq(rest, []byte{0}) {
		if string(field) == "SUBSYSTEM=usb" {
			return true
		}
	}
	return false
}
