package drive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SMART asks the disk that the drive is on. It needs root. Disks in USB enclosures answer if the enclosure passes ATA commands
// on (SAT). Errors: ErrNoSMART, with why.
func (d *Drive) SMART() (SMART, error) {
	m, err := mountOf(d.whole)
	if err != nil {
		return SMART{}, err
	}
	if m == nil || diskOf(m) == "" {
		return SMART{}, fmt.Errorf("%w: it is on no disk", ErrNoSMART)
	}
	name := filepath.Base(diskOf(m))
	f, err := os.OpenFile("/dev/"+name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrPermission) {
		return SMART{}, fmt.Errorf("%w to anyone but root", ErrNoSMART)
	}
	if err != nil {
		return SMART{}, fmt.Errorf("%w: %w", ErrNoSMART, err)
	}
	defer f.Close()
	if strings.HasPrefix(name, "nvme") {
		return askNVMe(f)
	}
	return askATA(f)
}

// smartTime is how long a disk may take to answer, in milliseconds.
const smartTime = 5000

// nvmeCommand is struct nvme_admin_cmd (Linux, include/uapi/linux/nvme_ioctl.h).
type nvmeCommand struct {
	opcode, flags         uint8
	_                     uint16
	namespace, cdw2, cdw3 uint32
	metadata, addr        uint64
	metadataLen, dataLen  uint32
	cdw10, cdw11, cdw12   uint32
	cdw13, cdw14, cdw15   uint32
	timeout, result       uint32
}

// askNVMe gets log page 02h of the whole controller.
func askNVMe(f *os.File) (SMART, error) {
	const adminCommand, getLogPage, health = 0xc0484e41, 2, 2
	page := make([]byte, nvmeLog)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&page[0])
	c := nvmeCommand{opcode: getLogPage, namespace: 0xffffffff, addr: uint64(uintptr(unsafe.Pointer(&page[0]))), dataLen: nvmeLog,
		cdw10: (nvmeLog/4-1)<<16 | health, timeout: smartTime}
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), adminCommand, uintptr(unsafe.Pointer(&c)))
	if errno != 0 || status != 0 {
		return SMART{}, fmt.Errorf("%w: NVMe status %#x, %w", ErrNoSMART, status, errno)
	}
	return parseNVMe(page)
}

// sgHeader is struct sg_io_hdr (Linux, include/scsi/sg.h).
type sgHeader struct {
	id, direction                int32
	commandLen, senseMax         uint8
	_                            uint16
	dataLen                      uint32
	data, command, sense         unsafe.Pointer
	timeout, flags               uint32
	_                            int32
	_                            unsafe.Pointer
	status, masked, msg, senseOK uint8
	host, driver                 uint16
	residual                     int32
	duration, info               uint32
}

// ATA's commands and what goes with them (ATA-8 ACS, 7.16 and 7.52).
const (
	ataIdentify     = 0xec
	ataSMART        = 0xb0
	smartData       = 0xd0
	smartThresholds = 0xd1
	smartLow        = 0x4f // of the address: the key to SMART
	smartHigh       = 0xc2
)

// askATA reads the tables through SCSI's ATA pass-through, which the kernel does for disks on SATA and most USB enclosures do.
func askATA(f *os.File) (SMART, error) {
	ident, err := ataRead(f, ataIdentify, 0)
	if err != nil {
		return SMART{}, err
	}
	if ident[82*2]&1 == 0 { // word 82, bit 0: SMART is known
		return SMART{}, ErrNoSMART
	}
	data, err := ataRead(f, ataSMART, smartData)
	if err != nil {
		return SMART{}, err
	}
	thresholds, err := ataRead(f, ataSMART, smartThresholds)
	if err != nil {
		thresholds = nil // obsolete since ATA-4, and some do without
	}
	flash := ident[217*2] == 1 && ident[217*2+1] == 0 // word 217: it does not rotate
	return parseATA(data, thresholds, flash)
}

// ataRead sends a command that returns one page, in the long form or, for enclosures that know only that, the short one (SAT-3,
// 12.2).
func ataRead(f *os.File, command, feature byte) ([]byte, error) {
	const pioIn, pageIn = 4 << 1, 0x0e // reading; its length is the count, in pages
	var low, mid, high byte
	if command == ataSMART {
		low, mid, high = 1, smartLow, smartHigh
	}
	page, err := scsiRead(f, []byte{0x85, pioIn, pageIn, 0, feature, 0, 1, 0, low, 0, mid, 0, high, 0, command, 0})
	if err != nil {
		page, err = scsiRead(f, []byte{0xa1, pioIn, pageIn, feature, 1, low, mid, high, 0, command, 0, 0})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSMART, err)
	}
	return page, nil
}

func scsiRead(f *os.File, command []byte) ([]byte, error) {
	const sgIO, fromDevice = 0x2285, -3
	page, sense := make([]byte, ataPage), make([]byte, 32)
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, p := range []*byte{&page[0], &sense[0], &command[0]} {
		pin.Pin(p)
	}
	h := sgHeader{id: 'S', direction: fromDevice, commandLen: uint8(len(command)), senseMax: uint8(len(sense)), dataLen: ataPage,
		data: unsafe.Pointer(&page[0]), command: unsafe.Pointer(&command[0]), sense: unsafe.Pointer(&sense[0]), timeout: smartTime}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), sgIO, uintptr(unsafe.Pointer(&h))); errno != 0 {
		return nil, errno
	}
	if h.status != 0 || h.host != 0 || h.driver != 0 || h.residual >= ataPage {
		return nil, fmt.Errorf("SCSI status %#x, host %#x, driver %#x, %d bytes short", h.status, h.host, h.driver, h.residual)
	}
	return page, nil
}
