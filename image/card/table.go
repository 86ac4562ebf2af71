package card

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Grow changes the partition table in a card's first sector, in place, so that the last partition ends where the card of
// size bytes does. It returns where that partition begins and how long it is now, in bytes, and whether anything changed.
// A table that is not one of ours is left alone.
//
// An entry is 16 bytes, from 446 on; its first sector is at 8 and its number of sectors at 12, both little-endian.
func Grow(mbr []byte, size int64) (start, length int64, grown bool, err error) {
	if len(mbr) != sector || mbr[510] != 0x55 || mbr[511] != 0xaa {
		return 0, 0, false, errors.New("card: its first sector holds no partition table")
	}
	var end int64
	for n := Boot; n <= Perm; n++ {
		e := entry(mbr, n)
		from, count := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
		if from < end || count == 0 {
			return 0, 0, false, fmt.Errorf("card: partition %d is not where the box's is", n)
		}
		start, length, end = from*sector, count*sector, from+count
	}
	const last = 1<<32 - 1 // the table cannot name more sectors: 2 TiB
	whole := min(size/sector, last)
	if whole <= end {
		return start, length, false, nil
	}
	count := whole - start/sector
	binary.LittleEndian.PutUint32(entry(mbr, Perm)[12:], uint32(count))
	return start, count * sector, true, nil
}

func entry(mbr []byte, n int) []byte { return mbr[446+16*(n-1):][:16] }
