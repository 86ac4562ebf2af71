package rpi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linux's interface to GPIO lines, version 2 (Linux, include/uapi/linux/gpio.h, since 5.10). Sizes are part of it: a test compares
// them with the numbers of the calls.
type (
	chipInfo struct {
		name, label [32]byte
		lines       uint32
	}
	lineAttribute struct {
		id, _ uint32
		value uint64
		mask  uint64
	}
	lineConfig struct {
		flags    uint64
		numAttrs uint32
		_        [5]uint32
		attrs    [10]lineAttribute
	}
	lineRequest struct {
		offsets     [64]uint32
		consumer    [32]byte
		config      lineConfig
		numLines    uint32
		eventBuffer uint32
		_           [5]uint32
		fd          int32
	}
	lineInfo struct {
		name, consumer   [32]byte
		offset, numAttrs uint32
		flags            uint64
		attrs            [10]struct {
			id, _ uint32
			value uint64
		}
		_ [4]uint32
	}
	lineValues struct{ bits, mask uint64 }
	lineEvent  struct {
		timestamp uint64 // ns of CLOCK_MONOTONIC
		id        uint32 // unix.GPIO_V2_LINE_EVENT_…
		offset    uint32
		seqno     uint32
		lineSeqno uint32
		_         [6]uint32
	}
)

const getChipInfo = 0x8044b401 // GPIO_GET_CHIPINFO_IOCTL

// Flags of a line (enum gpio_v2_line_flag).
const (
	lineUsed      = 1 << 0
	lineActiveLow = 1 << 1
	lineInput     = 1 << 2
	lineOutput    = 1 << 3
	lineRising    = 1 << 4
	lineFalling   = 1 << 5
	linePullUp    = 1 << 8
	linePullDown  = 1 << 9
)

func ioctl(f *os.File, call uintptr, arg unsafe.Pointer) error {
	raw, err := f.SyscallConn() // File.Fd would make reads block for good
	if err != nil {
		return err
	}
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) { _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, call, uintptr(arg)) }); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// ErrNoChip: this machine has no such GPIO chip.
var ErrNoChip = errors.New("no such GPIO chip")

// chip is a GPIO chip.
type chip struct {
	f     *os.File
	label string
	lines int
}

// headers are the labels of the chips that the Pi's 40 pins belong to: on a 3B+ and Zero 2 W, a 4, and a 5.
var headers = []string{"pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"}

// openChip opens the chip with that label in dir, which is /dev; "auto" is the one with the Pi's pins.
func openChip(dir, label string) (*chip, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "gpiochip*"))
	if err != nil {
		return nil, err
	}
	var labels []string
	for _, path := range paths {
		c, err := newChip(path)
		if err != nil {
			return nil, err
		}
		if c.label == label || label == Auto && slices.Contains(headers, c.label) {
			return c, nil
		}
		labels = append(labels, c.label)
		if err := c.f.Close(); err != nil {
			return nil, err
		}
	}
	if len(labels) == 0 {
		return nil, fmt.Errorf("%w: this machine has none", ErrNoChip)
	}
	return nil, fmt.Errorf("%w as chip = %q of [board]; this machine has: %s", ErrNoChip, label, strings.Join(labels, ", "))
}

func newChip(path string) (*chip, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("GPIO: %w", err)
	}
	var info chipInfo
	if err := ioctl(f, getChipInfo, unsafe.Pointer(&info)); err != nil {
		return nil, errors.Join(fmt.Errorf("GPIO: %s: %w", path, err), f.Close())
	}
	return &chip{f, unix.ByteSliceToString(info.label[:]), int(info.lines)}, nil
}

// request asks for lines, which are what the flags say from then on until the returned file is closed. Reading the file gives
// events where the flags ask for edges; buffer is how many of them the kernel keeps.
func (c *chip) request(what string, offsets []int, flags uint64, buffer int) (*os.File, error) {
	var r lineRequest
	copy(r.consumer[:], "boxd "+what)
	for i, line := range offsets {
		if line >= c.lines {
			return nil, fmt.Errorf("the %s cannot be at line %d of %s, which has lines 0 to %d: choose another in [board]", what, line, c.label, c.lines-1)
		}
		r.offsets[i] = uint32(line)
	}
	r.numLines, r.config.flags, r.eventBuffer = uint32(len(offsets)), flags, uint32(buffer)
	if err := ioctl(c.f, unix.GPIO_V2_GET_LINE_IOCTL, unsafe.Pointer(&r)); err != nil {
		if errors.Is(err, unix.EBUSY) {
			err = c.busy(offsets)
		}
		return nil, fmt.Errorf("%s on %s: %w", what, c.label, err)
	}
	if err := unix.SetNonblock(int(r.fd), true); err != nil { // so that reading it can be ended
		return nil, errors.Join(err, unix.Close(int(r.fd)))
	}
	return os.NewFile(uintptr(r.fd), what), nil
}

// busy says which of the lines somebody else uses.
func (c *chip) busy(offsets []int) error {
	for _, line := range offsets {
		info := lineInfo{offset: uint32(line)}
		if err := ioctl(c.f, unix.GPIO_V2_GET_LINEINFO_IOCTL, unsafe.Pointer(&info)); err != nil {
			return err
		}
		if info.flags&lineUsed != 0 {
			return fmt.Errorf("line %d is used by %q: choose another in [board]", line, unix.ByteSliceToString(info.consumer[:]))
		}
	}
	return unix.EBUSY // it was let go of meanwhile
}

// values reads which of n lines are active, line i as bit i.
func values(f *os.File, n int) (uint64, error) {
	v := lineValues{mask: 1<<n - 1}
	err := ioctl(f, unix.GPIO_V2_LINE_GET_VALUES_IOCTL, unsafe.Pointer(&v))
	return v.bits, err
}
