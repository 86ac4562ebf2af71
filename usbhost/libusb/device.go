package libusb

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"phonebackupbox/usbhost"
)

// Use is what a device can be used for.
type Use string

const (
	Files      Use = "files"       // a phone, camera or player that speaks MTP or PTP
	Apple      Use = "apple"       // an iPhone or iPad; Interface is its PTP one, if it shows that now
	ChargeOnly Use = "charge-only" // a phone whose owner has not chosen file transfer
	Other      Use = ""            // none of ours
)

// Device is one that is plugged in.
type Device struct {
	// Interface is what a driver will get, still without Pipe and Gone. Where Use has no interface for us, the fields that
	// describe one are zero.
	Interface usbhost.Interface
	Use       Use
	ADB       bool // also offers the Android debug bridge

	dir          string // in sysfs
	bus, address int
	class        byte // of the device
	config       byte
	apple        bool    // has a configuration with Apple's multiplexer
	chosen       setting // what Interface was made of
	driver       string  // of the kernel, that holds the chosen interface; "." is none
}

// part is a setting with what else sysfs knows of its interface.
type part struct {
	setting
	name   string // iInterface
	driver string // of the kernel; "." is none
}

// Interfaces that are recognised. PTP's is from the Still Image Class 1.0, section 4.1; of Android's own there is no
// specification but the source (system/core adb, frameworks/av media/mtp).
const (
	classVendor   = 0xff
	vendorApple   = 0x05ac
	appleMuxSub   = 0xfe
	appleMuxProto = 2
)

func (s setting) is(class, subClass, protocol byte) bool {
	return s.class == class && s.subClass == subClass && s.protocol == protocol
}

func isPTP(s setting) bool { return s.is(6, 1, 1) }
func isADB(s setting) bool { return s.is(classVendor, 0x42, 1) }
func isMux(vendor uint16, s setting) bool {
	return vendor == vendorApple && s.is(classVendor, appleMuxSub, appleMuxProto)
}

// isMTP recognises the interface that Android's older kernels and players have: of the vendor's own class, told by its name.
func isMTP(p part) bool {
	return p.class == classVendor && p.alternate == 0 && strings.Contains(strings.ToUpper(p.name), "MTP")
}

// phoneVendors are makers of phones, to tell a phone that only charges from everything else; from libmtp's and Android's lists.
var phoneVendors = []uint16{
	0x0421, 0x2e04, // Nokia, HMD
	0x04e8,         // Samsung
	0x0502, 0x0b05, // Acer, Asus
	0x0bb4,         // HTC
	0x0e8d, 0x05c6, // MediaTek, Qualcomm: many small makers
	0x0fce,         // Sony
	0x1004,         // LG
	0x12d1, 0x339b, // Huawei, Honor
	0x17ef,         // Lenovo
	0x18d1,         // Google
	0x19d2,         // ZTE
	0x1bbb,         // TCL, Alcatel
	0x22b8,         // Motorola
	0x22d9, 0x2a70, // Oppo and Realme, OnePlus
	0x2717,         // Xiaomi
	0x2ae5,         // Fairphone
	0x2d95,         // Vivo
	0x29a9, 0x2970, // Sharp's and Wiko's
}

// recognise decides what the device is good for from the interfaces of its active configuration.
func (d *Device) recognise(parts []part) {
	for _, p := range parts {
		d.ADB = d.ADB || isADB(p.setting)
		d.apple = d.apple || isMux(d.Interface.Vendor, p.setting)
	}
	at := slices.IndexFunc(parts, func(p part) bool {
		return (isMTP(p) || isPTP(p.setting)) && p.in.address != 0 && p.out.address != 0
	})
	if at >= 0 {
		d.choose(parts[at])
	}
	switch {
	case d.apple:
		d.Use = Apple
	case at >= 0:
		d.Use = Files
	case d.ADB, slices.Contains(phoneVendors, d.Interface.Vendor) && !slices.ContainsFunc(parts, taken):
		d.Use = ChargeOnly
	}
}

// taken tells that an interface is of a class that says what it is for, or that a driver of the kernel knows it: a modem, a
// printer or a disk that a maker of phones has made.
func taken(p part) bool { return p.class != classVendor || p.driver != "." }

func (d *Device) choose(p part) {
	d.chosen, d.driver = p.setting, p.driver
	i := &d.Interface
	i.Class, i.SubClass, i.Protocol, i.Number = p.class, p.subClass, p.protocol, p.number
	i.MaxPacket = p.in.maxPacket
}

// Name is maker and model, as far as the device tells.
func (d Device) Name() string {
	i := d.Interface
	if name := strings.TrimSpace(i.Maker + " " + strings.TrimSpace(strings.TrimPrefix(i.Model, i.Maker))); name != "" {
		return name
	}
	return fmt.Sprintf("%04x:%04x", i.Vendor, i.Product)
}

// Node is the device's file, through which programs other than the kernel talk to it.
func (d Device) Node() string { return fmt.Sprintf("/dev/bus/usb/%03d/%03d", d.bus, d.address) }

// stay tells one attachment of a device from the next: the kernel counts addresses up, and a configuration that somebody
// changes makes new interfaces.
func (d Device) stay() string {
	return fmt.Sprintf("%s %d.%d %d.%d %s", filepath.Base(d.dir), d.bus, d.address, d.config, d.chosen.number, d.Use)
}

// Attached lists what is plugged in and of use to us.
func Attached() ([]Device, error) {
	all, err := scan(sysfs)
	if err != nil {
		return nil, fmt.Errorf("libusb: list devices: %w", err)
	}
	return slices.DeleteFunc(all, func(d Device) bool { return d.Use == Other }), nil
}
