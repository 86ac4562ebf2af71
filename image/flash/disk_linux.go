package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// machine is where disks are found: the kernel's files, which tests make themselves.
type machine struct {
	sys, dev, proc string
	block          func(path string) bool // whether a path is a block device
}

var here = machine{"/sys", "/dev", "/proc", func(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
}}

// largest is the largest disk that is taken for a card, in bytes. Those that are larger hold backups.
const largest = 2 << 40

// disk is one that could be a card.
type disk struct {
	name, path string
	size       int64 // bytes
	model, bus string
	parts      []part
}

type part struct {
	name   string
	start  int64 // bytes
	number string
}

func (d disk) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s: %s, %s %s, %d partitions", d.path, size(d.size), d.bus, d.model, len(d.parts))), " ")
}

// size is a number of bytes as makers print it on their cards.
func size(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%d MB", n/1e6)
	}
	return fmt.Sprintf("%.0f GB", float64(n)/1e9)
}

// find reads what the kernel says of a device.
func (m machine) find(device string) (disk, error) {
	path, err := filepath.EvalSymlinks(device)
	if err != nil {
		return disk{}, err
	}
	if !m.block(path) {
		return disk{}, fmt.Errorf("%s is no disk", device)
	}
	d := disk{name: filepath.Base(path), path: path}
	if _, err := os.Stat(filepath.Join(m.sys, "class/block", d.name, "partition")); err == nil {
		return disk{}, fmt.Errorf("%s is a partition: name the whole card", device)
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(m.sys, "block", d.name))
	if err != nil {
		return disk{}, fmt.Errorf("%s: the kernel knows no such disk: %w", device, err)
	}
	sectors, err := strconv.ParseInt(text(dir, "size"), 10, 64)
	if err != nil {
		return disk{}, fmt.Errorf("%s: size: %w", device, err)
	}
	d.size = sectors * 512
	d.model = strings.Join(strings.Fields(text(dir, "device/vendor")+" "+text(dir, "device/model")+" "+text(dir, "device/name")), " ")
	d.bus = busOf(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return disk{}, err
	}
	for _, e := range entries {
		p := filepath.Join(dir, e.Name())
		if text(p, "partition") == "" {
			continue
		}
		start, err := strconv.ParseInt(text(p, "start"), 10, 64)
		if err != nil {
			return disk{}, fmt.Errorf("%s: start: %w", e.Name(), err)
		}
		d.parts = append(d.parts, part{e.Name(), start * 512, text(p, "dev")})
	}
	return d, nil
}

// Buses that cards are read over; anything else is built in.
const (
	usb  = "USB"
	mmc  = "SD"
	none = "built-in"
)

func busOf(dir string) string {
	switch {
	case text(dir, "device/type") == "SD":
		return mmc
	case slices.ContainsFunc(strings.Split(dir, string(filepath.Separator)), func(s string) bool { return strings.HasPrefix(s, "usb") }):
		return usb
	}
	return none
}

// fit refuses a disk that is not a card or that is needed, with what to do about it.
func (m machine) fit(d disk, image int64) error {
	dir := filepath.Join(m.sys, "block", d.name)
	switch {
	case d.size == 0:
		return fmt.Errorf("%s: there is no card in the reader", d.path)
	case d.bus == none:
		return fmt.Errorf("%s is built into this computer", d)
	case d.size > largest:
		return fmt.Errorf("%s is larger than any card: that is a disk for backups", d)
	case d.size < image:
		return fmt.Errorf("%s is too small: %s are needed", d, size(image))
	case text(dir, "ro") == "1":
		return fmt.Errorf("%s is write-protected: move the slider on the card's side", d)
	}
	numbers := []string{text(dir, "dev")}
	for _, p := range d.parts {
		numbers = append(numbers, p.number)
	}
	if err := m.unused(d, numbers); err != nil {
		return err
	}
	for _, p := range append([]part{{name: ""}}, d.parts...) {
		if held, err := os.ReadDir(filepath.Join(dir, p.name, "holders")); err == nil && len(held) > 0 {
			return fmt.Errorf("%s: %s is made of it", d, held[0].Name())
		}
	}
	return nil
}

// unused refuses a disk of which this computer uses a part; numbers are the kernel's for the disk and its partitions.
func (m machine) unused(d disk, numbers []string) error {
	// mountinfo(5): "36 35 98:0 /mnt1 /mnt2 …", of which the third word is the device and the fifth where it is.
	mounts, err := os.ReadFile(filepath.Join(m.proc, "self/mountinfo"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		words := strings.Fields(line)
		if len(words) < 5 || !slices.Contains(numbers, words[2]) {
			continue
		}
		if words[4] == "/" || words[4] == "/boot" || words[4] == "/usr" || words[4] == "/home" {
			return fmt.Errorf("%s is what this computer runs from (%s)", d, words[4])
		}
		return fmt.Errorf("%s is in use: eject it first (umount %s)", d, words[4])
	}
	swaps, err := os.ReadFile(filepath.Join(m.proc, "swaps"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(swaps)) {
		name, _, _ := strings.Cut(line, " ")
		if name == d.path || slices.ContainsFunc(d.parts, func(p part) bool { return filepath.Base(name) == p.name }) {
			return fmt.Errorf("%s is what this computer swaps to (%s)", d, name)
		}
	}
	return nil
}

// text is what a file of sysfs says, "" if it is not there.
func text(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
