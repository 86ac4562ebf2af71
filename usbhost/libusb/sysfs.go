package libusb

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"phonebackupbox/usbhost"
)

// sysfs is where the kernel lists USB devices (Documentation/ABI/stable/sysfs-bus-usb and testing/sysfs-bus-usb).
const sysfs = "/sys/bus/usb/devices"

// classHub is a hub's device class.
const classHub = 9

// scan lists what is plugged in below root, in the order of ports, hubs left out. A device that goes away meanwhile, or whose
// interfaces the kernel has not set up yet, is left out: another event will follow.
func scan(root string) ([]Device, error) {
	names, err := filepath.Glob(root + "/*")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if _, err := os.Stat(root); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	var all []Device
	for _, dir := range names {
		if strings.Contains(filepath.Base(dir), ":") {
			continue // an interface
		}
		d, err := readDevice(dir)
		if vanished(err) || errors.Is(err, errDescriptor) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return slices.DeleteFunc(all, func(d Device) bool { return d.class == classHub }), nil
}

// vanished tells that a device went away while it was read, or is not ready yet.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EIO) || errors.Is(err, errUnready)
}

var errUnready = errors.New("the kernel has not set its interfaces up yet")

// attributes reads a device's files until one fails.
type attributes struct {
	dir string
	err error
}

func (a *attributes) bytes(name string) []byte {
	if a.err != nil {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(a.dir, name))
	a.err = err
	return b
}

func (a *attributes) number(name string) int {
	s := strings.TrimSpace(string(a.bytes(name)))
	n, err := strconv.Atoi(s)
	if a.err == nil && err != nil {
		a.err = errUnready // an empty bConfigurationValue, say
	}
	return n
}

// optional is the text in a file that need not be there.
func optional(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// readDevice reads one device's folder.
func readDevice(dir string) (Device, error) {
	a := attributes{dir: dir}
	d := Device{dir: dir, bus: a.number("busnum"), address: a.number("devnum"), config: byte(a.number("bConfigurationValue"))}
	raw := a.bytes("descriptors")
	if a.err != nil {
		return d, a.err
	}
	desc, err := parseDescriptors(raw)
	if err != nil {
		return d, err
	}
	d.class = desc.class
	d.Interface.Vendor, d.Interface.Product = desc.vendor, desc.product
	d.Interface.Serial = usbhost.OwnSerial(optional(dir, "serial"))
	d.Interface.Maker = optional(dir, "manufacturer")
	d.Interface.Model = optional(dir, "product")
	d.Interface.Port = filepath.Base(dir)
	d.Interface.Link.Speed = speed(optional(dir, "speed"))
	d.Interface.Link.Best = best(dir, desc, d.Interface.Link.Speed)
	var parts []part
	for _, s := range desc.settings {
		if s.config != d.config {
			d.apple = d.apple || isMux(desc.vendor, s)
			continue
		}
		at := filepath.Join(dir, d.Interface.Port+":"+strconv.Itoa(int(s.config))+"."+strconv.Itoa(int(s.number)))
		driver, err := os.Readlink(at + "/driver")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d, err
		}
		if _, err := os.Stat(at); err != nil {
			return d, errUnready
		}
		parts = append(parts, part{s, optional(at, "interface"), filepath.Base(driver)})
	}
	d.recognise(parts)
	return d, nil
}

// speed reads sysfs's notion of it, in Mbit/s: "1.5" is the only one with a fraction.
func speed(s string) int {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e6 {
		return 0
	}
	return int(f)
}

// best is what the device could do with the right cable at the right port. One at high speed tells by its BOS, which newer
// kernels keep in sysfs (6.9 and later) and Claim asks older ones' devices for.
func best(dir string, d descriptors, now int) int {
	const highSpeed, usb2 = 480, 0x0200
	top := now
	if now > 0 && now < highSpeed && d.usb >= usb2 {
		top = highSpeed // phones that cannot do as much do not say USB 2.0
	}
	if bos, err := os.ReadFile(filepath.Join(dir, "bos_descriptors")); err == nil {
		if b, err := parseBOS(bos); err == nil {
			top = max(top, b)
		}
	}
	return top
}
