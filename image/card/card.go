// Package card knows how the box's SD card is divided: an MBR with four partitions, of which the running system is one.
package card

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Partitions of the card, by their number in its table.
const (
	Boot  = 1 // FAT: what the board's own loader reads, and what the owner may
	RootA = 2 // squashfs
	RootB = 3 // squashfs
	Perm  = 4 // ext4: all that the box writes down
)

// sector is what a partition table and sysfs count in, in bytes.
const sector = 512

// Card is the disk that the running system came from.
type Card struct {
	Disk string // such as mmcblk0
	Root int    // the partition that is mounted on /, RootA or RootB
	sys  string // sysfs
}

// ErrNoCard: the running system did not come from a partition of a disk.
var ErrNoCard = errors.New("card: / is on no card")

// Of finds the card that the file system of block device major:minor lies on, by sysfs, which is mounted at sys.
func Of(sys string, major, minor uint32) (Card, error) {
	link, err := os.Readlink(filepath.Join(sys, "dev", "block", fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return Card{}, fmt.Errorf("%w: device %d:%d", ErrNoCard, major, minor)
	}
	c := Card{Disk: filepath.Base(filepath.Dir(link)), sys: sys}
	name := filepath.Base(link)
	for n := Boot; n <= Perm; n++ {
		if c.name(n) == name {
			c.Root = n
			return c, nil
		}
	}
	return Card{}, fmt.Errorf("%w: %s is no partition", ErrNoCard, name)
}

// name is a partition as the kernel calls it: behind a digit comes a p (Linux, block/partitions/core.c).
func (c Card) name(n int) string {
	if last := c.Disk[len(c.Disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", c.Disk, n)
	}
	return fmt.Sprintf("%s%d", c.Disk, n)
}

// Device is the path of the whole card.
func (c Card) Device() string { return "/dev/" + c.Disk }

// Part is the path of a partition.
func (c Card) Part(n int) string { return "/dev/" + c.name(n) }

// OtherRoot is the partition that an update goes to.
func (c Card) OtherRoot() int { return RootA + RootB - c.Root }

// Size is how large the card is, in bytes.
func (c Card) Size() (int64, error) {
	return c.number("block", c.Disk, "size")
}

// number reads a count of sectors from sysfs, in bytes.
func (c Card) number(path ...string) (int64, error) {
	p := filepath.Join(append([]string{c.sys}, path...)...)
	b, err := os.ReadFile(p)
	if err != nil {
		return 0, fmt.Errorf("card: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("card: %s: %w", p, err)
	}
	return n * sector, nil
}
