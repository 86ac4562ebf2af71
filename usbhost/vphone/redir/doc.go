// Package redir makes a simulated phone a USB device of a virtual machine: it speaks the USB redirection protocol, version
// 0.7, as its "usb-host" to the "usb-guest" that is QEMU's device usb-redir
// (https://gitlab.freedesktop.org/spice/usbredir/-/blob/main/docs/usb-redirection-protocol.md). Programs that know nothing of
// the simulator, such as libmtp, then find a phone on their bus.
//
// One connection is one stay of the phone on a port: it is plugged in when the connection is made, and out when it ends.
// QEMU listens:
//
//	-chardev socket,id=cable,path=PATH,server=on,wait=off -device usb-redir,chardev=cable
//
// The descriptors are made here, from what the phone says of its interface. Bulk transfers reach it one by one and in order,
// so stalls, short packets, zero-length packets and a cable pulled at byte n are what they are on a bus. A reset of the bus and
// a new configuration make the phone start its server anew, as they do on Android.
package redir
