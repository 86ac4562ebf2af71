// Package libusb is the box's USB ports: a usbhost.Bus on which phones arrive, and Pipes to their interfaces.
//
// What is plugged in, and what it is, comes from the kernel alone: sysfs tells, and its events over netlink say when to look
// again. There is no udev, no device is opened to be looked at, and a phone keeps its identity (its serial number) across
// ports, cables and modes. All that is in every build.
//
// The bytes come through libusb (github.com/google/gousb), which needs cgo: only a build with the tag libusb can claim a
// device, any other says ErrNoUSB. See docs/adr/005 and 030.
package libusb
